"""Add-ons, credit packs, promo codes, plan groups and regional prices from outside."""

import asyncio
from pathlib import Path

import pytest

from catalog import store
from catalog.definition import Customer, PromoCode
from catalog.document import parse_document, render_document
from catalog.gateway.document import apply, export
from kernel import ids
from kernel.errors import Rejected
from kernel.period import DAY_MS, instant_text
from tests.story.shop import NOW

REDEEMERS = 64
EXAMPLE = (Path(__file__).parents[2] / "docs/examples/offers.toml").read_text()


async def feature(api, code="sso", kind="boolean"):
    return await api.call("POST", "/features", {"name": code.upper(), "code": code, "type": kind})


async def test_an_addon_brings_one_feature(api):
    """R-ADDON-1."""
    sso = await feature(api)
    body = {"name": "SSO access", "basePrice": 5000, "featureId": sso["id"], "consumptionModel": "boolean"}
    made = await api.call("POST", "/addons", body)
    assert (made["object"], made["slug"], made["featureCode"], made["basePrice"]) == (
        "addon",
        "sso-access",
        "sso",
        5000,
    )
    assert await api.call("GET", "/addons/sso-access") == await api.call("GET", f"/addons/{made['id']}") == made
    assert [one["id"] for one in (await api.call("GET", "/addons"))["data"]] == [made["id"]]
    await api.refused("POST", "/addons", body | {"name": "Other"}, status=409, code="duplicate", field=None)
    other = await feature(api, "audit")
    same = body | {"featureId": other["id"]}
    await api.refused("POST", "/addons", same, status=409, code="duplicate")
    for wrong, field in (
        ({"consumptionModel": "metered"}, "consumptionModel"),
        ({"consumptionModel": "hourly"}, "consumptionModel"),
        ({"basePrice": -1}, "basePrice"),
        ({"slug": "No Slug"}, "slug"),
        ({"intervalPrices": {"weekly": 1}}, "intervalPrices"),
    ):
        await api.refused(
            "POST", "/addons", same | {"name": "Audit"} | wrong, status=400, code="validation_error", field=field
        )
    await api.refused("DELETE", "/features/sso", status=409, code="feature_in_use")


async def test_a_metered_addon_is_shown_whole_and_changed(api):
    """R-ADDON-12."""
    await feature(api, "exports", "usage")
    body = {
        "name": "Exports",
        "basePrice": 1000,
        "featureId": "exports",
        "consumptionModel": "metered",
        "includedUnits": 100,
        "overageRate": 50,
        "intervalPrices": {"yearly": 9600},
    }
    made = await api.call("POST", "/addons", body)
    assert (made["includedUnits"], made["overageRate"], made["unitPriceDecimal"]) == (100, 50, "0.005")
    assert made["intervalPrices"] == {"yearly": 9600}
    changed = await api.call("PATCH", "/addons/exports", {"basePrice": 1200, "unitPriceDecimal": "0.0000025"})
    assert (changed["basePrice"], changed["unitPriceDecimal"], changed["includedUnits"]) == (1200, "0.0000025", 100)
    assert (await api.call("PUT", "/addons/exports", {"name": "More"}))["name"] == "More"
    assert (await api.call("PATCH", "/addons/exports", {"overageRate": None}))["overageRate"] is None
    await api.invalid("PATCH", "/addons/exports", {"creditCost": 2}, "creditsPerUnit")


async def test_an_addon_of_each_model_says_what_a_use_costs(api):
    """R-ADDON-1."""
    for code in ("drawn", "paid", "asked"):
        await feature(api, code, "usage")
    body = {"basePrice": 1000, "consumptionModel": "credits", "creditCost": 10}
    made = await api.call("POST", "/addons", body | {"name": "Drawn", "featureId": "drawn"})
    assert (made["consumptionModel"], made["creditCost"], made["overageRate"]) == ("credits", 10, None)
    body = {"basePrice": 1000, "consumptionModel": "balance", "unitPriceDecimal": "0.0025"}
    made = await api.call("POST", "/addons", body | {"name": "Paid", "featureId": "paid"})
    assert (made["overageRate"], made["unitPriceDecimal"], made["margin"]) == (25, "0.0025", None)
    body = {"basePrice": 1000, "consumptionModel": "balance", "margin": 2050}
    made = await api.call("POST", "/addons", body | {"name": "Asked", "featureId": "asked"})
    assert (made["margin"], made["marginPercent"]) == (2050, "20.5")


