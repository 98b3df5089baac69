"""Invoices after corrections: what was charged comes back at the terms of its own window, once. Source: ADR 10."""

from tests.story.corrected import correct, counted
from tests.story.judged import proved
from tests.story.test_billing import World, world
from tests.story.test_overdraft import balance_plan
from tests.story.test_plan_change import change, offer
from tests.story.test_subscription_life import begin, issued, priced

__all__ = ["world"]  # a fixture


async def test_what_an_earlier_plan_charged_is_credited_at_its_price(world: World) -> None:
    """R-TRACK-20, R-CHG-4."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    await world.now("2026-01-15T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    [row] = await counted(world, acme)
    await correct(world, row, "30", "2026-01-20T00:00:00Z")
    await world.now("2026-02-15T00:00:00Z")
    [row, _] = await counted(world, acme)
    await correct(world, row, None, "2026-02-16T00:00:00Z")
    await world.now("2026-03-15T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-01-15", "plan_change", [("proration_credit", -2450), ("proration_charge", 4950), ("overage", 150)]),
        ("2026-02-15", "recurring", [("plan_base", 9900), ("late_usage", -120)]),
        ("2026-03-15", "recurring", [("plan_base", 9900), ("late_usage", -30)]),
    ]


async def test_an_invoice_below_zero_is_credited_and_pays_the_next(world: World) -> None:
    """AMB-19, R-INV-3: a quarter's months have invoices without a base price."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    await begin(world, billingInterval="quarterly")
    await world.track(acme, "210", "2026-01-05T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    [row] = await counted(world, acme)
    await correct(world, row, None, "2026-02-02T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "recurring", [("plan_base", 12000)]),
        ("2026-02-01", "overage", [("overage", 300)]),
        ("2026-03-01", "overage", [("late_usage", -300)]),
        ("2026-04-01", "recurring", [("plan_base", 12000), ("account_credit_applied", -300)]),
    ]


async def test_what_the_plans_part_would_have_covered_is_not_invoiced(world: World) -> None:
    """R-BAL-3: 60 calls took 30.00 of 50.00, 50 more went 5.00 beyond; the 60 were a mistake."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await balance_plan(world)
    await begin(world, planCode="balance")
    await world.track(acme, "60", "2026-01-05T00:00:00Z")
    await world.track(acme, "50", "2026-01-06T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    [first, _] = await counted(world, acme)
    await correct(world, first, None, "2026-02-02T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-02-01", "recurring", [("plan_base", 5000), ("balance_overage", 500)]),
        ("2026-03-01", "recurring", [("plan_base", 5000), ("balance_overage", -500)]),
    ]


async def test_what_an_ended_subscription_billed_is_not_credited_by_the_one_after(world: World) -> None:
    """ADR 10, R-SUB-7: canceled and subscribed anew at one instant; the last invoice of the first is written."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-05T00:00:00Z")
    await world.track(acme, "110", "2026-01-04T23:58:00Z", accepted="2026-01-05T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    await begin(world)
    [row] = await counted(world, acme)
    await correct(world, row, None, "2026-01-05T00:01:00Z")
    assert await counted(world, acme) == [row]
    await world.now("2026-02-05T00:00:00Z")
    assert [lines for _, _, lines in await issued(world)] == [
        [("plan_base", 4900)],
        [("overage", 150)],
        [("plan_base", 4900)],
        [("plan_base", 4900)],
    ]
    await proved(world)
