"""A plan that is deleted with a strategy: whoever is on it leaves at the renewal, and nobody comes to it."""

from typing import Any

import pytest

from kernel import ids
from tests.story.judged import proved
from tests.story.test_billing import OVERAGE, World, world
from tests.story.test_checkout import CARD
from tests.story.test_subscription_life import BASE, begin, day, issued, priced

__all__ = ["world"]  # a fixture

PRO = ("plan_base", 9900)


async def pro(world: World) -> str:
    calls = ids.id_text(ids.FEATURE, world.calls)
    return await world.plan("pro", 9900, calls, {"includedAmount": 500, "overage": OVERAGE})


async def read(world: World, made: Any) -> Any:
    return await world.call("GET", f"/subscriptions/{made['id']}")


async def test_a_trial_moves_after_its_first_paid_period(world: World) -> None:
    """R-PLAN-9, R-TRIAL-5: the trial's end charges what was agreed; the first renewal is on the new plan."""
    await world.now("2026-01-01T00:00:00Z")
    await pro(world)
    await world.customer("acme")
    made = await begin(world, customTrialDays=14)
    await world.call("DELETE", "/plans/starter?strategy=migrate&planId=pro")
    assert (await read(world, made))["scheduledPlanChange"]["scheduledFor"] == day("2026-02-15")
    await world.now("2026-03-15T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-15", "recurring", [BASE]),
        ("2026-02-15", "recurring", [PRO]),
        ("2026-03-15", "recurring", [PRO]),
    ]
    await proved(world)


async def test_an_end_date_keeps_nobody_on_a_deleted_plan(world: World) -> None:
    """R-PLAN-9: canceled with the period, long before the date."""
    await world.now("2026-01-10T00:00:00Z")
    await world.customer("acme")
    await world.customer("frugal")
    made, free = await begin(world), await world.subscribe("frugal", "free")
    for one in (made, free):
        await world.call("PATCH", f"/subscriptions/{one['id']}", {"endDate": day("2027-12-01")})
    for code in ("starter", "free"):
        await world.call("DELETE", f"/plans/{code}?strategy=cancel")
    for one in (made, free):
        assert (await read(world, one))["endDate"] == day("2026-02-10")
    await world.now("2026-04-10T00:00:00Z")
    assert [(await read(world, one))["status"] for one in (made, free)] == ["canceled"] * 2
    assert len(await issued(world)) == 1


@pytest.mark.parametrize("end", [None, "2026-03-05"])
@pytest.mark.parametrize("strategy", ["cancel", "migrate&planId=pro"])
async def test_a_date_that_is_taken_back_or_moved_keeps_nobody_on_a_deleted_plan(
    world: World, strategy: str, end: str | None
) -> None:
    """R-PLAN-9: it came before the renewal as the plan was deleted; without it the renewal comes, and is the last."""
    await world.now("2026-01-01T00:00:00Z")
    await pro(world)
    await world.customer("acme")
    made = await begin(world)
    await world.call("PATCH", f"/subscriptions/{made['id']}", {"endDate": "2026-01-20"})
    await world.now("2026-01-10T00:00:00Z")
    await world.call("DELETE", f"/plans/starter?strategy={strategy}")
    assert (await read(world, made))["endDate"] == day("2026-01-20")
    await world.call("PATCH", f"/subscriptions/{made['id']}", {"endDate": end})
    await world.now("2026-02-01T00:00:00Z")
    after = await read(world, made)
    if strategy == "cancel":
        assert (after["status"], after["endDate"]) == ("canceled", day("2026-02-01"))
        assert len(await issued(world)) == 1
    else:
        assert (after["status"], after["planName"]) == ("active", "pro")
        assert (await issued(world))[1:] == [("2026-02-01", "recurring", [PRO])]
    await proved(world)


