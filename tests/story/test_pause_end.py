"""Pauses that meet a failed charge, the end of a plan, or a length that is over already, over HTTP on real stores."""

import pytest

from tests.story.judged import proved
from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD, DECLINED
from tests.story.test_invoice_status import set_status
from tests.story.test_subscription_life import BASE, begin, day, issued, priced, with_payments

__all__ = ["world"]  # a fixture

QUARTER = ("plan_base", 12000)


async def past_due_with_a_pause(world: World) -> tuple[str, str]:
    """Bring a quarter from 1 January, to be paused on 1 April, past due by its overage of February."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    path = f"/subscriptions/{(await begin(world, billingInterval='quarterly'))['id']}"
    [first] = await world.invoices("acme")
    await set_status(world, first, "paid")
    await with_payments(world)
    await world.now("2026-02-10T00:00:00Z")
    await world.track(acme, "110", "2026-02-10T00:00:00Z")
    await world.call("POST", f"{path}/pause", {"mode": "period_end", "durationDays": 30})
    assert (await world.snapshot(acme)).next is None
    await world.call("POST", "/customers/acme/payment-method", {"number": DECLINED})
    await world.now("2026-03-05T00:00:00Z")
    shown = await world.call("GET", path)
    assert (shown["status"], shown["pause"]["status"], shown["nextBillingDate"]) == (
        "past_due",
        "scheduled",
        day("2026-04-01"),
    )
    await world.relay.pass_once()
    snapshot = await world.snapshot(acme)
    assert (snapshot.end_us, snapshot.next is None) == (None, False)
    return path, acme


async def test_a_subscription_that_is_past_due_renews_where_its_pause_was_to_begin(world: World) -> None:
    """R-DUN-7, R-SUB-5, R-INV-11: past due leads to active or canceled alone, so the pause is dropped."""
    path, acme = await past_due_with_a_pause(world)
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    await world.now("2026-04-05T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-03-01", "overage", [("overage", 150)]),
        ("2026-04-01", "recurring", [QUARTER]),
    ]
    shown = await world.call("GET", path)
    assert (shown["status"], shown["pause"], shown["currentPeriod"]["end"]) == ("past_due", None, day("2026-07-01"))
    await set_status(world, (await world.invoices("acme"))[1], "paid")
    shown = await world.call("GET", path)
    assert (shown["status"], shown["nextBillingDate"]) == ("active", day("2026-07-01"))
    assert (await world.snapshot(acme)).next is not None
    await proved(world)


@pytest.mark.parametrize("paid_late", [False, True])
async def test_a_pause_waits_until_what_is_outstanding_is_paid(world: World, *, paid_late: bool) -> None:
    """R-SUB-13, R-SUB-5: paid before its day it comes; paid on it, before the close, the period has begun."""
    path, acme = await past_due_with_a_pause(world)
    if paid_late:
        await world.now("2026-04-01T00:30:00Z", bill=False)
    await set_status(world, (await world.invoices("acme"))[1], "paid")
    shown = await world.call("GET", path)
    assert (shown["status"], shown["pause"] is None) == ("active", paid_late)
    assert ((await world.snapshot(acme)).next is None) is not paid_late
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    await world.now("2026-04-05T00:00:00Z")
    assert (await world.call("GET", path))["status"] == ("active" if paid_late else "paused")
    renewed = [("2026-04-01", "recurring", [QUARTER])]
    assert (await issued(world))[2:] == (renewed if paid_late else [])
    await world.now("2026-05-05T00:00:00Z")
    resumed = [("2026-05-01", "recurring", [QUARTER])]
    assert (await issued(world))[2:] == (renewed if paid_late else resumed)
    await proved(world)


async def test_a_plan_that_is_deleted_ends_those_that_are_paused_on_it(world: World) -> None:
    """R-PLAN-9, R-SUB-13: what a pause keeps of a period is had first; where it keeps nothing no period is charged."""
    await world.now("2026-01-01T00:00:00Z")
    acme, skips = await world.customer("acme"), await world.customer("skips")
    kept = f"/subscriptions/{(await begin(world))['id']}"
    skipped = f"/subscriptions/{(await begin(world, customerId='skips'))['id']}"
    await world.call("POST", f"{skipped}/pause", {"mode": "period_end", "durationDays": 60})
    ends = {"endDate": "2026-02-15T00:00:00Z"}
    assert (await world.call("PATCH", skipped, ends, expect=409))["code"] == "already_scheduled"
    await world.track(acme, "60", "2026-01-05T00:00:00Z")
    await world.now("2026-01-11T00:00:00Z")
    await world.call("POST", f"{kept}/pause", {"mode": "immediate", "durationDays": None})
    await world.now("2026-02-10T00:00:00Z")
    assert (await world.call("GET", skipped))["status"] == "paused"
    await world.call("DELETE", f"/plans/{world.starter}?strategy=cancel")
    assert (await world.call("POST", f"{skipped}/resume", expect=409))["code"] == "invalid_subscription_status"
    await world.now("2026-03-12T00:00:00Z")
    shown = await world.call("GET", skipped)
    assert (shown["status"], shown["pause"], shown["endDate"]) == ("canceled", None, day("2026-02-01"))
    assert (await world.snapshot(skips)).status == "canceled"
    assert await world.lines("skips") == [[BASE]]

    assert (await world.call("GET", kept))["status"] == "paused"
    await world.call("POST", f"{kept}/resume")
    shown = await world.call("GET", kept)
    assert (shown["status"], shown["endDate"], shown["nextBillingDate"]) == ("active", day("2026-04-02"), None)
    await world.track(acme, "110", "2026-03-20T00:00:00Z")
    await world.now("2026-05-02T00:00:00Z")
    assert (await world.call("GET", kept))["status"] == "canceled"
    assert (await issued(world))[1:] == [("2026-04-02", "recurring", [("overage", 75), ("overage", 150)])]
    await proved(world)


async def test_a_pause_cannot_be_made_to_have_ended_before(world: World) -> None:
    """R-SUB-13: days without access are not charged."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    path = f"/subscriptions/{(await begin(world))['id']}"
    await world.call("POST", f"{path}/pause", {"mode": "period_end", "durationDays": None})
    await world.now("2026-03-20T00:00:00Z")
    assert (await world.call("GET", "/customers/acme/upcoming-invoice", expect=404))["code"] == "invoice_not_found"
    for days in (10, 47):  # to 11 February, and to this instant
        refused = await world.call("PATCH", f"{path}/pause", {"durationDays": days}, expect=400)
        assert (refused["code"], "is over already" in str(refused)) == ("validation_error", True)
    longer = await world.call("PATCH", f"{path}/pause", {"durationDays": 48})
    assert longer["pause"]["resumeAt"] == day("2026-03-21")
    assert (await world.call("GET", "/customers/acme/upcoming-invoice", expect=404))["code"] == "invoice_not_found"
    await world.now("2026-03-22T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-03-21", "recurring", [BASE])]


