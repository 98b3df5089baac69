"""Plans of the three models from outside: what the catalog takes, shows in every era, and refuses."""

from decimal import Decimal

import pytest

from catalog import store
from catalog.definition import DiscountType, IntroOffer
from catalog.document import parse_document, render_document
from catalog.gateway.document import apply, export
from catalog.terms import ConsumptionModel
from kernel.errors import Rejected

MODELS = tuple(ConsumptionModel)
OLD = {"commet_version": "2026-05-01"}


async def in_use(conn, plan_id):
    return True


async def stored(shop, code):
    async with shop.sql.snapshot() as conn:
        return await store.load_plan(conn, shop.organization.id, code)


async def test_a_feature_is_defined_once_and_put_in_many_plans(api):
    """R-FEAT-1, R-FEAT-5: of every type, with settings of its own in each plan."""
    for code, kind in (("sso", "boolean"), ("calls", "metered"), ("member", "seats")):
        await api.feature(code, kind)
    for plan, amount in (("small", 1), ("large", 9)):
        await api.plan(plan)
        await api.grant(plan, "sso")
        await api.grant(plan, "calls", includedAmount=amount)
        await api.grant(plan, "member", includedAmount=amount, overage={"unitPriceDecimal": "25.00"})
        shown = {one["code"]: one for one in (await api.call("GET", f"/plans/{plan}"))["features"]}
        assert {code: (one["type"], one["includedAmount"]) for code, one in shown.items()} == {
            "sso": ("boolean", None),
            "calls": ("usage", amount),
            "member": ("seats", amount),
        }
        assert shown["member"]["overage"] == {
            "enabled": True,
            "model": "per_unit",
            "unitPrice": 250_000,
            "unitPriceDecimal": "25",
        }


async def test_names_codes_event_codes_and_units(api):
    """R-FEAT-2, R-FEAT-3, R-FEAT-4: codes are plain and unique; what a metered feature does not say is filled in."""
    made = await api.feature("calls", eventCode="call_made")
    assert (made["eventCode"], made["unitName"], made["seatType"]) == ("call_made", "unit", None)
    assert (await api.feature("storage", unitName="GB"))["eventCode"] == "storage"
    await api.invalid("POST", "/features", {"name": "x", "code": "API-Calls", "type": "metered"}, "code")
    await api.invalid("POST", "/features", {"name": "x", "code": "x", "type": "metered", "eventCode": "X"}, "eventCode")
    await api.invalid("POST", "/features", {"name": " ", "code": "x", "type": "metered"}, "name")
    taken = {"name": "x", "code": "x", "type": "metered", "eventCode": "call_made"}
    await api.refused("POST", "/features", taken, status=409, code="feature_already_exists")


async def test_seat_types_come_before_and_go_after_their_features(api):
    """R-FEAT-6, R-FEAT-8: a feature names one that exists, else gets its own."""
    editor = await api.call("POST", "/seat-types", {"name": "Editor", "code": "editor"})
    assert (editor["object"], editor["code"]) == ("seat_type", "editor")
    assert (await api.feature("writers", "seats", seatType="editor"))["seatType"] == "editor"
    assert (await api.feature("viewer", "seats"))["seatType"] == "viewer"
    assert {one["code"] for one in (await api.call("GET", "/seat-types"))["data"]} == {"editor", "viewer"}
    unknown = {"name": "x", "code": "x", "type": "seats", "seatType": "nobody"}
    await api.refused("POST", "/features", unknown, status=404, code="seat_type_not_found")
    again = {"name": "x", "code": "editor"}
    await api.refused("POST", "/seat-types", again, status=409, code="duplicate")
    assert (await api.call("PATCH", "/seat-types/editor", {"name": "Author"}))["name"] == "Author"
    await api.invalid("PATCH", "/seat-types/editor", {"name": " "}, "name")
    await api.refused("DELETE", "/seat-types/editor", status=409, code="seat_type_in_use")
    await api.call("DELETE", "/features/writers")
    assert (await api.call("DELETE", f"/seat-types/{editor['id']}"))["deleted"] is True
    await api.refused("GET", "/seat-types/editor", status=404, code="seat_type_not_found")
    await api.call("POST", "/seat-types", again)


