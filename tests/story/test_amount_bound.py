"""Amounts that no invoice can hold: refused where they enter, and one that usage makes stops its own close alone."""

from typing import Any

from sqlalchemy import update

from billing import tables
from billing.gateway.explain import Explainer
from tests.story.judged import proved
from tests.story.test_billing import World, world

__all__ = ["world"]  # a fixture

DEAR = {"enabled": True, "unitPriceDecimal": "100000"}


async def test_usage_beyond_what_an_invoice_holds_stops_its_own_close_alone(world: World) -> None:
    """R-INV-11: ten customers of a batch are closed, one is not; R-CUST-9: one of them is deleted since."""
    await world.now("2026-01-05T00:00:00Z")
    await world.plan("dear", 4900, "calls", {"includedAmount": 10, "overage": DEAR})
    acme = await world.customer("acme")
    subscription = await world.subscribe("acme", "dear")
    others = [f"other{number}" for number in range(10)]
    for one in others:
        await world.customer(one)
        await world.call("PUT", f"/customers/{one}", {"fullName": one})
        await world.subscribe(one)
    await world.track(acme, "1000000000000", "2026-01-06T00:00:00Z")
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert upcoming["total"] == 4900 + (10**12 - 10) * 10**7

    run = await world.now("2026-02-05T00:00:00Z")
    assert (run["status"], run["completedDeadlineCount"], run["failedDeadlineCount"]) == ("failed", 10, 1)
    why = "an amount is beyond the 1000000000000000 minor units of an invoice"
    assert run["error"] == f"invoices stopped: {why}"
    assert [len(await world.lines(one)) for one in ["acme", *others]] == [1, *[2] * 10]
    told = await Explainer(world.sql, world.live, world.store, world.catalog).explain_close(subscription["id"])
    assert [(one["state"], one["refusal"]) for one in told["closes"]] == [("stopped", "amount_too_large")]
    assert (await world.closer.close_due()).settled == 0
    assert (await world.closer.close_due(resume=True)).stopped == 1, "it is not mended"

    await world.call("DELETE", "/customers/other0")
    run = (await world.call("GET", "/test-clock"))["latestRun"]
    assert {item["customerName"] for item in run["items"]} == {None, *others[1:]}
    await priced(world, subscription["id"], "0.0000001")
    assert (await world.closer.close_due(resume=True)).settled == 1
    assert (await world.lines("acme"))[1] == [("plan_base", 4900), ("overage", 10_000_000)]
    [row] = [row for row in await world.rows(tables.closes) if row.subscription_id == subscription["id"]]
    assert (row.state, row.refusal) == ("settled", None)
    await proved(world)


async def priced(world: World, subscription_id: str, unit_price: str) -> None:
    """Write another unit price into all terms of a subscription, as an operator would."""
    async with world.sql.transaction() as connection:
        for row in await world.rows(tables.subscription_terms):
            if row.subscription_id == subscription_id:
                features = [{**one, "unitPrice": unit_price} for one in row.features]
                own = tables.subscription_terms.c
                which = (own.subscription_id == subscription_id, own.term == row.term, own.since_day == row.since_day)
                await connection.execute(update(tables.subscription_terms).where(*which).values(features=features))


async def test_seats_at_their_price_are_refused_where_they_enter(world: World) -> None:
    """R-SUB-1, R-SEAT-1, R-GEN-2: at a subscription's begin and at every change; what fits is charged."""
    await world.now("2026-01-05T00:00:00Z")
    await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
    granted = {"includedAmount": 0, "overage": {"enabled": True, "unitPriceDecimal": "1000000"}}
    await world.plan("team", 4900, "member", granted)
    await world.customer("acme")
    body: dict[str, Any] = {"customerId": "acme", "planCode": "team"}
    refused = await world.call("POST", "/subscriptions", {**body, "initialSeats": {"member": 10**7}}, expect=400)
    assert refused["code"] == "seat_limit_exceeded"
    await world.call("POST", "/subscriptions", {**body, "initialSeats": {"member": 10_000}})
    assert await world.lines("acme") == [[("plan_base", 4900), ("seats", 10**12)]]
    seats = {"customerId": "acme", "featureCode": "member", "count": 1}
    assert (await world.call("POST", "/seats", seats, expect=400))["code"] == "seat_limit_exceeded"
    await world.call("PUT", "/seats", {**seats, "count": 9_999})
