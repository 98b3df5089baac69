"""Hidden, deprecated, deleted: what the catalog shows and refuses at the end of a plan."""

import pytest

from catalog import store
from catalog.gateway.document import export
from catalog.plan_rule import check_sold
from kernel.errors import Rejected
from tests.story.test_plans import in_use, stored


async def codes(api, query=""):
    return [plan["code"] for plan in (await api.call("GET", f"/plans{query}"))["data"]]


async def test_private_plans_are_hidden_and_can_still_be_assigned(api, shop):
    """R-PLAN-4, R-PLAN-5."""
    await api.plan("open")
    await api.plan("secret", isPublic=False)
    assert await codes(api) == ["open"]
    assert sorted(await codes(api, "?includePrivate=true")) == ["open", "secret"]
    assert (await api.call("GET", "/plans/secret"))["isPublic"] is False
    assert check_sold(await stored(shop, "secret")).code == "secret"
    await api.call("PUT", "/plans/open/visibility", {"isPublic": False})
    assert await codes(api) == []


async def test_a_deprecated_plan_is_shown_nowhere_and_sold_to_nobody(api, shop):
    """R-PLAN-8, R-BH-1: its subscribers keep it unchanged."""
    told = []

    async def changed(organization, plan_id):
        told.append(plan_id)

    made = await api.plan("old")
    await api.price("old", 1000)
    api.catalog.plan_in_use, api.catalog.on_plan_changed = in_use, changed
    before = await stored(shop, "old")
    for _ in range(2):
        assert (await api.call("POST", "/plans/old/deprecate"))["isDeprecated"] is True
    assert told == [made["id"]] * 2
    for query in ("", "?includePrivate=true"):
        assert await codes(api, query) == []
    assert await codes(api, "?includeDeprecated=true") == ["old"]
    after = await stored(shop, made["id"])
    assert (after.prices, after.features, after.is_public) == (before.prices, before.features, True)
    with pytest.raises(Rejected, match="plan_unavailable"):
        check_sold(after)
    await api.refused("POST", "/plans/none/deprecate", status=404, code="plan_not_found")


async def test_without_a_strategy_a_plan_in_use_stays(api):
    """R-PLAN-10."""
    await api.plan("pro")
    api.catalog.plan_in_use = in_use
    await api.refused("DELETE", "/plans/pro", status=409, code="plan_in_use")
    assert await codes(api) == ["pro"]
    api.catalog.plan_in_use = None
    assert (await api.call("DELETE", "/plans/pro"))["deleted"] is True
    await api.refused("GET", "/plans/pro", status=404, code="plan_not_found")


async def test_a_strategy_says_what_becomes_of_subscribers(api, shop):
    """R-PLAN-9: cancel or migrate, kept with the plan, which is hidden and sold no more."""
    told = []

    async def changed(organization, plan_id):
        async with shop.sql.snapshot() as conn:
            told.append((await store.load_plan(conn, organization, plan_id)).ending)

    for code in ("old", "older", "new"):
        await api.plan(code)
        await api.price(code, 1000)
    api.catalog.plan_in_use, api.catalog.on_plan_changed = in_use, changed
    new = await stored(shop, "new")
    answer = await api.call("DELETE", "/plans/old?strategy=migrate&planId=new")
    assert (answer["deleted"], answer["strategy"], answer["planId"]) == (True, "migrate", new.id)
    answer = await api.call("DELETE", "/plans/older?strategy=cancel")
    assert (answer["deleted"], answer["strategy"], answer["planId"]) == (True, "cancel", None)
    assert told == [new.id, "cancel"]
    assert await codes(api, "?includePrivate=true") == ["new"]
    assert (await api.call("GET", "/plans/old"))["deletion"] == {"strategy": "migrate", "planId": new.id}
    assert (await api.call("GET", "/plans/older"))["deletion"] == {"strategy": "cancel", "planId": None}
    for code in ("old", "older"):
        plan = await stored(shop, code)
        assert (plan.is_public, plan.deprecated) == (False, True)
    await api.refused("DELETE", "/plans/new?strategy=cancel", status=409, code="plan_in_use")
    assert [plan.code for plan in (await export(api.catalog, shop.organization.id)).plan] == ["new"]


async def test_a_strategy_is_checked(api):
    """R-PLAN-9, R-FREE-6: subscribers can only move to a plan that is sold, from a free one to a free one."""
    for code in ("pro", "gone", "other"):
        await api.plan(code)
        await api.price(code, 1000)
    await api.plan("bare")
    api.catalog.plan_in_use = in_use
    await api.call("POST", "/plans/gone/deprecate")
    for query, field in [
        ("strategy=keep", "strategy"),
        ("strategy=migrate", "planId"),
        ("strategy=cancel&planId=bare", "planId"),
        ("planId=bare", "planId"),
        ("strategy=migrate&planId=pro", "planId"),
        ("strategy=migrate&planId=gone", "planId"),
        ("strategy=migrate&planId=bare", "planId"),
    ]:
        await api.invalid("DELETE", f"/plans/pro?{query}", None, field)
    await api.plan("basic", isFree=True)
    await api.invalid("DELETE", "/plans/basic?strategy=migrate&planId=other", None, "planId")
    await api.refused("DELETE", "/plans/pro?strategy=migrate&planId=x", status=404, code="plan_not_found")
    assert (await api.call("GET", "/plans/pro"))["deletion"] is None


async def test_with_nobody_subscribed_a_strategy_removes_at_once(api):
    """R-PLAN-9, R-PLAN-11: then the code is free again, and either reference names the new one."""
    await api.plan("pro")
    assert (await api.call("DELETE", "/plans/pro?strategy=cancel"))["deleted"] is True
    await api.refused("GET", "/plans/pro", status=404, code="plan_not_found")
    again = await api.plan("pro")
    assert await api.call("GET", "/plans/pro") == await api.call("GET", f"/plans/{again['id']}") == again
    await api.refused("POST", "/plans", {"name": "x", "code": "pro"}, status=409, code="duplicate")
    await api.invalid("POST", "/plans", {"name": "x", "code": "Pro"}, "code")
