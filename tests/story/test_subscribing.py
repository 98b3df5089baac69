"""Subscribing over HTTP: which price, whether a trial, which subscription is the customer's, what the clock brings."""

from typing import Any

from tests.story.test_billing import World, world
from tests.story.test_purchases import CARD, pack, simulator, sold

__all__ = ["world"]  # a fixture


async def begin(world: World, customer: str, *, expect: int = 200, **body: Any) -> Any:
    return await world.call("POST", "/subscriptions", {"customerId": customer, **body}, expect=expect)


async def test_an_interval_that_is_left_out_is_the_shortest_unless_another_is_the_default(world: World) -> None:
    """R-SUB-2: whichever was priced first; neither or both of planCode and planId are refused."""
    plan = await world.call("POST", "/plans", {"name": "Pro", "code": "pro"})
    path = f"/plans/{plan['id']}/prices"
    yearly = await world.call("POST", path, {"billingInterval": "yearly", "price": 90000})
    assert yearly["isDefault"] is True
    await world.customer("only")
    assert (await begin(world, "only", planCode="pro"))["billingInterval"] == "yearly"
    quarterly = await world.call("POST", path, {"billingInterval": "quarterly", "price": 27000})
    await world.call("PATCH", f"{path}/{quarterly['id']}", {"price": 28000})
    monthly = await world.call("POST", path, {"billingInterval": "monthly", "price": 9900})
    shown = (await world.call("GET", "/plans/pro"))["prices"]
    assert [price["billingInterval"] for price in shown if price["isDefault"]] == ["monthly"]
    await world.customer("short")
    assert (await begin(world, "short", planCode="pro"))["billingInterval"] == "monthly"
    await world.call("PUT", f"{path}/{yearly['id']}/default")
    await world.customer("said")
    assert (await begin(world, "said", planId=plan["id"]))["billingInterval"] == "yearly"
    await world.call("DELETE", f"{path}/{yearly['id']}")
    await world.call("DELETE", f"{path}/{monthly['id']}")
    await world.customer("left")
    assert (await begin(world, "left", planCode="pro"))["billingInterval"] == "quarterly"
    await world.customer("acme")
    for body in ({}, {"planCode": "pro", "planId": plan["id"]}):
        assert (await begin(world, "acme", expect=400, **body))["code"] == "validation_error"


async def test_every_subscription_to_a_price_with_trial_days_starts_a_trial(world: World) -> None:
    """R-TRIAL-2, R-TRIAL-11, R-TRIAL-1: a returning customer's too; skipTrial alone passes it by."""
    await world.now("2026-01-01T00:00:00Z")
    price = (await world.call("GET", f"/plans/{world.starter}"))["prices"][0]["id"]
    await world.call("PATCH", f"/plans/{world.starter}/prices/{price}", {"trialDays": 14})
    await world.customer("acme")
    for _ in range(2):
        made = await begin(world, "acme", planCode="starter")
        assert (made["status"], made["trialEndsAt"]) == ("trialing", "2026-01-15T00:00:00.000Z")
        await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    assert await world.lines("acme") == []
    made = await begin(world, "acme", planCode="starter", skipTrial=True)
    assert (made["status"], made["trialEndsAt"]) == ("active", None)
    assert await world.lines("acme") == [[("plan_base", 4900)]]


async def test_a_customers_subscription_is_the_live_one_and_then_none(world: World) -> None:
    """R-SUB-11 with contract 3.16: null when nothing is live; the list begins with the newest."""
    await world.customer("acme")
    of_acme = {"customerId": "acme"}
    assert await world.call("GET", "/subscriptions/active", **of_acme) is None
    first = await world.subscribe("acme")
    assert (await world.call("GET", "/subscriptions/active", **of_acme))["id"] == first["id"]
    await world.call("POST", f"/subscriptions/{first['id']}/cancel", {"immediate": True})
    assert await world.call("GET", "/subscriptions/active", **of_acme) is None
    second = await world.subscribe("acme", "free")
    assert (await world.call("GET", "/subscriptions/active", **of_acme))["id"] == second["id"]
    listed = (await world.call("GET", "/subscriptions", **of_acme))["data"]
    assert [(one["id"], one["status"]) for one in listed] == [(second["id"], "active"), (first["id"], "canceled")]