async def test_a_feature_goes_when_no_plan_has_it(api):
    """R-FEAT-6: removed from all plans first; then its code is free."""
    await api.feature("calls")
    for plan in ("one", "two"):
        await api.plan(plan)
        await api.grant(plan, "calls")
    for plan in ("one", "two"):
        await api.refused("DELETE", "/features/calls", status=409, code="feature_in_use")
        await api.call("DELETE", f"/plans/{plan}/features/calls")
    await api.call("DELETE", "/features/calls")
    await api.feature("calls")


async def test_only_texts_of_a_feature_change(api):
    """R-FEAT-7."""
    before = await api.feature("calls", eventCode="call")
    wanted = {"name": "API calls", "unitName": "call", "description": "All of them", "code": "x", "eventCode": "y"}
    after = await api.call("PATCH", "/features/calls", {**wanted, "type": "boolean"})
    texts = {"name": "API calls", "unitName": "call", "description": "All of them"}
    assert after == {**before, **texts}


async def test_a_plan_says_everything_about_itself(api):
    """R-PLAN-1, R-PLAN-3: each interval has its own price, trial and intro offer."""
    await api.plan("pro", description="For teams")
    await api.price("pro", 2000)
    offer = {"discountType": "percentage", "discountValue": 5000, "durationCycles": 3}
    await api.price("pro", 5400, "quarterly", trialDays=14)
    await api.price("pro", 19_200, "yearly", trialDays=30, introOffer=offer)
    shown = await api.call("GET", "/plans/pro")
    assert (shown["description"], shown["consumptionModel"], shown["isPublic"]) == ("For teams", "metered", True)
    assert {
        (price["billingInterval"], price["price"], price["trialDays"], price["introOffer"] is not None)
        for price in shown["prices"]
    } == {("monthly", 2000, 0, False), ("quarterly", 5400, 14, False), ("yearly", 19_200, 30, True)}


@pytest.mark.parametrize("version", ["2026-05-01", "2026-06-10", "2026-08-27"])
async def test_every_era_reads_what_was_said(api, version):
    """R-PLAN-1, R-DISC-2: in each dialect, integers at their scale and decimals beside them."""
    dialect = {"commet_version": version}
    await api.plan("tokens", "balance", includedBalanceDecimal="12.345")
    offer = {"enabled": True, "discountType": "amount", "discountValue": 500, "durationCycles": 2}
    await api.price("tokens", 2000, includedBalance=1550, introOffer=offer)
    await api.feature("ai")
    await api.grant("tokens", "ai", pricingMode="ai_model", marginPercent="12.345")
    answer = await api.call("GET", "/plans/tokens", **dialect)
    plan = answer.get("data", answer)
    assert (plan["consumptionModel"], plan["blockOnExhaustion"]) == ("balance", False)
    assert (plan["includedBalance"], plan["includedBalanceDecimal"]) == (1235, "12.345")
    price, granted = plan["prices"][0], plan["features"][0]
    assert (price["includedBalance"], price["includedBalanceDecimal"], price["includedCredits"]) == (1550, "15.5", None)
    assert price["introOffer"] == {**offer, "discountValueDecimal": "5"}
    flat = [price[f"introOffer{name}"] for name in ("Enabled", "DiscountType", "DiscountValue", "DurationCycles")]
    assert flat == [True, "amount", 500, 2]
    assert (granted["pricingMode"], granted["margin"], granted["marginPercent"]) == ("ai_model", 1235, "12.345")


async def test_a_plan_has_exactly_one_model(api):
    """R-PLAN-2."""
    assert (await api.call("POST", "/plans", {"name": "x", "code": "x"}))["consumptionModel"] == "metered"
    for model in MODELS:
        assert (await api.plan(f"p_{model}", model))["consumptionModel"] == model
    await api.invalid("POST", "/plans", {"name": "x", "code": "y", "consumptionModel": "hybrid"}, "consumptionModel")


