"""Pools on the wire: the member `pool` of feature access, and a subscription's blocks `credits` and `balance`. Pure.

Credits are numbers. Money is told twice: in minor units, exact and therefore perhaps with a fraction, where the
contract has a number (2.6), and in members that end in `Decimal` as a decimal string in the currency's major unit.
Source: contract 3.16, 4.2, decision 1; R-ACC-5.
"""

from decimal import Decimal
from typing import Any

from aggregator.account import Account
from aggregator.pool import Left
from aggregator.pool_left import draw_window, left
from catalog.terms import ConsumptionModel, Snapshot, Terms
from kernel.money import exact_minor
from kernel.quantity import canonical, from_units

Members = dict[str, Any]


def minor(units: int, currency: str) -> Decimal:
    """Spell 1e-9 of the major unit in minor units, exactly."""
    return exact_minor(from_units(units), currency)


def major(units: int) -> str:
    """Spell 1e-9 units as a decimal string."""
    return canonical(from_units(units))


def pool_wire(terms: Terms, rest: Left, currency: str) -> Members:
    """Spell a pool: what the plan grants a window, what is left of that and of what was bought, and the overdraft."""
    if terms.model is ConsumptionModel.CREDITS:
        return {
            "model": "credits",
            "included": from_units(terms.pool),
            "remaining": from_units(rest.usable),
            "plan": from_units(rest.plan),
            "purchased": from_units(rest.extra),
        }
    return {
        "model": "balance",
        "included": minor(terms.pool, currency),
        "remaining": minor(rest.usable - rest.overdraft, currency),
        "plan": minor(rest.plan, currency),
        "purchased": minor(rest.extra, currency),
        "overdraft": minor(rest.overdraft, currency),
        "currency": currency,
        "remainingDecimal": major(rest.usable - rest.overdraft),
        "overdraftDecimal": major(rest.overdraft),
    }


def subscription_pools(
    snapshot: Snapshot | None, account: Account | None, now_ms: int, currency: str
) -> dict[str, Members | None]:
    """Spell `credits` and `balance` of a subscription's answer at the organization's now; None where there is no pool.

    `remaining` of a balance is below zero when it is overdrawn.
    """
    found = None if snapshot is None else draw_window(snapshot, now_ms)
    if snapshot is None or found is None:
        return {"credits": None, "balance": None}
    terms, rest = found[0], left(account or Account(), snapshot, now_ms)
    if terms.model is ConsumptionModel.CREDITS:
        told: Members = {
            "remaining": from_units(rest.usable),
            "included": from_units(terms.pool),
            "purchased": from_units(rest.extra),
            "planDecimal": major(rest.plan),
            "purchasedDecimal": major(rest.extra),
        }
        return {"credits": told, "balance": None}
    told = {
        "remaining": minor(rest.usable - rest.overdraft, currency),
        "included": minor(terms.pool, currency),
        "currency": currency,
        "planDecimal": major(rest.plan),
        "topUpDecimal": major(rest.extra),
        "overdraftDecimal": major(rest.overdraft),
    }
    return {"credits": None, "balance": told}
