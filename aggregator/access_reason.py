"""Why a customer may use a feature now, or may not: rule, terms, window and the numbers that decide. Pure.

Owns words alone; what is decided is `aggregator.access`. Source: R-ACC-2, R-ACC-3, R-ACC-8, R-ACC-11.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from aggregator.access import INACTIVE, NOT_IN_PLAN, NOT_SUBSCRIBED, FeatureAccess
from aggregator.judgement import granted_wire
from aggregator.measure import SeatMeasure
from aggregator.pool_answer import major, pool_wire
from aggregator.pool_measure import PoolMeasure
from catalog.terms import ConsumptionModel, Snapshot
from kernel.period import date_of, instant_text
from kernel.quantity import canonical
from kernel.reason import ACCESS_RULES

_TABLE: Final = "R-ACC-8"
_DENIED: Final[Mapping[str, str]] = {
    NOT_SUBSCRIBED: "The customer has no subscription whose terms have begun.",
    INACTIVE: "The subscription is {status}, or has ended: nothing may be used.",
    NOT_IN_PLAN: "Neither the plan nor an active add-on grants the feature.",
}


def access_why(access: FeatureAccess, snapshot: Snapshot | None, day: int, currency: str) -> dict[str, Any]:
    """Spell why one more unit may be used or not on a day, with the terms that decide and the numbers as strings."""
    reason = access.refusal()
    return {
        "featureCode": access.feature.code,
        "type": access.feature.kind.value,
        "allowed": reason is None,
        "willBeCharged": access.will_be_charged(),
        "reason": reason,
        "rule": _TABLE if reason is None else ACCESS_RULES[reason],
        "rules": [_TABLE] if reason is None else [ACCESS_RULES[reason], _TABLE],
        "why": _words(access, reason),
        "terms": _terms(access, snapshot, day),
        "window": None
        if access.window is None
        else {"start": date_of(access.window.start).isoformat(), "end": date_of(access.window.end).isoformat()},
        "arithmetic": _arithmetic(access, currency),
    }


def _words(access: FeatureAccess, reason: str | None) -> str:
    if access.denied is not None:
        return _DENIED[access.denied].format(status=access.status)
    if access.pool is not None and not access.unlimited:
        return _pool_words(access.pool, reason, charged=access.will_be_charged())
    if access.measure is None or access.unlimited:
        return "The terms grant it without a limit."
    unit = "seats" if isinstance(access.measure, SeatMeasure) else "units"
    used = f"{_plain(access.current)} of {_plain(access.included)} included {unit} are taken"
    if reason is not None:
        return f"{used}: one more does not fit, and the terms sell no more."
    return f"{used}: one more {'is beyond them and is charged' if access.will_be_charged() else 'fits'}."


def _pool_words(pool: PoolMeasure, reason: str | None, *, charged: bool) -> str:
    name = "credits" if pool.terms.model is ConsumptionModel.CREDITS else "balance"
    left = f"The {name} left ({major(pool.left.usable)})"
    if reason is not None:
        return f"{left} do not cover one more, and the pool may not be overdrawn."
    if charged:
        return f"{left} do not cover one more: it is overdraft, which the window's end invoices."
    return f"{left} cover one more."


def _terms(access: FeatureAccess, snapshot: Snapshot | None, day: int) -> dict[str, Any] | None:
    terms = None if snapshot is None else snapshot.terms_on(day)
    if snapshot is None or terms is None:
        return None
    return {
        "number": terms.number,
        "rev": snapshot.rev,
        "subscriptionId": terms.subscription,
        "status": access.status,
        "planId": terms.plan,
        "consumptionModel": terms.model.value,
        "since": date_of(terms.since).isoformat(),
        "accessEnds": None if snapshot.end_us is None else instant_text(snapshot.end_us // 1000),
        "overdraft": terms.overdraft,
        "feature": None if access.granted is None else granted_wire(access.granted),
    }


def _arithmetic(access: FeatureAccess, currency: str) -> dict[str, Any] | None:
    if not access.counted or access.measure is None:
        return None
    told: dict[str, Any] = {
        "current": _plain(access.current),
        "included": _plain(access.included),
        "remaining": _plain(access.remaining),
        "unlimited": access.unlimited,
        "overageEnabled": access.overage_enabled,
    }
    if access.pool is None:
        return told
    return {**told, "pool": pool_wire(access.pool.terms, access.pool.left, currency)}


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else canonical(number)