async def test_a_model_changes_until_somebody_is_subscribed(api):
    """R-PLAN-2: and only to one that prices and features fit."""
    await api.plan("pro", "credits", includedCredits=100)
    await api.price("pro", 100, includedCredits=500)
    await api.feature("calls")
    await api.grant("pro", "calls", creditsPerUnit=10)
    wanted = {"consumptionModel": "balance"}
    await api.invalid("PATCH", "/plans/pro", wanted, "consumptionModel")
    price = (await api.call("GET", "/plans/pro"))["prices"][0]
    await api.call("PATCH", f"/plans/pro/prices/{price['id']}", {"includedCredits": None})
    await api.invalid("PATCH", "/plans/pro", wanted, "creditsPerUnit")
    await api.call("PATCH", "/plans/pro/features/calls", {"creditsPerUnit": None})
    changed = await api.call("PATCH", "/plans/pro", wanted)
    assert (changed["consumptionModel"], changed["includedBalance"]) == ("balance", None)
    api.catalog.plan_in_use = in_use
    await api.invalid("PATCH", "/plans/pro", {"consumptionModel": "credits"}, "consumptionModel")
    await api.call("PATCH", "/plans/pro", {"consumptionModel": "balance", "name": "Same"})


async def test_what_does_not_fit_the_model_is_refused_by_field(api):
    """R-PLAN-2, R-FEAT-5, R-AI-1: what belongs to another model is refused, and 0 is said."""
    for code, kind in (("calls", "metered"), ("sso", "boolean"), ("member", "seats")):
        await api.feature(code, kind)
    for model in MODELS:
        await api.plan(model, model)
    credit, rate, model_price = {"creditsPerUnit": 1}, {"unitPrice": 1}, {"pricingMode": "ai_model", "margin": 2000}
    over, all_of_it = {"overage": {"enabled": True}}, {"unlimited": True}
    for plan, feature, members, field in [
        ("metered", "calls", credit, "creditsPerUnit"),
        ("metered", "calls", model_price, "pricingMode"),
        ("metered", "calls", {"margin": 1}, "margin"),
        ("credits", "calls", {}, "creditsPerUnit"),
        ("credits", "calls", {**credit, **rate}, "overage.unitPrice"),
        ("credits", "calls", {**credit, **over}, "overage"),
        ("credits", "calls", {**credit, **all_of_it}, "unlimited"),
        ("credits", "calls", {**credit, "includedAmount": 1}, "includedAmount"),
        ("credits", "calls", {**credit, **model_price}, "pricingMode"),
        ("balance", "calls", {}, "unitPrice"),
        ("balance", "calls", {**rate, **over}, "overage"),
        ("balance", "calls", {**rate, **credit}, "creditsPerUnit"),
        ("balance", "calls", {**rate, **model_price}, "overage.unitPrice"),
        ("balance", "calls", {**model_price, "margin": -1}, "margin"),
        ("balance", "calls", {**model_price, "marginPercent": "20%"}, "marginPercent"),
        ("balance", "sso", model_price, "includedAmount"),
        ("balance", "member", model_price, "pricingMode"),
        ("credits", "member", credit, "creditsPerUnit"),
        ("metered", "member", {"includedAmount": Decimal("0.5")}, "includedAmount"),
    ]:
        await api.invalid("POST", f"/plans/{plan}/features", {"featureId": feature, **members}, field)
        assert (await api.call("GET", f"/plans/{plan}"))["features"] == []
    assert (await api.grant("credits", "calls", creditsPerUnit=0))["creditsPerUnit"] == 0
    assert (await api.grant("balance", "calls", unitPrice=0))["unitPriceDecimal"] == "0"


async def test_credits_and_prices_travel_exactly(api, shop):
    """R-CREDIT-1, R-GEN-3, R-GEN-1: the decimal wins over the integer beside it and is kept to its last digit."""
    await api.feature("calls")
    await api.feature("tokens")
    await api.plan("credits", "credits", includedCredits=Decimal("1000.5"))
    made = await api.grant("credits", "calls", creditsPerUnitDecimal="2.5", creditsPerUnit=7)
    assert (made["creditsPerUnit"], made["creditsPerUnitDecimal"]) == (3, "2.5")
    await api.plan("balance", "balance", blockOnExhaustion=True, includedBalanceDecimal="0.000000001")
    made = await api.grant("balance", "tokens", unitPriceDecimal="0.0000025", unitPrice=7)
    assert (made["unitPrice"], made["unitPriceDecimal"], made["overage"]["unitPriceDecimal"]) == (
        0,
        "0.0000025",
        "0.0000025",
    )
    units, balance = await stored(shop, "credits"), await stored(shop, "balance")
    assert (units.included, units.features[0].credits) == (Decimal("1000.5"), "2.5")
    assert (balance.included, balance.features[0].unit_price) == (Decimal("0.000000001"), "0.0000025")
    terms = units.feature_terms()[0], balance.feature_terms()[0]
    assert (terms[0].credits, terms[1].unit_price) == ("2.5", "0.0000025")


