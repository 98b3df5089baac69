"""Quantities raised in the middle of a quarter, over HTTP: the month that runs has them, closed months do not."""

from decimal import Decimal

from tests.story.judged import proved
from tests.story.test_billing import OVERAGE, World, world
from tests.story.test_subscription_life import begin, priced

__all__ = ["world"]  # a fixture


async def test_a_closed_month_of_a_quarter_stays_as_it_was_billed(world: World) -> None:
    """R-INT-4, R-BH-1, R-BAL-3: usage and overdraft; the invoices are made again the same, and the audit agrees."""
    await world.now("2026-01-01T00:00:00Z")
    acme, bolt = await world.customer("acme"), await world.customer("bolt")
    await priced(world, "quarterly", 12000)
    await begin(world, billingInterval="quarterly")
    balance = await world.call("POST", "/plans", {"name": "B", "code": "b", "consumptionModel": "balance"})
    price = {"billingInterval": "quarterly", "price": 15000, "includedBalance": 5000}
    made = await world.call("POST", f"/plans/{balance['id']}/prices", price)
    unit = {"unitPriceDecimal": "0.5"}
    await world.call("POST", f"/plans/{balance['id']}/features", {"featureId": "calls", "overage": unit})
    await world.call("POST", "/subscriptions", {"customerId": "bolt", "planCode": "b"})
    for customer, quantity in ((acme, "110"), (bolt, "130")):
        await world.track(customer, quantity, "2026-01-05T00:00:00Z")
    await world.now("2026-02-10T00:00:00Z")
    grown = {"includedAmount": 60, "overage": OVERAGE}
    await world.call("PATCH", f"/plans/{world.starter}/features/calls", grown)
    await world.call("PATCH", f"/plans/{balance['id']}/prices/{made['id']}", {"includedBalance": 6000})
    assert (await world.snapshot(bolt)).terms.pool == 60 * 10**9
    for customer, quantity in ((acme, "100"), (bolt, "130")):
        await world.track(customer, quantity, "2026-02-15T00:00:00Z")
    await world.track(acme, "10", "2026-01-06T00:00:00Z")
    await world.now("2026-03-02T00:00:00Z")
    rate = Decimal(OVERAGE["unitPriceDecimal"]) * 100
    assert (await world.lines("acme"))[1:] == [
        [("overage", int(100 * rate))],
        [("overage", int(40 * rate)), ("late_usage", int(10 * rate))],
    ]
    assert (await world.lines("bolt"))[1:] == [[("balance_overage", 1500)], [("balance_overage", 500)]]
    await proved(world)