async def test_an_addon_in_use_is_not_archived(api):
    """R-ADDON-11."""
    await feature(api)
    body = {"name": "SSO", "basePrice": 5000, "featureId": "sso", "consumptionModel": "boolean"}
    made = await api.call("POST", "/addons", body)
    used = {made["id"]}

    async def in_use(_conn, addon_id):
        return addon_id in used

    api.catalog.addon_in_use = in_use
    await api.refused("DELETE", "/addons/sso", status=409, code="addon_has_activations")
    used.clear()
    assert (await api.call("DELETE", "/addons/sso"))["deleted"] is True
    await api.refused("GET", "/addons/sso", status=404, code="addon_not_found")
    again = await api.call("POST", "/addons", body)
    assert again["id"] != made["id"]


async def test_credit_packs_are_listed_as_era_a_reads_them(shop, api):
    """R-PACK-1, R-PACK-4."""
    starter = {"name": "Starter Pack", "credits": 100, "price": 1000}
    made = await api.call("POST", "/credit-packs", starter)
    assert made["id"].startswith("cpk_")
    await api.refused("POST", "/credit-packs", starter, status=409, code="duplicate")
    big = await api.call("POST", "/credit-packs", {"name": "Big", "credits": 1000, "price": 9000, "isActive": False})
    async with shop.gateway(prefix="/api") as old:
        listed = (await old.call("GET", "/credit-packs"))["data"]
    known = {"id": made["id"], "name": "Starter Pack", "description": None, "credits": 100, "price": 1000}
    assert [{name: one[name] for name in (*known, "currency")} for one in listed] == [known | {"currency": "usd"}]
    await api.refused("PATCH", f"/credit-packs/{big['id']}", {"name": "Starter Pack"}, status=409, code="duplicate")
    await api.call("PATCH", f"/credit-packs/{big['id']}", {"isActive": True, "credits": 1200})
    assert [one["credits"] for one in (await api.call("GET", "/credit-packs"))["data"]] == [100, 1200]
    await api.call("DELETE", f"/credit-packs/{big['id']}")
    assert len((await api.call("GET", "/credit-packs?includeInactive=true"))["data"]) == 1
    async with shop.gateway(version="2026-07-11") as c:
        managed = await c.call("POST", "/credit-packs/manage", {"name": "Big", "credits": 5, "price": 1})
        assert managed["data"]["credits"] == 5
    for wrong, field in (({"credits": 0}, "credits"), ({"price": -1}, "price"), ({"name": " "}, "name")):
        body = {"name": "X", "credits": 1, "price": 1} | wrong
        await api.refused("POST", "/credit-packs", body, status=400, code="validation_error", field=field)


async def test_a_packs_price_is_in_dollars_whatever_the_seller_sells_in(shop):
    """R-REG-8."""
    async with shop.sql.transaction() as conn:
        european = await store.create_organization(conn, "European", "sandbox", NOW, currency="eur")
        await store.create_key(conn, european, name="eu", now_ms=NOW, secret="ck_sandbox_eu")
    async with shop.gateway(key="ck_sandbox_eu") as there:
        made = await there.call("POST", "/credit-packs", {"name": "X", "credits": 1, "price": 100})
        assert (made["price"], made["currency"]) == (100, "usd")


async def test_dollars_of_ai_models_are_not_drawn_from_another_currency(shop):
    """R-AI-2: what tokens cost is in USD, so only a seller in USD prices AI models."""
    async with shop.sql.transaction() as conn:
        with pytest.raises(Rejected):
            await store.create_organization(conn, "Nowhere", "sandbox", NOW, currency="xyz")
        japanese = await store.create_organization(conn, "Japanese", "sandbox", NOW, currency="jpy")
        await store.create_key(conn, japanese, name="jp", now_ms=NOW, secret="ck_sandbox_jp")
    async with shop.gateway(key="ck_sandbox_jp") as there:
        await there.call("POST", "/features", {"name": "AI", "code": "ai", "type": "metered", "unitName": "token"})
        chat = {"name": "Chat", "code": "chat", "consumptionModel": "balance"}
        await there.call("POST", "/plans", chat)
        model = {"featureId": "ai", "pricingMode": "ai_model", "margin": 2000}
        refused = {"status": 400, "code": "validation_error", "field": "pricingMode"}
        await there.refused("POST", "/plans/chat/features", model, **refused)
        extra = {"name": "X", "slug": "x", "basePrice": 1, "consumptionModel": "balance", **model}
        await there.refused("POST", "/addons", extra, **refused)


