"""Usage of before a renewal with other limits that arrives after it: to the invoice and the audit."""

import pytest

from billing import tables
from kernel import ids
from tests.story.corrected import counted
from tests.story.judged import proved
from tests.story.test_billing import OVERAGE, World, world
from tests.story.test_plan_change import change
from tests.story.test_subscription_life import begin, issued
from tests.story.test_top_ups_left import given, topped_up, wallet

__all__ = ["world"]  # a fixture


async def test_late_usage_counts_by_the_terms_that_a_downgrade_or_the_seller_ended(world: World) -> None:
    """R-TRACK-10, R-TRACK-20: what basic blocks was overage of starter; what basic blocked stays so."""
    await world.now("2026-01-01T00:00:00Z")
    calls = ids.id_text(ids.FEATURE, world.calls)
    basic = await world.plan("basic", 2900, calls, {"includedAmount": 20})
    await world.group(world.starter, basic)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "60", "2026-01-20T00:00:00Z")
    assert (await change(world, made["id"], newPlanId=basic))["outcome"] == "scheduled"
    announced = await world.snapshot(acme)
    assert (announced.terms.number, announced.next.number) == (1, 2)

    await world.now("2026-02-02T00:00:00Z")
    await world.track(acme, "500", "2026-01-20T00:00:00Z", accepted="2026-02-02T00:00:00Z")
    await world.track(acme, "30", "2026-02-02T00:00:00Z")
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert [(line["kind"], line["amount"]) for line in upcoming["lineItems"]] == [
        ("plan_base", 2900),
        ("late_usage", 750),
    ]
    renewed = await world.snapshot(acme)
    assert (renewed.terms.number, renewed.next.number, renewed.ended[0].terms.number) == (2, 2, 1)

    # Overage is on from the next renewal: the terms that follow get a number of their own at once.
    await world.call("PATCH", f"/plans/{basic}/features/{calls}", {"overage": OVERAGE})
    assert (await world.snapshot(acme)).next.number == 3
    await world.now("2026-03-02T00:00:00Z")
    for quantity in ("21", "15", "6"):
        await world.track(acme, quantity, "2026-02-20T00:00:00Z", accepted="2026-03-02T00:00:00Z")
    await world.track(acme, "30", "2026-03-02T00:00:00Z")
    await world.now("2026-04-02T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "recurring", [("plan_base", 4900)]),
        ("2026-02-01", "recurring", [("plan_base", 2900), ("overage", 75)]),
        ("2026-03-01", "recurring", [("plan_base", 2900), ("late_usage", 750)]),
        ("2026-04-01", "recurring", [("plan_base", 2900), ("overage", 15)]),
    ]
    assert sorted(str(row.quantity) for row in await counted(world, acme)) == ["15", "30", "500", "60"]
    await proved(world)


@pytest.mark.parametrize("cut", [True, False], ids=["after its cut", "before its cut"])
async def test_what_counted_by_terms_that_an_upgrade_overtook_is_billed_by_them(world: World, *, cut: bool) -> None:
    """R-TRACK-10, R-CHG-3: its cut waits over a renewal with a number of its own, which counts until then."""
    await world.now("2026-01-01T00:00:00Z")
    calls = ids.id_text(ids.FEATURE, world.calls)
    basic = await world.plan("basic", 2900, calls, {"includedAmount": 20})
    pro = await world.plan("pro", 9900, calls, {"includedAmount": 500, "overage": OVERAGE})
    await world.group(basic, pro)
    acme = await world.customer("acme")
    made = await begin(world, planCode="basic")
    await world.call("PATCH", f"/plans/{basic}/features/{calls}", {"overage": OVERAGE})
    await world.now("2026-01-31T12:00:00Z")
    path, body, key = f"/subscriptions/{made['id']}/change-plan", {"newPlanId": pro}, {"idempotency-key": "over"}

    with world.closing_dies():
        assert (await world.http.post(path, json=body, headers=key)).status_code == 503
    if cut:
        assert await world.relay.show(acme)
    await world.now("2026-02-01T06:00:00Z", bill=False)
    await world.track(acme, "120", "2026-02-01T05:00:00Z")
    shown = await world.snapshot(acme)
    assert (shown.terms.number, shown.next.number) == (1, 2)
    await world.closer.close_due()
    assert (await world.http.post(path, json=body, headers=key)).json()["outcome"] == "completed"
    shown = await world.snapshot(acme)
    assert (shown.terms.number, [one.terms.number for one in shown.ended]) == (3, [1])
    await world.track(acme, "510", "2026-02-02T00:00:00Z")
    await world.now("2026-04-15T00:00:00Z")
    own, other = ([], [("overage", 150)]) if cut else ([("overage", 150)], [])
    assert await issued(world) == [
        ("2026-01-01", "recurring", [("plan_base", 2900)]),
        ("2026-01-31", "plan_change", own),
        ("2026-02-28", "recurring", [("plan_base", 9900), *other, ("overage", 15)]),
        ("2026-03-31", "recurring", [("plan_base", 9900)]),
    ]
    (line,) = [one for one in await world.rows(tables.invoice_lines) if one.term == 2]
    assert (line.quantity, line.amount_minor) == ("100", 150)
    await proved(world)


async def test_top_ups_are_lost_where_a_balance_becomes_free_at_the_renewal(world: World) -> None:
    """R-TOPUP-3, R-BAL-5: no free plan brings them back, and none gives them back as credit."""
    await world.now("2026-01-01T00:00:00Z")
    purse = await wallet(world, "purse", None, included=500)
    await world.group(await wallet(world, "wallet", 4900, included=4900), purse, world.free)
    acme, made = await topped_up(world, "wallet")
    await world.now("2026-02-10T00:00:00Z")
    assert (await change(world, made, newPlanId=purse))["outcome"] == "scheduled"
    await world.now("2026-03-01T00:00:00Z")
    await world.track(acme, "11", "2026-03-02T00:00:00Z")
    await world.track(acme, "10", "2026-03-02T00:00:00Z")
    assert [str(row.quantity) for row in await counted(world, acme)] == ["40", "10"]
    assert (await change(world, made, newPlanId=world.free))["outcome"] == "completed"
    await world.now("2026-03-05T00:00:00Z")
    assert await given(world) == []
    assert len(await world.rows(tables.invoices)) == 3
    await proved(world)
