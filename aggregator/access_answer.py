"""Feature access on the wire, in the shapes of eras A, C and D. Pure.

Owns the members; the envelope is `kernel.wire`'s. Invariant: `overage` is a number in era A and an object in era D, and
is never mixed. Source: contract 3.6 to 3.8, 4.2, 4.3, 4.5; decisions 6, 7.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from aggregator.access import LIMIT_REACHED, FeatureAccess
from kernel.money import RATE_SCALE
from kernel.period import DAY_MS, instant_text
from kernel.wire import Dialect, rate_of_unit_price

Members = dict[str, Any]

_MESSAGES: Final[Mapping[str, str]] = {
    LIMIT_REACHED: "The plan's included amount does not cover this, and it has no overage.",
    "feature_not_in_plan": "The customer's plan does not grant this feature.",
    "no_subscription": "The customer has no subscription.",
    "subscription_inactive": "The customer's subscription is not active.",
}


def access_wire(access: FeatureAccess, dialect: Dialect, currency: str) -> Members:
    """Spell one feature's state."""
    if dialect is Dialect.D:
        return _tagged(access, currency)
    return _flat(access, dialect)


def can_use_wire(access: FeatureAccess) -> Members:
    """Spell the state after one more unit (contract 3.8); `reason` only when it is refused."""
    reason = access.refusal()
    answer: Members = {"allowed": reason is None, "willBeCharged": access.will_be_charged()}
    return answer if reason is None else {**answer, "reason": reason}


def usage_check_wire(access: FeatureAccess, quantity: Decimal, units: int) -> Members:
    """Spell a dry run of `quantity` (`units` of 1e-9): contract row 20, in the members of eras C and D together."""
    reason = access.refusal(units)
    price = access.granted.unit_price if access.granted is not None and access.overage_enabled else None
    told: Members = {
        "allowed": reason is None,
        "subscriptionStatus": access.status,
        "featureCode": access.feature.code,
        "feature": access.feature.code,
        "quantity": quantity,
        "consumptionModel": "metered",
        "willBeCharged": access.will_be_charged(units),
        "current": access.current,
        "remaining": access.remaining,
        "unlimited": access.unlimited,
        "included": access.included,
        "overageEnabled": access.overage_enabled,
        "overageUnitPrice": None if price is None else rate_of_unit_price(price),
        "unitPriceDecimal": price,
    }
    return told if reason is None else {**told, "reason": reason, "message": _MESSAGES[reason]}


def _flat(access: FeatureAccess, dialect: Dialect) -> Members:
    early = dialect is Dialect.A
    answer: Members = {
        "code": access.feature.code,
        "name": access.feature.name,
        "type": _type(access, early=early),
        "allowed": access.allowed,
        "access": access.allowed,
    }
    if access.metered:
        answer |= {
            "current": access.current,
            "included": access.included,
            "remaining": access.remaining,
            "overage" if early else "overageQuantity": access.overage,
            "unlimited": access.unlimited,
            "overageEnabled": access.overage_enabled,
        }
        if access.granted is not None and access.overage_enabled:
            answer["overageUnitPrice"] = rate_of_unit_price(access.granted.unit_price)
            answer["unitPriceDecimal"] = access.granted.unit_price
    else:
        answer["enabled"] = access.allowed
    return answer if access.reason is None else {**answer, "reason": access.reason}


def _tagged(access: FeatureAccess, currency: str) -> Members:
    answer: Members = {
        "code": access.feature.code,
        "name": access.feature.name,
        "unitName": access.feature.unit_name,
        "allowed": access.allowed,
        "type": _type(access, early=False),
    }
    if access.metered:
        answer["consumption"] = {"model": "metered", **_measure(access, currency)}
    else:
        answer["enabled"] = access.allowed
    return answer if access.reason is None else {**answer, "reason": access.reason}


def _measure(access: FeatureAccess, currency: str) -> Members:
    measure: Members = {
        "unitsUsed": access.current,
        "includedUnits": access.included or 0,
        "unlimited": access.unlimited,
    }
    if access.window is not None:
        start, end = (instant_text(day * DAY_MS) for day in access.window)
        measure["period"] = {"start": start, "end": end}
    if not access.unlimited:
        measure["remainingUnits"] = access.remaining
    overage: Members = {"enabled": access.overage_enabled, "units": access.overage}
    if access.granted is not None and access.overage_enabled:
        rate = rate_of_unit_price(access.granted.unit_price)
        overage["unitPrice"] = {"amount": rate, "currency": currency, "scale": RATE_SCALE}
        overage["unitPriceDecimal"] = access.granted.unit_price
    return {**measure, "overage": overage}


def _type(access: FeatureAccess, *, early: bool) -> str:
    return "usage" if access.metered and not early else access.feature.kind.value
