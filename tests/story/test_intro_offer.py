"""Offers as objects of their own, and prices that name one."""

from decimal import Decimal

import pytest

from catalog.definition import DiscountType, IntroOffer
from tests.story.test_plans import stored

HALF = {"type": "percentage", "percentage": 5000, "durationCycles": 3}
FIVE = {"type": "amount_off", "durationCycles": 2, "amounts": [{"currency": "usd", "amount": 500}]}


async def offer(api, *phases, **members):
    return await api.call("POST", "/offers", {"name": "Launch", "phases": list(phases), **members})


async def test_an_offer_is_kept_as_it_was_said(api, shop):
    """R-DISC-2, R-DISC-5: percentages in basis points, amounts by currency, durations in billing periods."""
    phases = [
        {"type": "free_trial", "durationDays": 14},
        {**HALF, "durationInterval": None},
        {**FIVE, "durationInterval": None},
        {
            "type": "fixed_price",
            "durationCycles": None,
            "durationInterval": None,
            "prices": [{"currency": "eur", "amount": 0}],
        },
    ]
    dates = {"startsAt": "2026-01-01T00:00:00.000Z", "endsAt": "2026-02-01T00:00:00.000Z"}
    made = await offer(api, *phases, **dates, metadata={"k": "v"})
    assert made["object"] == "offer"
    assert made["id"].startswith("ofr_")
    assert made["phases"] == phases
    assert {name: made[name] for name in dates} == dates
    assert made["active"] is True
    assert await api.call("GET", f"/offers/{made['id']}") == made
    shop.clock.advance(1000)
    other = await offer(api, HALF, active=False)
    assert [one["id"] for one in (await api.call("GET", "/offers"))["data"]] == [other["id"], made["id"]]
    assert [one["id"] for one in (await api.call("GET", "/offers?active=true"))["data"]] == [made["id"]]
    first = await api.call("GET", "/offers?limit=1")
    rest = await api.call("GET", f"/offers?limit=1&cursor={first['nextCursor']}")
    assert [one["id"] for one in first["data"] + rest["data"]] == [other["id"], made["id"]]
    assert rest["hasMore"] is False


async def test_a_price_takes_an_offer_and_follows_it(api, shop):
    """R-DISC-14, R-DISC-15: one offer a price; who subscribes later gets what it says then."""
    told = []

    async def changed(organization, plan_id):
        told.append(plan_id)

    made = await offer(api, HALF)
    plan = await api.plan("pro")
    price = await api.price("pro", 2000, offerId=made["id"])
    assert price["offerId"] == made["id"]
    assert price["introOffer"]["discountValue"] == 5000
    api.catalog.on_plan_changed = changed
    path = f"/offers/{made['id']}"
    await api.call("PATCH", path, {"name": "Launch", "phases": [FIVE]})
    assert told == [plan["id"]]
    assert (await stored(shop, "pro")).prices[0].intro == IntroOffer(
        type=DiscountType.FIXED, value=Decimal(5), cycles=2
    )
    await api.call("PATCH", path, {"name": "Launch", "phases": [FIVE], "active": False})
    shown = (await api.call("GET", "/plans/pro"))["prices"][0]
    assert (shown["offerId"], shown["introOffer"]) == (made["id"], None)
    await api.call("PATCH", path, {"name": "Launch", "phases": [FIVE], "active": True})
    assert (await api.call("DELETE", path))["deleted"] is True
    shown = (await api.call("GET", "/plans/pro"))["prices"][0]
    assert (shown["offerId"], shown["introOffer"]) == (None, None)
    await api.refused("GET", path, status=404, code="offer_not_found")


