"""An end date that a seller set, beside a cancellation or a change of plan that is asked for after it."""

from tests.story.test_billing import World, world
from tests.story.test_plan_change import change, offer
from tests.story.test_subscription_life import BASE, begin, day, issued

__all__ = ["world"]  # a fixture


async def test_a_cancel_counts_beside_an_end_date_that_comes_no_later(world: World) -> None:
    """R-SUB-6, R-SUB-14: it is kept with its reason, drops what was scheduled, and ends what the date would expire."""
    await world.now("2026-01-01T00:00:00Z")
    await offer(world)
    for reference, end in (("acme", "2026-02-01"), ("early", "2026-01-20")):
        await world.customer(reference)
        path = f"/subscriptions/{(await world.subscribe(reference, 'pro'))['id']}"
        await world.call("POST", f"{path}/change-plan", {"newPlanId": world.starter})
        await world.call("PATCH", path, {"endDate": end})
        canceled = await world.call("POST", f"{path}/cancel", {"reason": "too dear"})
        assert (canceled["endDate"], canceled["cancelAtPeriodEnd"]) == (day(end), True)
        assert (canceled["cancellation"]["reason"], canceled["scheduledPlanChange"]) == ("too dear", None)
        # One that is asked for again is the one that was: its reason stays.
        again = await world.call("POST", f"{path}/cancel", {"reason": "other"})
        assert again["cancellation"] == canceled["cancellation"]
    # A cancellation outlives the date beside it, and the date the cancellation.
    undated = await world.call("PATCH", path, {"endDate": None})
    assert (undated["endDate"], undated["cancelAtPeriodEnd"]) == (day("2026-02-01"), True)
    await world.call("PATCH", path, {"endDate": "2026-01-20"})
    back = await world.call("POST", f"{path}/uncancel")
    assert (back["endDate"], back["cancelAtPeriodEnd"], back["cancellation"]) == (day("2026-01-20"), False, None)
    await world.call("POST", f"{path}/cancel", {"reason": "too dear"})
    await world.call("PATCH", path, {"endDate": None})
    await world.now("2026-03-01T00:00:00Z")
    for reference in ("acme", "early"):
        [ended] = (await world.call("GET", "/subscriptions", customerId=reference))["data"]
        assert (ended["status"], ended["cancellation"]["reason"]) == ("canceled", "too dear")
        assert await world.lines(reference) == [[("plan_base", 9900)]]


async def test_a_change_that_an_end_date_forestalls_is_refused(world: World) -> None:
    """R-CHG-6, R-SUB-14: no renewal comes at which it could take effect; once the date is gone, or later, it does."""
    await world.now("2026-01-01T00:00:00Z")
    await offer(world)
    await world.customer("acme")
    made = await begin(world, planCode="pro")
    path = f"/subscriptions/{made['id']}"
    for end in ("2026-01-20", "2026-02-01"):
        await world.call("PATCH", path, {"endDate": end})
        for target in (world.starter, world.free):
            refused = await change(world, made["id"], newPlanId=target, expect=409)
            assert refused["code"] == "already_scheduled"
        assert (await world.call("GET", path))["scheduledPlanChange"] is None
    await world.call("PATCH", path, {"endDate": "2026-02-10"})
    later = await change(world, made["id"], newPlanId=world.starter)
    assert later["scheduledFor"] == day("2026-02-01")
    await world.now("2026-02-10T00:00:00Z")
    assert [(one["status"], one["planName"]) for one in [await world.call("GET", path)]] == [("expired", "starter")]
    assert await issued(world) == [
        ("2026-01-01", "recurring", [("plan_base", 9900)]),
        ("2026-02-01", "recurring", [BASE]),
    ]


async def test_a_retried_end_date_is_answered_as_it_was(world: World) -> None:
    """Contract 1.5: the first outcome, also when the date has come meanwhile, or was refused."""
    await world.now("2026-01-01T00:00:00Z")
    await offer(world)
    await world.customer("acme")
    path = f"/subscriptions/{(await begin(world, planCode='pro'))['id']}"
    for key, end, status in (("set", "2026-01-20", 200), ("past", "2025-12-31", 400)):
        first = await world.http.patch(path, json={"endDate": end}, headers={"idempotency-key": key})
        assert first.status_code == status
        await world.now("2026-02-10T00:00:00Z")
        again = await world.http.patch(path, json={"endDate": end}, headers={"idempotency-key": key})
        assert (again.status_code, again.content) == (status, first.content)
        other = await world.http.patch(path, json={"endDate": None}, headers={"idempotency-key": key})
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_mismatch")