async def test_a_pack_is_for_credits_plans_alone(api):
    """R-PACK-1."""
    await api.pro()
    body = {"name": "X", "credits": 1, "price": 1, "planIds": ["pro"]}
    await api.refused("POST", "/credit-packs", body, status=400, code="validation_error", field="planIds")
    await api.refused("POST", "/credit-packs", body | {"planIds": ["nope"]}, status=404, code="plan_not_found")


async def test_a_promo_code_is_made_limited_and_switched_off(shop, api):
    """R-DISC-8, R-DISC-12."""
    plan, _ = await api.pro()
    body = {"code": "launch", "discountType": "percentage", "discountValue": 5000, "planIds": ["pro"]}
    made = await api.call("POST", "/promo-codes", body | {"maxRedemptions": 10, "expiresAt": "2026-03-31"})
    assert (made["code"], made["discountValue"], made["durationCycles"], made["duration"]) == (
        "LAUNCH",
        5000,
        1,
        "once",
    )
    assert made["expiresAt"] == "2026-03-31T23:59:59.999Z"
    assert (made["isActive"], made["active"], made["redemptionCount"]) == (True, True, 0)
    assert made["planIds"] == [plan["id"]]
    await api.refused("POST", "/promo-codes", body | {"code": "Launch"}, status=409, code="duplicate")
    assert await api.call("GET", "/promo-codes/lAuNcH") == await api.call("GET", f"/promo-codes/{made['id']}") == made
    off = await api.call("PATCH", "/promo-codes/LAUNCH", {"active": False, "maxRedemptions": None, "expiresAt": None})
    assert (off["isActive"], off["maxRedemptions"], off["expiresAt"]) == (False, None, None)
    assert (await api.call("PUT", "/promo-codes/LAUNCH", {"isActive": True, "planIds": None}))["planIds"] is None
    shop.clock.advance(1)
    fixed = await api.call(
        "POST", "/promo-codes", {"code": "TEN", "discountType": "amount", "discountValue": 1000, "durationCycles": None}
    )
    assert (fixed["discountType"], fixed["discountValue"], fixed["duration"]) == ("amount", 1000, "forever")
    page = await api.call("GET", "/promo-codes?limit=1")
    assert [one["code"] for one in page["data"]] == ["TEN"], "the newest first"
    rest = await api.call("GET", f"/promo-codes?limit=1&cursor={page['nextCursor']}")
    assert ([one["code"] for one in rest["data"]], rest["hasMore"]) == (["LAUNCH"], False)
    for wrong, field in (
        ({"discountValue": 10_001}, "discountValue"),
        ({"discountType": "free"}, "discountType"),
        ({"code": "a b"}, "code"),
        ({"expiresAt": "never"}, "expiresAt"),
        ({"maxRedemptions": 0}, "maxRedemptions"),
    ):
        await api.refused(
            "POST", "/promo-codes", body | {"code": "Z"} | wrong, status=400, code="validation_error", field=field
        )


async def redeemers(shop, count):
    """Make customers, and return their ids."""
    made = []
    async with shop.sql.transaction() as conn:
        for number in range(count):
            customer = Customer(
                id=ids.new_bytes(NOW),
                organization=shop.organization.id,
                external_id=f"user_{number}",
                email="a@example.com",
                created_ms=NOW,
                updated_ms=NOW,
            )
            await store.create_customer(conn, customer)
            made.append(customer.id)
    return made


async def code_with(api, shop, slots):
    await api.call(
        "POST",
        "/promo-codes",
        {"code": "LAST", "discountType": "percentage", "discountValue": 2000, "maxRedemptions": slots},
    )
    async with shop.sql.snapshot() as conn:
        return await store.load_promo(conn, shop.organization.id, "last")


async def redeemed(shop, promo: PromoCode, customer, now_ms=NOW):
    """Redeem in a transaction of its own; returns the refusal's code, None for a winner."""
    try:
        async with shop.sql.transaction() as conn:
            await store.redeem(conn, promo, customer, now_ms)
    except Rejected as error:
        return error.refusal.code
    return None