@pytest.mark.parametrize(
    ("command", "body", "ends"),
    [("cancel", {}, "cancellation"), ("pause", {"mode": "period_end", "durationDays": None}, "pause")],
)
async def test_a_period_that_went_on_after_a_pause_is_left_at_its_own_end(
    world: World, command: str, body: dict[str, str | None], ends: str
) -> None:
    """R-SUB-6, R-SUB-13, contract T56: 30 of January's 31 days are left on 8 February, more than the month before."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    path = f"/subscriptions/{(await begin(world))['id']}"
    await world.now("2026-01-02T00:00:00Z")
    await world.call("POST", f"{path}/pause", {"mode": "immediate", "durationDays": None})
    await world.now("2026-02-08T00:00:00Z")
    await world.call("POST", f"{path}/resume")
    await world.now("2026-02-09T00:00:00Z")
    await world.call("POST", f"{path}/{command}", body)
    shown = await world.call("GET", path)
    assert (shown["currentPeriod"]["end"], shown[ends]["effectiveAt"]) == (day("2026-03-10"), day("2026-03-10"))
    await world.now("2026-03-09T00:00:00Z")
    assert (await world.call("GET", path))["status"] == "active"
    await world.now("2026-03-10T00:00:00Z")
    assert (await world.call("GET", path))["status"] == {"cancel": "canceled", "pause": "paused"}[command]
    assert await issued(world) == [("2026-01-01", "recurring", [BASE])]
