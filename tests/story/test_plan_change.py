"""Changes of plan over HTTP, on real stores: upgrades that are charged, downgrades that wait, previews."""

from typing import Any

from kernel import ids
from tests.story.test_billing import OVERAGE, World, world
from tests.story.test_subscription_life import begin, day, issued

__all__ = ["world"]  # a fixture


async def offer(world: World) -> str:
    """Sell `pro` at 99.00 beside `starter` at 49.00 and `free`, all in one group; returns its id."""
    calls = ids.id_text(ids.FEATURE, world.calls)
    pro = await world.plan("pro", 9900, calls, {"includedAmount": 500, "overage": OVERAGE})
    group = (await world.call("POST", "/plan-groups", {"name": "all", "isPublic": True}))["id"]
    for place, plan in enumerate((world.free, world.starter, pro)):
        await world.call("POST", f"/plan-groups/{group}/plans", {"planId": plan, "sortOrder": place})
    return pro


async def change(world: World, subscription: str, *, expect: int = 200, **body: Any) -> Any:
    return await world.call("POST", f"/subscriptions/{subscription}/change-plan", body, expect=expect)


async def test_an_upgrade_is_charged_and_holds_at_once(world: World) -> None:
    """R-CHG-3, R-CHG-4, R-CHG-9."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    await world.now("2026-01-15T00:00:00Z")
    seen = await world.call("POST", f"/subscriptions/{made['id']}/preview-change", {"planId": pro})
    assert (seen["currentPlanCredit"], seen["newPlanCharge"], seen["estimatedTotal"]) == (2450, 4950 + 150, 2650)
    assert (seen["daysRemaining"], seen["totalDays"], seen["isUpgrade"]) == (15, 30, True)
    done = await change(world, made["id"], newPlanId=pro)
    assert (done["outcome"], done["previousPlan"]["name"], done["currentPlan"]["price"]) == (
        "completed",
        "starter",
        9900,
    )
    assert (done["billing"]["credit"], done["billing"]["charge"], done["billing"]["totalCharged"]) == (2450, 5100, 2650)
    now = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (now["planId"], now["nextBillingDate"]) == (pro, day("2026-02-15"))
    shown = await world.snapshot(acme)
    assert (shown.terms.number, shown.terms.plan, shown.next.since) == (2, pro, shown.terms.since + 31)
    await world.now("2026-02-15T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-01-15", "plan_change", [("proration_credit", -2450), ("proration_charge", 4950), ("overage", 150)]),
        ("2026-02-15", "recurring", [("plan_base", 9900)]),
    ]
    refused = await change(world, made["id"], newPlanId=pro, expect=400)
    assert refused["code"] == "no_change_requested"