async def test_of_64_redeemers_of_the_last_slot_one_wins(api, shop):
    """R-DISC-12: on SQLite and on PostgreSQL."""
    promo = await code_with(api, shop, 3)
    first, second, *rest = await redeemers(shop, REDEEMERS + 2)
    assert [await redeemed(shop, promo, customer) for customer in (first, second)] == [None, None]
    said = await asyncio.gather(*(redeemed(shop, promo, customer) for customer in rest))
    assert len(said) == REDEEMERS
    assert said.count(None) == 1
    assert said.count("offer_not_applicable") == REDEEMERS - 1
    assert (await api.call("GET", "/promo-codes/last"))["redemptionCount"] == 3


async def test_a_customer_redeems_a_code_once(api, shop):
    """R-DISC-8: at the same time or later."""
    promo = await code_with(api, shop, None)
    (customer,) = await redeemers(shop, 1)
    said = await asyncio.gather(*(redeemed(shop, promo, customer) for _ in range(16)))
    assert said.count(None) == 1
    assert await redeemed(shop, promo, customer) == "offer_not_applicable"
    assert (await api.call("GET", "/promo-codes/last"))["redemptionCount"] == 1
    async with shop.sql.snapshot() as conn:
        assert await store.has_redeemed(conn, promo, customer)


async def test_an_inactive_code_is_not_redeemed(api, shop):
    """R-DISC-8."""
    promo = await code_with(api, shop, 5)
    (customer,) = await redeemers(shop, 1)
    await api.call("PATCH", "/promo-codes/last", {"active": False})
    assert await redeemed(shop, promo, customer) == "offer_not_applicable"
    await api.call("PATCH", "/promo-codes/last", {"active": True})
    assert await redeemed(shop, promo, customer) is None