async def test_what_a_deletion_scheduled_is_not_taken_back(world: World) -> None:
    """R-PLAN-9, AMB-37, R-CHG-6: nor is another interval of a deleted plan sold."""
    await world.now("2026-01-01T00:00:00Z")
    await pro(world)
    await priced(world, "yearly", 40000)
    await world.customer("acme")
    moving = await begin(world)
    await world.call("POST", f"/subscriptions/{moving['id']}/cancel")
    await world.call("DELETE", "/plans/starter?strategy=migrate&planId=pro")
    # Who had canceled before goes on after all: on the new plan.
    await world.call("POST", f"/subscriptions/{moving['id']}/uncancel")
    assert (await read(world, moving))["scheduledPlanChange"]["newPlanName"] == "pro"
    for method, path, body in (
        ("DELETE", "scheduled-change", None),
        ("POST", "change-plan", {"newBillingInterval": "yearly"}),
    ):
        refused = await world.call(method, f"/subscriptions/{moving['id']}/{path}", body, expect=422)
        assert refused["code"] == "plan_unavailable"
    assert (await read(world, moving))["scheduledPlanChange"]["newPlanName"] == "pro"
    await world.now("2026-02-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [PRO])]
    await world.call("DELETE", "/plans/pro?strategy=cancel", expect=409)  # the plan that others move to


async def test_a_cancellation_by_the_deletion_is_not_taken_back(world: World) -> None:
    """R-PLAN-9, AMB-37."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    made = await begin(world)
    await world.call("DELETE", "/plans/starter?strategy=cancel")
    refused = await world.call("POST", f"/subscriptions/{made['id']}/uncancel", expect=422)
    assert refused["code"] == "plan_unavailable"
    await world.now("2026-03-01T00:00:00Z")
    assert (await read(world, made))["status"] == "canceled"
    assert len(await issued(world)) == 1


@pytest.mark.parametrize("end", ["deprecate", "delete"])
async def test_nobody_comes_to_a_plan_that_ended(world: World, end: str) -> None:
    """R-PLAN-8, AMB-46: not by a checkout that was open, not by a draft, not by a downgrade that was scheduled."""
    await world.now("2026-01-01T00:00:00Z")
    new = await pro(world)
    await world.group(world.starter, new)
    for reference in ("acme", "open", "drafted", "stays"):
        await world.customer(reference)
    await world.subscribe("stays")
    down = await begin(world, planCode="pro")
    await world.call("POST", f"/subscriptions/{down['id']}/change-plan", {"newPlanId": world.starter})
    assert (await read(world, down))["scheduledPlanChange"]["newPlanName"] == "starter"
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    waiting = await world.subscribe("open")
    draft = await begin(world, customerId="drafted", draft=True)
    checkout = "/checkout/" + waiting["checkoutUrl"].rpartition("/")[2]
    if end == "delete":
        await world.call("DELETE", "/plans/starter?strategy=cancel")
    else:
        await world.call("POST", "/plans/starter/deprecate")
    for method, path, body in (
        ("GET", checkout, None),
        ("POST", checkout, {"number": CARD}),
        ("POST", f"/subscriptions/{draft['id']}/send", None),
    ):
        assert (await world.call(method, path, body, expect=422))["code"] == "plan_unavailable"
    assert (await read(world, waiting))["status"] == "pending_payment"
    assert (await read(world, down))["scheduledPlanChange"] is None
    await world.now("2026-02-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [PRO])]
    # Of a deprecated plan the subscribers renew.
    assert len(await world.invoices("stays")) == (1 if end == "delete" else 2)


async def test_the_worker_follows_a_deletion_whose_process_died(world: World) -> None:
    """R-PLAN-9: also where the deletion came after a period's end that waited to be closed."""
    await world.now("2026-01-01T00:00:00Z")
    await pro(world)
    await world.customer("acme")
    made = await begin(world)
    told, world.catalog.on_plan_changed = world.catalog.on_plan_changed, None
    await world.now("2026-02-01T00:30:00Z", bill=False)
    await world.call("DELETE", "/plans/starter?strategy=migrate&planId=pro")
    # The period that ran is February: the one before it is closed as it was to be.
    assert await world.following.look()
    assert (await read(world, made))["scheduledPlanChange"] is None
    await world.now("2026-03-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [BASE]), ("2026-03-01", "recurring", [PRO])]

    await world.call("DELETE", "/plans/pro?strategy=cancel", expect=409)
    await world.call("DELETE", "/plans/starter")
    await world.call("DELETE", "/plans/pro?strategy=cancel")
    assert (await read(world, made))["endDate"] is None
    assert await world.following.look()
    assert (await read(world, made))["endDate"] == day("2026-04-01")
    world.catalog.on_plan_changed = told
    await proved(world)


async def test_a_period_that_has_begun_is_not_taken_back_by_who_follows_late(world: World) -> None:
    """R-PLAN-9: once the next period runs, it is the one that ends; its terms stay as they were shown."""
    await world.now("2026-01-20T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    world.catalog.on_plan_changed = None
    await world.call("DELETE", "/plans/starter?strategy=cancel")
    await world.now("2026-02-20T00:30:00Z", bill=False)
    await world.track(acme, "110", "2026-02-20T00:10:00Z")
    assert await world.following.look()
    assert (await read(world, made))["endDate"] is None
    await world.now("2026-02-20T01:00:00Z")
    assert (await read(world, made))["endDate"] == day("2026-03-20")
    await world.now("2026-05-01T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-02-20", "recurring", [BASE]),
        ("2026-03-20", "recurring", [("overage", 150)]),
    ]
    await proved(world)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"name": "Old"}),
        ("POST", "/deprecate", None),
        ("PATCH", "/features/calls", {"includedAmount": 30}),
    ],
)
async def test_a_change_that_is_newer_than_the_deletion_stays_however_the_plan_is_edited(
    world: World, method: str, path: str, body: dict[str, Any] | None
) -> None:
    """R-SUB-14, R-PLAN-9: what the subscribers of a deleted plan have may still be edited."""
    calls = ids.id_text(ids.FEATURE, world.calls)
    small = await world.plan("small", 900, calls, {"includedAmount": 3, "overage": OVERAGE})
    await world.group(small, world.starter)
    await pro(world)
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-05T00:00:00Z")
    await world.call("DELETE", "/plans/starter?strategy=migrate&planId=pro")
    await world.now("2026-01-06T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/change-plan", {"newPlanId": small})
    await world.now("2026-01-07T00:00:00Z")
    await world.call(method, f"/plans/starter{path}", body)
    assert (await read(world, made))["scheduledPlanChange"]["newPlanName"] == "small"
    await world.now("2026-02-01T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "recurring", [BASE]),
        ("2026-02-01", "recurring", [("plan_base", 900)]),
    ]
    await proved(world)


@pytest.mark.parametrize(("end", "left"), [("cancel", None), ("migrate&planId=pro", PRO)])
async def test_who_is_paused_leaves_a_deleted_plan_that_lost_a_price(world: World, end: str, left: Any) -> None:
    """R-PLAN-9, contract row 64: a price is removed at the real clock, which may be far ahead of the test clock."""
    await priced(world, "yearly", 49_000)
    await pro(world)
    yearly = (await world.call("GET", "/plans/starter"))["prices"][1]["id"]
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-05T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/pause", {"mode": "immediate", "durationDays": 60})
    await world.now("2026-02-05T00:00:00Z")
    await world.call("DELETE", f"/plans/starter?strategy={end}")
    await world.call("DELETE", f"/plans/starter/prices/{yearly}")
    await world.now("2026-04-05T00:00:00Z")
    assert [line for _, _, lines in (await issued(world))[1:] for line in lines] == ([] if left is None else [left])
    assert (await read(world, made))["status"] == ("canceled" if left is None else "active")
    await proved(world)