async def test_thirty_days_are_not_always_a_renewal(world: World) -> None:
    """R-CLOCK-4, R-CLOCK-2, R-PLAN-7: from 1 January they end on the 31st; a day later the first renewal is due."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme")
    assert made["nextBillingDate"] == "2026-02-01T00:00:00.000Z"
    for days, reached, invoices in ((30, "2026-01-31", 1), (1, "2026-02-01", 2), (14, "2026-02-15", 2)):
        run = await world.call("POST", "/test-clock", {"advanceDays": days}, expect=202)
        assert (run["targetTime"][:10], len(await world.lines("acme"))) == (reached, invoices)


async def test_a_clock_belongs_to_one_organization(world: World) -> None:
    """R-CLOCK-6: another sandbox keeps its own time."""
    await world.now("2019-01-01T00:00:00Z")
    other = await world.other_organization()
    assert (await world.call("GET", "/test-clock"))["simulatedTime"] == "2019-01-01T00:00:00.000Z"
    world.http.headers["x-api-key"] = other
    assert (await world.call("GET", "/test-clock"))["simulatedTime"] is None


async def test_what_a_portal_shows_of_a_free_plan(world: World) -> None:
    """R-FREE-5, R-FREE-2, R-FREE-4: no billing date, 0.00; a card and invoices once something was bought."""
    subscription = await sold(world, free=True)
    await simulator(world)
    shown = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert (shown["status"], shown["plan"]["basePrice"], shown["nextBillingDate"]) == ("active", 0, None)
    assert (await world.invoices("acme"), (await world.call("GET", "/payments"))["data"]) == ([], [])
    bought, path = {"creditPackId": await pack(world)}, f"/subscriptions/{subscription}/credits"
    assert (await world.call("POST", path, bought, expect=422))["code"] == "no_payment_method"
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    await world.call("POST", path, bought)
    await world.now("2026-03-01T00:00:00Z")
    assert [(one["invoiceType"], one["total"]) for one in await world.invoices("acme")] == [("credit_purchase", 4000)]
    shown = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert (shown["nextBillingDate"], shown["credits"]["purchased"]) == (None, 500)


async def test_a_pack_costs_what_is_shown_when_it_is_bought(world: World) -> None:
    """R-PRICE-5, R-INV-10: a later price changes no invoice that was issued, and nothing waits for a renewal."""
    subscription = await sold(world)
    bought, path = await pack(world), f"/subscriptions/{subscription}/credits"
    await world.call("POST", path, {"creditPackId": bought})
    await world.call("PATCH", f"/credit-packs/{bought}", {"price": 4500})
    await world.call("POST", path, {"creditPackId": bought})
    packs = [one["total"] for one in await world.invoices("acme") if one["invoiceType"] == "credit_purchase"]
    assert packs == [4000, 4500]


async def test_nothing_is_added_for_taxes(world: World) -> None:
    """R-INV-13: the figures are those before taxes, which a merchant of record adds."""
    await sold(world)
    [invoice] = await world.invoices("acme")
    assert (invoice["taxAmount"], invoice["subtotal"], invoice["total"], invoice["amountDue"]) == (0, 9900, 9900, 9900)
    assert all(line["kind"] != "tax" for line in invoice["lineItems"])


async def test_who_changes_to_lower_limits_is_told_what_it_will_cost(world: World) -> None:
    """R-BH-6: it is allowed, for usage and seats, and the answer and the preview warn of the price of the rest."""
    await world.now("2026-01-01T00:00:00Z")
    plans = {}
    for code, price, calls, seats in (("small", 1000, 5, 1), ("big", 9000, 100, 10), ("huge", 9900, 100, 2)):
        made = await world.call("POST", "/plans", {"name": code, "code": code})
        plans[code] = made["id"]
        await world.call("POST", f"/plans/{code}/prices", {"billingInterval": "monthly", "price": price})
        calls_id = (await world.call("GET", "/plans/starter"))["features"][0]["featureId"]
        overage = {"enabled": True, "unitPriceDecimal": "0.5"}
        granted = {"featureId": calls_id, "includedAmount": calls, "overage": overage}
        await world.call("POST", f"/plans/{code}/features", granted)
        if code == "small":
            await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
        member = {"featureId": "member", "includedAmount": seats, "overage": {**overage, "enabled": code != "small"}}
        await world.call("POST", f"/plans/{code}/features", member)
    await world.group(*plans.values())
    acme = await world.customer("acme")
    made = await begin(world, "acme", planCode="big", initialSeats={"member": 3})
    await world.track(acme, "7.5", "2026-01-02T00:00:00Z")
    path = f"/subscriptions/{made['id']}"

    def said(warnings: Any) -> list[tuple[Any, ...]]:
        names = ("featureCode", "current", "included", "overageUnitPriceDecimal")
        return sorted(tuple(warning[name] for name in names) for warning in warnings)

    preview = await world.call("POST", f"{path}/preview-change", {"planId": plans["huge"]})
    assert said(preview["limitWarnings"]) == [("member", 3, 2, "0.5")]
    down = await world.call("POST", f"{path}/change-plan", {"newPlanId": plans["small"]})
    assert (down["outcome"], down["seatLimitWarning"]["currentSeats"]) == ("scheduled", 3)
    assert said(down["limitWarnings"]) == [("calls", 7.5, 5, "0.5"), ("member", 3, 1, None)]
    await world.now("2026-02-01T00:00:00Z")
    assert (await world.call("GET", path))["planId"] == plans["small"]


async def test_every_member_that_a_client_sends_is_heeded_or_refused_by_name(world: World) -> None:
    """Contract row 56: a price by its id, an address that a browser may be sent to, and what is not sold here."""
    path = f"/plans/{world.starter}/prices"
    yearly = (await world.call("POST", path, {"billingInterval": "yearly", "price": 49000}))["id"]
    await world.customer("acme")
    for code, body in (
        ("price_not_found", {"planCode": "free", "priceId": yearly}),
        ("validation_error", {"planCode": "starter", "priceId": yearly, "billingInterval": "monthly"}),
        *(
            ("validation_error", {"planCode": "starter", "successUrl": url})
            for url in ("javascript:x()", "/", "http://[")
        ),
        *(("validation_error", {"planCode": "starter", name: True}) for name in ("cancelAtPeriodEnd",)),
        ("validation_error", {"planCode": "starter", "introOffer": {"discountType": "percentage"}}),
    ):
        expect = 404 if code == "price_not_found" else 400
        assert (await begin(world, "acme", expect=expect, **body))["code"] == code, body
    made = await begin(world, "acme", planCode="starter", priceId=yearly, successUrl="https://a.example/x?y=1")
    assert (made["priceId"], made["billingInterval"]) == (yearly, "yearly")
    changed = {"newBillingInterval": "monthly", "successUrl": "javascript:x()"}
    refused = await world.call("POST", f"/subscriptions/{made['id']}/change-plan", changed, expect=400)
    assert refused["details"][0]["field"] == "successUrl"
