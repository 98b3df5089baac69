"""Feature access on the wire, in the shapes of eras A, C and D. Pure.

Owns the members; the envelope is `kernel.wire`'s. Invariant: `overage` is a number in era A and an object in era D, and
is never mixed. Source: contract 3.6 to 3.8, 4.2, 4.3, 4.5; decisions 6, 7.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from aggregator.access import FeatureAccess
from aggregator.measure import LIMIT_REACHED, NO_SEATS
from aggregator.pool_answer import major, minor, pool_wire
from aggregator.pool_measure import BALANCE_EXHAUSTED, CREDITS_EXHAUSTED, PoolMeasure
from catalog.terms import ConsumptionModel
from kernel.money import RATE_SCALE, round_half_away
from kernel.period import DAY_MS, instant_text
from kernel.quantity import from_units
from kernel.wire import Dialect, rate_of_unit_price

Members = dict[str, Any]

# What a dry run says: the codes of the usage call (contract 6, usage denial reason).
_DENIALS: Final[Mapping[str, str]] = {
    CREDITS_EXHAUSTED: "insufficient_credits",
    BALANCE_EXHAUSTED: "insufficient_balance",
}
_MESSAGES: Final[Mapping[str, str]] = {
    LIMIT_REACHED: "The plan's included amount does not cover this, and it has no overage.",
    CREDITS_EXHAUSTED: "The plan's credits and the packs do not cover this.",
    BALANCE_EXHAUSTED: "The balance does not cover this, and it may not be overdrawn.",
    NO_SEATS: "All seats are taken, and the plan sells no more.",
    "feature_not_in_plan": "The customer's plan does not grant this feature.",
    "no_subscription": "The customer has no subscription.",
    "subscription_inactive": "The customer's subscription is not active.",
}


def access_wire(access: FeatureAccess, dialect: Dialect, currency: str) -> Members:
    """Spell one feature's state."""
    if dialect is Dialect.D:
        return _tagged(access, currency)
    return _flat(access, dialect, currency)


def can_use_wire(access: FeatureAccess) -> Members:
    """Spell the state after one more unit (contract 3.8); `reason` only when it is refused."""
    reason = access.refusal()
    answer: Members = {"allowed": reason is None, "willBeCharged": access.will_be_charged()}
    return answer if reason is None else {**answer, "reason": reason}


def usage_check_wire(access: FeatureAccess, quantity: Decimal, units: int, currency: str) -> Members:
    """Spell a dry run of `quantity` (`units` of 1e-9): contract row 20, in the members of eras C and D together."""
    reason = access.refusal(units)
    told: Members = {
        "allowed": reason is None,
        "subscriptionStatus": access.status,
        "featureCode": access.feature.code,
        "feature": access.feature.code,
        "quantity": quantity,
        "willBeCharged": access.will_be_charged(units),
        "current": access.current,
        "remaining": access.remaining,
        "unlimited": access.unlimited,
        "included": access.included,
        "overageEnabled": access.overage_enabled,
        **(_metered_check(access) if access.pool is None else _pool_check(access.pool, units, currency)),
    }
    return told if reason is None else {**told, "reason": _DENIALS.get(reason, reason), "message": _MESSAGES[reason]}


def _metered_check(access: FeatureAccess) -> Members:
    price = access.granted.unit_price if access.granted is not None and access.overage_enabled else None
    return {
        "consumptionModel": "metered",
        "overageUnitPrice": None if price is None else rate_of_unit_price(price),
        "unitPriceDecimal": price,
    }


def _pool_check(pool: PoolMeasure, units: int, currency: str) -> Members:
    cost = pool.cost(units)
    if pool.terms.model is ConsumptionModel.CREDITS:
        return {
            "consumptionModel": "credits",
            **_credit_price(pool),
            "estimatedCredits": None if cost is None else from_units(cost),
            "planCredits": from_units(pool.left.plan),
            "purchasedCredits": from_units(pool.left.extra),
            "totalCredits": from_units(pool.left.usable),
        }
    return {
        "consumptionModel": "balance",
        "unitPrice": None if pool.by_model else rate_of_unit_price(pool.granted.unit_price),
        "unitPriceDecimal": None if pool.by_model else pool.granted.unit_price,
        "estimatedAmount": None if cost is None else minor(cost, currency),
        "estimatedAmountDecimal": None if cost is None else major(cost),
        "currentBalance": minor(pool.left.usable - pool.left.overdraft, currency),
        "blockOnExhaustion": not pool.overdraft,
        "currency": currency,
    }