async def test_the_pool_is_of_its_model(api):
    """R-PLAN-2, R-BAL-1: credits on credits plans, money on balance plans, nothing on metered ones."""
    for model in MODELS:
        await api.plan(model, model)
    pools = {"includedCredits": 10, "includedBalance": 10, "includedBalanceDecimal": "0.1"}
    fits = {"includedCredits": "credits", "includedBalance": "balance", "includedBalanceDecimal": "balance"}
    for model in MODELS:
        for field, amount in pools.items():
            if fits[field] == model:
                continue
            body = {"billingInterval": "monthly", "price": 1, field: amount}
            await api.invalid("POST", f"/plans/{model}/prices", body, field)
            await api.invalid("PATCH", f"/plans/{model}", {field: amount}, field)
    for field, wrong in (("includedBalance", -1), ("includedBalanceDecimal", "-1"), ("includedBalance", 10**18)):
        await api.invalid("PATCH", "/plans/balance", {field: wrong}, field)
    await api.invalid("PATCH", "/plans/credits", {"includedCredits": Decimal("0.0000000001")}, "includedCredits")


async def test_a_base_price_becomes_the_balance_unless_another_is_said(api, shop):
    """R-BAL-1: the price's, else the plan's, else the undiscounted base price."""
    await api.plan("tokens", "balance")
    half = {"discountType": "percentage", "discountValue": 5000, "durationCycles": 1}
    price = await api.price("tokens", 2000, introOffer=half)
    assert (price["includedBalance"], price["includedBalanceDecimal"]) == (2000, "20")
    await api.call("PATCH", "/plans/tokens", {"includedBalanceDecimal": "25.5"})
    shown = await api.call("GET", "/plans/tokens")
    assert shown["prices"][0]["includedBalance"] == 2550
    path = f"/plans/tokens/prices/{price['id']}"
    assert (await api.call("PATCH", path, {"includedBalance": 0}))["includedBalance"] == 0
    plan = await stored(shop, "tokens")
    assert plan.pool_of(plan.prices[0]) == 0
    assert plan.pool_of(None) == Decimal("25.5")
    assert (await api.call("PATCH", path, {"includedBalance": None}))["includedBalance"] == 2550
    await api.call("PATCH", "/plans/tokens", {"includedBalance": None})
    assert (await api.call("PATCH", path, {"price": 3000}))["includedBalance"] == 3000


async def test_a_merchant_may_switch_overdraft_off(api, shop):
    """R-BAL-6: per plan, and back; credits always block, a metered plan has no pool."""
    assert (await api.plan("tokens", "balance"))["blockOnExhaustion"] is False
    assert (await stored(shop, "tokens")).overdraft is True
    assert (await api.call("PATCH", "/plans/tokens", {"blockOnExhaustion": True}))["blockOnExhaustion"] is True
    assert (await stored(shop, "tokens")).overdraft is False
    await api.call("PATCH", "/plans/tokens", {"name": "Tokens!"})
    assert (await stored(shop, "tokens")).overdraft is False
    assert (await api.call("PATCH", "/plans/tokens", {"blockOnExhaustion": False}))["blockOnExhaustion"] is False
    assert (await api.plan("pack", "credits"))["blockOnExhaustion"] is True
    assert (await api.plan("pro", "metered", blockOnExhaustion=False))["blockOnExhaustion"] is None
    await api.invalid("PATCH", "/plans/pack", {"blockOnExhaustion": False}, "blockOnExhaustion")
    await api.invalid("PATCH", "/plans/pro", {"blockOnExhaustion": True}, "blockOnExhaustion")


async def test_ai_pricing_is_a_mode_of_balance_plans(api):
    """R-AI-1: a margin on the model's price, in place of a unit price."""
    await api.feature("ai")
    await api.plan("tokens", "balance")
    made = await api.grant("tokens", "ai", pricingMode="ai_model", margin=2000)
    assert (made["pricingMode"], made["margin"], made["marginPercent"]) == ("ai_model", 2000, "20")
    path = "/plans/tokens/features/ai"
    assert (await api.call("PATCH", path, {"marginPercent": "0.5"}))["margin"] == 50
    await api.invalid("PATCH", path, {"pricingMode": "fixed"}, "unitPrice")
    fixed = await api.call("PATCH", path, {"pricingMode": "fixed", "unitPriceDecimal": "0.01"})
    assert (fixed["pricingMode"], fixed["margin"], fixed["unitPrice"]) == ("fixed", None, 100)
    again = await api.call("PATCH", path, {"pricingMode": "ai_model"})
    assert (again["marginPercent"], again["unitPriceDecimal"]) == ("0", "0")