async def test_a_code_is_redeemed_through_its_last_day(api, shop):
    """R-DISC-12: whenever the checkout was opened."""
    promo = await code_with(api, shop, 5)
    first, second = await redeemers(shop, 2)
    await api.call("PATCH", "/promo-codes/last", {"expiresAt": instant_text(NOW)})
    over_ms = (NOW // DAY_MS + 1) * DAY_MS
    assert await redeemed(shop, promo, first, over_ms - 1) is None
    assert await redeemed(shop, promo, second, over_ms) == "promo_code_expired"
    await api.call("PATCH", "/promo-codes/last", {"expiresAt": None})
    assert await redeemed(shop, promo, second, over_ms) is None


async def test_a_group_orders_its_plans(api):
    """R-GROUP-1, R-GROUP-2."""
    plans = [await api.call("POST", "/plans", {"name": code, "code": code}) for code in ("free", "starter", "pro")]
    group = await api.call("POST", "/plan-groups", {"name": "Main"})
    for code in ("pro", "free"):
        assert (await api.call("POST", f"/plan-groups/{group['id']}/plans", {"planId": code}))["success"] is True
    await api.call("POST", f"/plan-groups/{group['id']}/plans", {"planId": plans[1]["id"], "sortOrder": 1})

    async def order():
        return [one["code"] for one in (await api.call("GET", f"/plan-groups/{group['id']}"))["plans"]]

    assert await order() == ["pro", "starter", "free"]
    wanted = {"planIds": ["free", "starter", "pro"]}
    assert (await api.call("PUT", f"/plan-groups/{group['id']}/plans/reorder", wanted))["reordered"] is True
    assert await order() == ["free", "starter", "pro"]
    assert (await api.call("GET", "/plans/pro"))["planGroupId"] == group["id"]
    top = await api.call("POST", "/plans", {"name": "Top", "code": "top", "planGroupId": group["id"]})
    assert top["planGroupId"] == group["id"]
    assert await order() == ["free", "starter", "pro", "top"]
    await api.call("DELETE", "/plans/top")
    other = await api.call("POST", "/plan-groups", {"name": "Other"})
    await api.refused("POST", f"/plan-groups/{other['id']}/plans", {"planId": "pro"}, status=409, code="duplicate")
    assert (await api.call("DELETE", f"/plan-groups/{group['id']}/plans/starter"))["removed"] is True
    await api.refused("DELETE", f"/plan-groups/{group['id']}/plans/starter", status=404, code="plan_not_found")
    await api.call("DELETE", "/plans/free")
    assert await order() == ["pro"]
    assert (await api.call("PATCH", f"/plan-groups/{group['id']}", {"name": "New"}))["name"] == "New"
    assert (await api.call("DELETE", f"/plan-groups/{group['id']}"))["deleted"] is True
    await api.refused("GET", f"/plan-groups/{group['id']}", status=404, code="plan_group_not_found")
    assert (await api.call("GET", "/plans/pro"))["planGroupId"] is None
    assert [one["name"] for one in (await api.call("GET", "/plan-groups"))["data"]] == ["Other"]


async def test_grouped_plans_have_no_regional_prices_and_the_other_way(api):
    """R-GROUP-2."""
    plan, _ = await api.pro()
    group = await api.call("POST", "/plan-groups", {"name": "Main"})
    await api.call("POST", f"/plan-groups/{group['id']}/plans", {"planId": "pro"})
    region = {"currency": "brl", "exchangeRate": 5.0}
    await api.refused("PUT", "/plans/pro/regional", region, status=400, code="validation_error", field="planId")
    await api.call("DELETE", f"/plan-groups/{group['id']}/plans/pro")
    await api.call("PUT", f"/plans/{plan['id']}/regional", region)
    await api.refused(
        "POST",
        f"/plan-groups/{group['id']}/plans",
        {"planId": "pro"},
        status=400,
        code="validation_error",
        field="planId",
    )


def in_currency(shown, currency="brl"):
    (one,) = [price for price in shown["regionalPrices"] if price["currency"] == currency]
    return one


async def test_regional_prices_follow_the_rate_unless_set_by_hand(api):
    """R-REG-2, R-REG-3."""
    await api.pro(enabled=True, unitPriceDecimal="0.01")
    region = {"currency": "BRL", "exchangeRate": 5.123}
    done = await api.call("PUT", "/plans/pro/regional", region)
    assert (done["currency"], done["exchangeRate"], done["pricesConfigured"], done["featuresConfigured"]) == (
        *("brl", 5.123),
        *(1, 1),
    )
    plan = await api.call("GET", "/plans/pro")
    assert plan["exchangeRates"] == [{"currency": "brl", "exchangeRate": 5.123}]
    monthly = in_currency(plan["prices"][0])
    assert (monthly["price"], monthly["autoSynced"]) == (50_718, True)  # 99.00 x 5.123 = 507.177
    calls = in_currency(plan["features"][0])
    assert (calls["unitPriceDecimal"], calls["overageUnitPrice"], calls["autoSynced"]) == ("0.05123", 512, True)
    price_id = plan["prices"][0]["id"]
    by_hand = {
        "prices": [{"priceId": price_id, "price": 49_900}],
        "features": [{"featureId": "api_calls", "unitPriceDecimal": "0.04"}],
    }
    await api.call("PUT", "/plans/pro/regional", region | by_hand)
    await api.call("PUT", "/plans/pro/regional", region | {"exchangeRate": 6})
    await api.call("PATCH", f"/plans/pro/prices/{price_id}", {"price": 10_000})
    plan = await api.call("GET", "/plans/pro")
    assert (in_currency(plan["prices"][0])["price"], in_currency(plan["prices"][0])["autoSynced"]) == (49_900, False)
    assert in_currency(plan["features"][0])["unitPriceDecimal"] == "0.04"
    synced = {
        "prices": [{"priceId": price_id, "synced": True}],
        "features": [{"featureId": "api_calls", "synced": True}],
    }
    await api.call("PUT", "/plans/pro/regional", region | {"exchangeRate": "6"} | synced)
    plan = await api.call("GET", "/plans/pro")
    assert in_currency(plan["prices"][0])["price"] == 60_000
    assert in_currency(plan["features"][0])["unitPriceDecimal"] == "0.06"
    assert (await api.call("DELETE", "/plans/pro/regional/brl"))["deleted"] is True
    plan = await api.call("GET", "/plans/pro")
    assert (plan["exchangeRates"], plan["prices"][0]["regionalPrices"]) == ([], [])
    for wrong, field in (({"exchangeRate": 0}, "exchangeRate"), ({"currency": "chf"}, "currency")):
        await api.refused(
            "PUT", "/plans/pro/regional", region | wrong, status=400, code="validation_error", field=field
        )


async def test_a_price_is_overridden_in_some_currencies(api):
    """R-REG-3, R-REG-5."""
    plan, _ = await api.pro()
    price_id = (await api.call("GET", "/plans/pro"))["prices"][0]["id"]
    path = f"/plans/{plan['id']}/prices/{price_id}/regional"
    body = {"overrides": [{"currency": "JPY", "price": 14_800}, {"currency": "eur", "price": 8900}]}
    done = await api.call("PUT", path, body)
    assert (done["priceId"], [one["currency"] for one in done["overrides"]]) == (price_id, ["jpy", "eur"])
    shown = (await api.call("GET", "/plans/pro"))["prices"][0]
    assert {one["currency"]: one["price"] for one in shown["regionalPrices"]} == {"jpy": 14_800, "eur": 8900}
    await api.call("PUT", path, {"overrides": [{"currency": "jpy", "price": 15_000}]})
    shown = (await api.call("GET", "/plans/pro"))["prices"][0]
    assert {one["currency"]: one["price"] for one in shown["regionalPrices"]} == {"jpy": 15_000}
    assert (await api.call("DELETE", path))["deleted"] is True
    assert (await api.call("GET", "/plans/pro"))["prices"][0]["regionalPrices"] == []
    nowhere = f"/plans/{plan['id']}/prices/pp_none/regional"
    await api.refused("PUT", nowhere, body, status=404, code="price_not_found")


async def test_a_currency_has_an_intro_offer_of_its_own(api):
    """DOC-REG-02, R-DISC-14."""
    await api.pro()
    price_id = (await api.call("GET", "/plans/pro"))["prices"][0]["id"]
    offer = {"priceId": price_id, "discountType": "percentage", "discountValue": 4000, "durationCycles": 3}
    await api.call("PUT", "/plans/pro/regional", {"currency": "brl", "exchangeRate": 5, "introOffers": [offer]})
    shown = in_currency((await api.call("GET", "/plans/pro"))["prices"][0])["introOffer"]
    assert (shown["discountType"], shown["discountValue"], shown["durationCycles"]) == ("percentage", 4000, 3)


@pytest.mark.parametrize(
    ("resource", "method", "path"),
    [
        ("addon", "GET", "/addons"),
        ("credit_pack", "GET", "/credit-packs"),
        ("promo_code", "GET", "/promo-codes"),
        ("plan_group", "GET", "/plan-groups"),
        ("plan", "GET", "/ai-models"),
    ],
)
async def test_a_key_reads_what_it_is_given_alone(shop, api, resource, method, path):
    for permissions, status in (({resource: ["read"]}, 200), ({"customer": ["read"]}, 403)):
        made = await api.call("POST", "/api-keys", {"name": "some", "permissions": permissions})
        async with shop.gateway(key=made["apiKey"]) as restricted:
            await restricted.call(method, path, status=status)


async def test_one_organization_does_not_see_anothers_offers(shop, api):
    """R-GEN-7."""
    await feature(api)
    addon = {"name": "SSO", "basePrice": 1, "featureId": "sso", "consumptionModel": "boolean"}
    made = {
        "/addons": await api.call("POST", "/addons", addon),
        "/promo-codes": await api.call(
            "POST", "/promo-codes", {"code": "A", "discountType": "amount", "discountValue": 1}
        ),
        "/plan-groups": await api.call("POST", "/plan-groups", {"name": "G"}),
    }
    await api.call("PUT", "/ai-models/own-model", {"inputPrice": 1, "outputPrice": 1})
    async with shop.sql.transaction() as conn:
        other = await store.create_organization(conn, "Other", "sandbox", NOW)
        await store.create_key(conn, other, name="other", now_ms=NOW, secret="ck_sandbox_other")
    async with shop.gateway(key="ck_sandbox_other") as stranger:
        for path, one in made.items():
            assert (await stranger.call("GET", path))["data"] == []
            await stranger.call("GET", f"{path}/{one['id']}", status=404)
        await stranger.call("GET", "/ai-models/own-model", status=404)
        assert (await stranger.call("GET", "/ai-models"))["data"] == []


async def applied(shop, api, text, **how):
    changes = await apply(api.catalog, shop.organization.id, parse_document(text, "toml"), **how)
    return [str(change) for change in changes]


async def test_an_addon_of_a_catalog_file_is_in_the_organizations_currency(shop):
    """R-ADDON-14: yen have no places, in a file as in the API; they are not hundreds of what is written."""
    async with shop.sql.transaction() as conn:
        tokyo = await store.create_organization(conn, "Tokyo", "sandbox", NOW, currency="jpy")
        await store.create_key(conn, tokyo, name="tokyo", now_ms=NOW, secret="ck_sandbox_tokyo")
    feature_part = '[[feature]]\ncode = "sso"\nname = "SSO"\ntype = "boolean"\n'
    addon_part = '[[addon]]\nslug = "sso"\nname = "SSO"\nfeature = "sso"\nprice = "500"\nprices = { yearly = "5000" }\n'
    document = parse_document(feature_part + addon_part, "toml")
    async with shop.gateway(key="ck_sandbox_tokyo") as there:
        await apply(there.catalog, tokyo.id, document)
        (made,) = (await there.call("GET", "/addons"))["data"]
        assert (made["basePrice"], made["intervalPrices"]) == (500, {"yearly": 5000})
        written = await export(there.catalog, tokyo.id)
        assert (written.addon, await apply(there.catalog, tokyo.id, written)) == (document.addon, [])
        for was, becomes in (('"500"', '"500.5"'), ('"5000"', '"5000.5"')):
            finer = parse_document((feature_part + addon_part).replace(was, becomes), "toml")
            with pytest.raises(Rejected) as refused:
                await apply(there.catalog, tokyo.id, finer)
            assert refused.value.refusal.param == "addon.sso.price"


async def test_a_catalog_file_brings_offers_and_takes_them_back(shop, api):
    """R-REG-3, R-GROUP-1."""
    first = await applied(shop, api, EXAMPLE)
    assert {"create addon sso-access", "create region world/brl", "create plan_group Main"} <= set(first)
    assert await applied(shop, api, EXAMPLE) == []
    assert await export(api.catalog, shop.organization.id) == parse_document(
        render_document(await export(api.catalog, shop.organization.id), "toml"), "toml"
    )
    world = await api.call("GET", "/plans/world")
    assert (in_currency(world["prices"][0])["price"], in_currency(world["prices"][0], "jpy")["price"]) == (19_990, 7350)
    assert in_currency(world["features"][0])["unitPriceDecimal"] == "0.04"
    assert in_currency(world["features"][0], "jpy")["unitPriceDecimal"] == "1.5"
    assert in_currency(world["prices"][0])["introOffer"]["discountValue"] == 4000
    (pack,) = (await api.call("GET", "/credit-packs"))["data"]
    assert pack["planIds"] == [(await api.call("GET", "/plans/studio"))["id"]]
    code = await api.call("GET", "/promo-codes/launch20")
    assert (code["durationCycles"], code["expiresAt"]) == (3, "2027-12-31T23:59:59.999Z")
    group = (await api.call("GET", "/plan-groups"))["data"][0]["id"]
    shown = await api.call("GET", f"/plan-groups/{group}")
    assert [plan["code"] for plan in shown["plans"]] == ["free", "starter"]
    other = EXAMPLE.replace('plans = ["free", "starter"]', 'plans = ["starter", "free"]').replace('"50.00"', '"60.00"')
    assert await applied(shop, api, other.replace('rate = "5.10"', 'rate = "6"').replace("max_redemptions", "#")) == [
        "update region world/brl (rate: 5.1 -> 6)",
        "update addon sso-access (price: 50.00 -> 60.00)",
        "update promo_code LAUNCH20 (max_redemptions: 100 -> nothing)",
        "update plan_group Main (plans: free starter -> starter free)",
    ]
    assert (await api.call("GET", "/addons/sso-access"))["basePrice"] == 6000
    bare = EXAMPLE[: EXAMPLE.index("[[addon]]")].replace('"5.10"', "6").replace("[plan.regional.jpy]\nrate = 150\n", "")
    assert await applied(shop, api, bare, prune=True) == [
        "remove region world/jpy",
        "remove plan_group Main",
        "remove credit_pack Starter Pack",
        "remove addon more-exports",
        "remove addon sso-access",
    ]
    assert (await api.call("GET", "/addons"))["data"] == []


async def test_a_file_cannot_price_a_grouped_plan_in_other_currencies(shop, api):
    """R-GROUP-2."""
    await applied(shop, api, EXAMPLE)
    priced = EXAMPLE[: EXAMPLE.index("[[addon]]")].replace("plan.regional.jpy", "plan.regional.cad")
    grouped = priced.replace('features.api_calls = { included = 10_000, overage = "0.002" }', "regional.brl.rate = 5")
    with pytest.raises(Rejected, match="starter is in a plan group"):
        await applied(shop, api, grouped)
    assert (await api.call("GET", "/plans/starter"))["exchangeRates"] == []
