"""Corrections and late usage of what a void invoice had charged: nobody paid it, so nothing of it comes back.

Of a window: `rate - billed` where that is not negative, void or not; else what the invoices that are not void charged
beyond the rate, and no more.
"""

import pytest

from tests.story.corrected import correct, counted
from tests.story.judged import changed, judged, proved
from tests.story.test_billing import World, world
from tests.story.test_invoice_status import set_status
from tests.story.test_subscription_life import begin, issued, priced
from tests.story.test_top_ups_left import wallet

__all__ = ["world"]  # a fixture


async def voided(world: World) -> str:
    """January has 590 calls at 0.015 on an invoice that is void, 40 more on one that is not."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    await begin(world, billingInterval="quarterly")
    await world.track(acme, "600", "2026-01-05T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    await set_status(world, (await world.invoices("acme"))[1], "void")
    await world.track(acme, "40", "2026-01-06T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z")
    assert [lines for _, _, lines in (await issued(world))[1:]] == [[("overage", 885)], [("late_usage", 60)]]
    return acme


async def test_what_a_void_invoice_charged_is_not_credited(world: World) -> None:
    """R-TRACK-20, ADR 10: as at an upgrade (R-PRO-6), what was voided counts as not paid."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    await begin(world, billingInterval="quarterly")
    await world.track(acme, "510", "2026-01-05T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    await set_status(world, (await world.invoices("acme"))[1], "void")
    [row] = await counted(world, acme)
    await correct(world, row, None, "2026-02-02T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")
    assert (await issued(world))[2:] == [("2026-04-01", "recurring", [("plan_base", 12000)])]
    assert (await world.call("GET", "/customers/acme/credits"))["data"] == []
    await proved(world)


@pytest.mark.parametrize(("value", "fell"), [("550", 0), ("10", 0), ("0", -15), (None, -15)])
async def test_what_was_paid_beside_it_is_credited_and_no_more(world: World, value: str | None, fell: int) -> None:
    """R-TRACK-20: 0.60 were paid; with 10 calls left, and the 40 that came late, January still costs that much."""
    acme = await voided(world)
    row, _ = await counted(world, acme)
    await correct(world, row, value, "2026-03-02T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")
    *_, (_, _, lines) = await issued(world)
    assert lines == [("plan_base", 12000), *([("late_usage", fell)] if fell else [])]
    await proved(world)
    for invoice in await world.invoices("acme"):
        for line in invoice["lineItems"]:
            told = await world.call("GET", f"/explain/{line['id']}")
            assert told["arithmetic"]["agrees"], told
    await changed(world, "UPDATE invoices SET voided_ms = NULL")
    assert "invoice window" in (await judged(world))[0].kinds


async def test_an_overdraft_that_is_void_is_not_credited(world: World) -> None:
    """R-BAL-3, ADR 10: 10.00 drawn on 5.00; the invoice with the rest is void, then the events are."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await wallet(world, "purse", 5000, 500)
    await begin(world, planCode="purse")
    await world.track(acme, "20", "2026-01-05T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    assert (await issued(world))[1][2] == [("plan_base", 5000), ("balance_overage", 500)]
    await set_status(world, (await world.invoices("acme"))[1], "void")
    [row] = await counted(world, acme)
    await correct(world, row, None, "2026-02-02T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z")
    assert (await issued(world))[2:] == [("2026-03-01", "recurring", [("plan_base", 5000)])]
    await proved(world)