async def test_a_free_plan_refuses_overage_trials_and_prices(api):
    """R-PLAN-6, R-FREE-3, R-TRIAL-1: of all models; its pool stands with the plan itself."""
    await api.feature("calls")
    await api.feature("member", "seats")
    pools = {"metered": {}, "credits": {"includedCredits": 100}, "balance": {"includedBalance": 500}}
    for model, pool in pools.items():
        made = await api.plan(model, model, isFree=True, **pool)
        assert (made["isFree"], made["includedCredits"], made["includedBalance"]) == (
            True,
            pool.get("includedCredits"),
            pool.get("includedBalance"),
        )
        prices, features = f"/plans/{model}/prices", f"/plans/{model}/features"
        await api.invalid("POST", prices, {"billingInterval": "monthly", "price": 0}, "billingInterval")
        await api.invalid("POST", prices, {"billingInterval": "monthly", "price": 0, "trialDays": 7}, "trialDays")
        await api.invalid("POST", features, {"featureId": "calls", "overage": {"enabled": True}}, "overage")
        await api.invalid("POST", features, {"featureId": "member", "overage": {"unitPrice": 1}}, "overage")
        assert (await api.call("GET", f"/plans/{model}"))["prices"] == []


async def test_overage_is_as_configured_on_a_paid_plan_and_never_on_a_free_one(api, shop):
    """R-MODEL-1: what the catalog decides of it."""
    await api.feature("calls")
    await api.plan("paid")
    await api.plan("free", isFree=True)
    await api.grant("paid", "calls", includedAmount=10)
    await api.grant("free", "calls", includedAmount=10)
    assert [(await stored(shop, code)).feature_terms()[0].overage for code in ("paid", "free")] == [False, False]
    await api.call("PATCH", "/plans/paid/features/calls", {"overage": {"enabled": True, "unitPrice": 10}})
    await api.invalid("PATCH", "/plans/free/features/calls", {"overage": {"enabled": True}}, "overage")
    assert [(await stored(shop, code)).feature_terms()[0].overage for code in ("paid", "free")] == [True, False]


async def test_each_seat_type_has_its_own_count_and_price(api, shop):
    """R-SEAT-15: two types share nothing, and one type is counted once a plan."""
    for code in ("member", "viewer"):
        await api.feature(code, "seats")
    await api.feature("guest", "seats", seatType="viewer")
    await api.plan("team")
    await api.grant("team", "member", includedAmount=3, overage={"unitPriceDecimal": "25"})
    await api.grant("team", "viewer", includedAmount=10)
    await api.invalid("POST", "/plans/team/features", {"featureId": "guest"}, "featureId")
    terms = (await stored(shop, "team")).feature_terms()
    assert {one.code: (one.included, one.overage, one.unit_price) for one in terms} == {
        "member": (3_000_000_000, True, "25"),
        "viewer": (10_000_000_000, False, "0"),
    }
    closed = await api.call("PATCH", "/plans/team/features/member", {"overage": {"enabled": False}})
    assert (closed["overage"]["enabled"], closed["overage"]["unitPriceDecimal"]) == (False, "25")