def _credit_price(pool: PoolMeasure) -> Members:
    return {"creditsPerUnit": pool.price, "creditsPerUnitDecimal": pool.granted.credits}


def _flat(access: FeatureAccess, dialect: Dialect, currency: str) -> Members:
    early = dialect is Dialect.A
    answer: Members = {
        "code": access.feature.code,
        "name": access.feature.name,
        "type": _type(access, early=early),
        "allowed": access.allowed,
        "access": access.allowed,
    }
    if access.counted:
        answer |= {
            "current": access.current,
            "included": access.included,
            "remaining": access.remaining,
            "overage" if early else "overageQuantity": access.overage,
            "unlimited": access.unlimited,
            "overageEnabled": access.overage_enabled,
            **_flat_price(access, currency),
        }
    else:
        answer["enabled"] = access.allowed
    return answer if access.reason is None else {**answer, "reason": access.reason}


def _flat_price(access: FeatureAccess, currency: str) -> Members:
    """Tell the price of more: beyond what is included, or of every unit where a pool pays, with the pool (R-ACC-5)."""
    pool = access.pool
    if pool is not None:
        told: Members = {"pool": pool_wire(pool.terms, pool.left, currency)}
        if pool.terms.model is ConsumptionModel.CREDITS:
            return {**told, **_credit_price(pool)}
        return told if pool.by_model else {**told, "unitPriceDecimal": pool.granted.unit_price}
    if access.granted is None or not access.overage_enabled:
        return {}
    price = access.granted.unit_price
    return {"overageUnitPrice": rate_of_unit_price(price), "unitPriceDecimal": price}


def _tagged(access: FeatureAccess, currency: str) -> Members:
    answer: Members = {
        "code": access.feature.code,
        "name": access.feature.name,
        "unitName": access.feature.unit_name,
        "allowed": access.allowed,
        "type": _type(access, early=False),
    }
    if access.pool is not None:
        answer["consumption"] = _pool_consumption(access, access.pool, currency)
        answer["pool"] = pool_wire(access.pool.terms, access.pool.left, currency)
    elif access.metered:
        answer["consumption"] = {"model": "metered", **_measure(access, currency)}
    elif access.counted:
        answer["usage"] = _measure(access, currency)
    else:
        answer["enabled"] = access.allowed
    return answer if access.reason is None else {**answer, "reason": access.reason}


def _pool_consumption(access: FeatureAccess, pool: PoolMeasure, currency: str) -> Members:
    told: Members = {"model": pool.terms.model.value, **_period(access), "unitsUsed": access.current}
    available = {} if access.remaining is None else {"availableUnits": access.remaining}
    if pool.terms.model is ConsumptionModel.CREDITS:
        return {**told, **_credit_price(pool), "creditsConsumed": from_units(pool.spent), **available}
    spent = round_half_away(from_units(pool.spent), currency)
    told |= {"spent": {"amount": spent.minor, "currency": currency}, "spentDecimal": major(pool.spent), **available}
    if not pool.by_model:
        told |= _rate_price(pool.granted.unit_price, currency)
    return told


def _rate_price(price: str, currency: str) -> Members:
    rate = {"amount": rate_of_unit_price(price), "currency": currency, "scale": RATE_SCALE}
    return {"unitPrice": rate, "unitPriceDecimal": price}


def _period(access: FeatureAccess) -> Members:
    if access.window is None:
        return {}
    start, end = (instant_text(day * DAY_MS) for day in access.window)
    return {"period": {"start": start, "end": end}}


def _measure(access: FeatureAccess, currency: str) -> Members:
    measure: Members = {
        "unitsUsed": access.current,
        "includedUnits": access.included or 0,
        "unlimited": access.unlimited,
        **_period(access),
    }
    if not access.unlimited:
        measure["remainingUnits"] = access.remaining
    overage: Members = {"enabled": access.overage_enabled, "units": access.overage}
    if access.granted is not None and access.overage_enabled:
        overage |= _rate_price(access.granted.unit_price, currency)
    return {**measure, "overage": overage}


def _type(access: FeatureAccess, *, early: bool) -> str:
    return "usage" if access.metered and not early else access.feature.kind.value