async def test_an_offer_of_a_price_is_one_discount_for_some_periods(api):
    """R-DISC-14, R-DISC-1: said on the price or as an object, never both."""
    await api.plan("pro")
    price = await api.price("pro", 2000)
    path = f"/plans/pro/prices/{price['id']}"
    for phases, members in [
        ([{**HALF, "durationCycles": None}], {}),
        ([{"type": "free_trial", "durationDays": 7}, HALF], {}),
        ([{**FIVE, "amounts": [{"currency": "eur", "amount": 1}]}], {}),
        ([{"type": "fixed_price", "durationCycles": 1, "prices": [{"currency": "usd", "amount": 1}]}], {}),
        ([HALF], {"endsAt": "2027-01-01"}),
    ]:
        made = await offer(api, *phases, **members)
        wanted = {"offerId": made["id"]}
        await api.refused("PATCH", path, wanted, status=400, code="offer_not_applicable")
    await api.refused("PATCH", path, {"offerId": "ofr_none"}, status=404, code="offer_not_found")
    made = await offer(api, HALF)
    said = {"discountType": "percentage", "discountValue": 100, "durationCycles": 1}
    await api.invalid("PATCH", path, {"offerId": made["id"], "introOffer": said}, "offerId")
    assert (await api.call("PATCH", path, {"offerId": made["id"]}))["introOffer"]["durationCycles"] == 3
    changed = await api.call("PATCH", path, {"introOffer": said})
    assert (changed["offerId"], changed["introOffer"]["discountValue"]) == (None, 100)
    await api.call("PATCH", path, {"offerId": made["id"]})
    gone = await api.call("PATCH", path, {"offerId": None})
    assert (gone["offerId"], gone["introOffer"]) == (None, None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"phases": []}, "phases"),
        ({"phases": [{"type": "gift"}]}, "phases"),
        ({"phases": [HALF, {"type": "free_trial", "durationDays": 1}]}, "phases[1].type"),
        ({"phases": [{"type": "free_trial", "durationDays": 0}]}, "phases[0].durationDays"),
        ({"phases": [{**HALF, "percentage": 10_001}]}, "phases[0].percentage"),
        ({"phases": [{**HALF, "durationCycles": 0}]}, "phases[0].durationCycles"),
        ({"phases": [{**HALF, "durationCycles": None}, HALF]}, "phases[0].durationCycles"),
        ({"phases": [{**HALF, "durationInterval": "monthly"}]}, "phases[0].durationInterval"),
        ({"phases": [{**FIVE, "amounts": []}]}, "phases[0].amounts"),
        ({"phases": [{**FIVE, "amounts": [{"currency": "usd", "amount": 0}]}]}, "phases[0].amounts"),
        ({"phases": [HALF], "name": " "}, "name"),
        ({"phases": [HALF], "startsAt": "soon"}, "startsAt"),
        ({"phases": [HALF], "startsAt": "2026-02-01", "endsAt": "2026-02-01"}, "endsAt"),
    ],
)
async def test_an_offer_that_says_nothing_is_refused_by_field(api, body, field):
    answer = await api.refused("POST", "/offers", {"name": "x", **body}, status=400, code="validation_error")
    assert answer["details"][0]["field"].startswith(field)
    assert (await api.call("GET", "/offers"))["data"] == []


async def test_a_code_takes_an_offers_terms(api):
    """R-DISC-8, R-DISC-15: as they are when it is made; without an offer it makes one of its own."""
    made = await offer(api, HALF)
    code = await api.call("POST", "/promo-codes", {"code": "half", "offerId": made["id"]})
    assert (code["code"], code["offerId"], code["isActive"]) == ("HALF", made["id"], True)
    assert (code["discountType"], code["discountValue"], code["durationCycles"]) == ("percentage", 5000, 3)
    await api.call("PATCH", f"/offers/{made['id']}", {"name": "Launch", "phases": [FIVE]})
    assert (await api.call("GET", "/promo-codes/HALF"))["discountValue"] == 5000
    again = {"code": "Half", "offerId": made["id"]}
    await api.refused("POST", "/promo-codes", again, status=409, code="duplicate")
    both = {"code": "BOTH", "offerId": made["id"], "discountType": "percentage"}
    await api.invalid("POST", "/promo-codes", both, "offerId")
    await api.invalid("POST", "/promo-codes", {"code": "NONE"}, "discountValue")
    await api.refused("POST", "/promo-codes", {"code": "X", "offerId": "ofr_x"}, status=404, code="offer_not_found")
    trial = await offer(api, {"type": "free_trial", "durationDays": 7})
    wanted = {"code": "TRIAL", "offerId": trial["id"]}
    await api.refused("POST", "/promo-codes", wanted, status=400, code="offer_not_applicable")
    own = {"code": "FIVE", "discountType": "amount", "discountValue": 500, "durationCycles": None}
    five = await api.call("POST", "/promo-codes", own)
    shown = await api.call("GET", f"/offers/{five['offerId']}")
    assert shown["name"] == "FIVE"
    assert shown["phases"] == [
        {
            "type": "amount_off",
            "durationCycles": None,
            "durationInterval": None,
            "amounts": [{"currency": "usd", "amount": 500}],
        }
    ]