async def test_an_interval_has_one_price_and_that_one_offer(api, shop):
    """R-DISC-14, R-PLAN-3, R-DISC-10: a second price of an interval is refused, a second offer replaces the first."""
    await api.plan("pro")
    whole = {"discountType": "percentage", "discountValue": 10_000, "durationCycles": 1}
    price = await api.price("pro", 2000, introOffer=whole)
    again = {"billingInterval": "monthly", "price": 1, "introOffer": whole}
    await api.refused("POST", "/plans/pro/prices", again, status=409, code="duplicate")
    path = f"/plans/pro/prices/{price['id']}"
    other = {"discountType": "amount", "discountValueDecimal": "1.5", "durationCycles": 4}
    assert (await api.call("PATCH", path, {"introOffer": other}))["introOffer"]["discountValue"] == 150
    assert (await api.call("PATCH", path, {"price": 2500}))["introOffer"]["durationCycles"] == 4
    assert (await stored(shop, "pro")).prices[0].intro == IntroOffer(
        type=DiscountType.FIXED, value=Decimal("1.5"), cycles=4
    )
    assert (await api.call("PATCH", path, {"introOffer": {"enabled": False}}))["introOffer"] is None
    await api.call("PATCH", path, {"introOffer": whole})
    assert (await api.call("PATCH", path, {"introOffer": None}))["introOffer"] is None
    for wrong, field in [
        ({**whole, "discountType": "gift"}, "discountType"),
        ({**whole, "discountValue": 10_001}, "discountValue"),
        ({**whole, "discountValue": 0}, "discountValue"),
        ({**other, "discountValueDecimal": "0.001"}, "discountValueDecimal"),
        ({**whole, "durationCycles": 0}, "durationCycles"),
        ({"discountType": "amount", "discountValue": 1}, "durationCycles"),
    ]:
        await api.invalid("PATCH", path, {"introOffer": wrong}, f"introOffer.{field}")


async def test_prices_of_each_interval(api):
    """R-PLAN-3: monthly, quarterly and yearly are sold; other words are refused."""
    await api.plan("pro")
    for interval, price in (("monthly", 2000), ("quarterly", 5400), ("yearly", 20_000)):
        assert (await api.price("pro", price, interval))["billingInterval"] == interval
    for word in ("weekly", "semiannual", "one_time"):
        await api.invalid("POST", "/plans/pro/prices", {"billingInterval": word, "price": 1}, "billingInterval")
    await api.invalid(
        "POST", "/plans/pro/prices", {"billingInterval": "monthly", "price": 1, "trialDays": 731}, "trialDays"
    )


FILE = """
[[seat_type]]
code = "editor"
name = "Editor"
description = "Who writes"

[[feature]]
code = "ai"
name = "AI"
[[feature]]
code = "calls"
name = "Calls"
[[feature]]
code = "member"
name = "Member"
type = "seats"
[[feature]]
code = "writer"
name = "Writer"
type = "seats"
seat_type = "editor"

[[plan]]
code = "credits"
name = "Credits"
deprecated = true
model = "credits"
included = 1000
price = "10.00"
features.calls = { credits = "2.5" }

[[plan]]
code = "tokens"
name = "Tokens"
model = "balance"
included = "12.345"
overdraft = false
prices.monthly = { price = "20.00", trial_days = 7, intro = { type = "fixed", value = "5.50", cycles = 2 } }
prices.yearly = { price = "200.00", included = 25 }
features.ai = { margin = "12.5" }
features.calls = { unit_price = "0.0025" }
features.member = { included = 3, overage = "25.00" }
"""


async def test_a_file_holds_plans_of_all_models(api, shop):
    """R-PLAN-1, R-FEAT-5: applied, shown by the API, exported, and changed until somebody is subscribed."""
    organization, document = shop.organization.id, parse_document(FILE, "toml")
    await apply(api.catalog, organization, document)
    assert await apply(api.catalog, organization, document) == []
    assert await export(api.catalog, organization) == document
    assert parse_document(render_document(document, "yaml"), "yaml") == document
    tokens = await api.call("GET", "/plans/tokens")
    assert (tokens["consumptionModel"], tokens["blockOnExhaustion"]) == ("balance", True)
    prices = {price["billingInterval"]: price for price in tokens["prices"]}
    assert (prices["monthly"]["trialDays"], prices["monthly"]["introOffer"]["discountValue"]) == (7, 550)
    assert [prices[name]["includedBalanceDecimal"] for name in ("monthly", "yearly")] == ["12.345", "25"]
    assert (await api.call("GET", "/features/writer"))["seatType"] == "editor"
    other = FILE.replace('model = "credits"', 'model = "balance"').replace('credits = "2.5"', 'unit_price = "2.5"')
    api.catalog.plan_in_use = in_use
    with pytest.raises(Rejected, match="never changes"):
        await apply(api.catalog, organization, parse_document(other, "toml"))
    assert await export(api.catalog, organization) == document
    api.catalog.plan_in_use = None
    await apply(api.catalog, organization, parse_document(other, "toml"))
    assert (await api.call("GET", "/plans/credits"))["features"][0]["unitPriceDecimal"] == "2.5"


async def test_a_file_prunes_seat_types_too(api, shop):
    """R-FEAT-6: one that a feature of the file brings along stays."""
    organization = shop.organization.id
    await apply(api.catalog, organization, parse_document(FILE, "toml"))
    smaller = parse_document('[[feature]]\ncode = "member"\nname = "Member"\ntype = "seats"\n', "toml")
    changes = [str(change) for change in await apply(api.catalog, organization, smaller, prune=True)]
    assert changes[-1] == "remove seat_type editor"
    assert await export(api.catalog, organization) == smaller
    assert [one["code"] for one in (await api.call("GET", "/seat-types"))["data"]] == ["member"]
    assert await apply(api.catalog, organization, smaller, prune=True) == []


async def test_a_wrong_number_is_refused_by_its_own_member(api):
    """R-ERR-3: not by the member that says the same of something else."""
    calls, words = await api.feature("calls"), await api.feature("words")
    plan = await api.plan("pro")
    price = await api.price("pro", 100)
    addon = {"name": "More", "featureId": words["id"], "consumptionModel": "metered", "basePrice": 1}
    for member, wrong, field in (
        ("basePrice", -1, "basePrice"),
        ("intervalPrices", {"yearly": -1}, "intervalPrices.yearly"),
        ("includedUnits", -1, "includedUnits"),
        ("overageRate", -1, "overageRate"),
        ("overageRate", 10**30, "overageRate"),
        ("unitPriceDecimal", "-1", "unitPriceDecimal"),
        ("creditCost", -1, "creditCost"),
        ("creditCostDecimal", "x", "creditCostDecimal"),
    ):
        await api.invalid("POST", "/addons", {**addon, member: wrong}, field)
    await api.invalid("POST", "/credit-packs", {"name": "Pack", "price": 1, "credits": -1}, "credits")
    features = f"/plans/{plan['id']}/features"
    for members, field in (
        ({"unitPrice": -1}, "unitPrice"),
        ({"unitPriceDecimal": "-1"}, "unitPriceDecimal"),
        ({"overageUnitPrice": -1}, "overageUnitPrice"),
        ({"overage": {"unitPrice": -1}}, "overage.unitPrice"),
        ({"overage": {"unitPriceDecimal": "-1"}}, "overage.unitPriceDecimal"),
    ):
        await api.invalid("POST", features, {"featureId": calls["id"], **members}, field)
    await api.grant("pro", calls["id"])
    region, path = {"currency": "eur", "exchangeRate": 1}, "/plans/pro/regional"
    for part, members, field in (
        ("prices", {"price": -1}, "prices.price"),
        ("prices", {"includedBalance": -1}, "prices.includedBalance"),
    ):
        await api.invalid("PUT", path, {**region, part: [{"priceId": price["id"], **members}]}, field)
    for members, field in (
        ({"overageUnitPrice": -1}, "features.overageUnitPrice"),
        ({"unitPriceDecimal": "x"}, "features.unitPriceDecimal"),
    ):
        await api.invalid("PUT", path, {**region, "features": [{"featureId": calls["id"], **members}]}, field)
    overrides = {"overrides": [{"currency": "eur", "price": -1}]}
    await api.invalid("PUT", f"/plans/pro/prices/{price['id']}/regional", overrides, "overrides.price")


async def test_a_pool_of_nothing_can_be_set_by_hand_in_a_currency(api):
    """R-REG-3: 0 is a value, not the absence of one."""
    await api.plan("prepaid", "balance", includedBalance=5000)
    price = await api.price("prepaid", 1000)
    region = {"currency": "eur", "exchangeRate": Decimal("0.9")}
    for pool in (700, 0):
        by_hand = {**region, "prices": [{"priceId": price["id"], "price": 900, "includedBalance": pool}]}
        await api.call("PUT", "/plans/prepaid/regional", by_hand)
        [shown] = (await api.call("GET", "/plans/prepaid"))["prices"][0]["regionalPrices"]
        assert (shown["price"], shown["includedBalance"]) == (900, pool)
    await api.call("PUT", "/plans/prepaid/regional", {**region, "prices": [{"priceId": price["id"], "price": 800}]})
    [shown] = (await api.call("GET", "/plans/prepaid"))["prices"][0]["regionalPrices"]
    assert (shown["price"], shown["includedBalance"]) == (800, 0)
