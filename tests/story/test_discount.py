"""Discounts over HTTP: introductory offers and promo codes, from the first invoice to the full price."""

from typing import Any

import pytest

from billing import tables
from tests.story.test_billing import World, world
from tests.story.test_checkout import CARD, DECLINED
from tests.story.test_subscription_life import BASE, begin, issued

__all__ = ["world"]  # a fixture


async def offer(world: World, **members: Any) -> None:
    """Give the starter plan's price an introductory offer."""
    price = (await world.call("GET", f"/plans/{world.starter}"))["prices"][0]["id"]
    intro = {"enabled": True, "discountType": "percentage", "discountValue": 5000, "durationCycles": 2, **members}
    await world.call("PATCH", f"/plans/{world.starter}/prices/{price}", {"introOffer": intro})


async def code(world: World, **members: Any) -> None:
    body = {"code": "SAVE10", "discountType": "amount", "discountValue": 1000, "durationCycles": 1, **members}
    await world.call("POST", "/promo-codes", body)


async def test_an_introductory_offer_covers_its_cycles_and_then_ends(world: World) -> None:
    """R-DISC-3, R-DISC-5, R-DISC-13: 50 % of 49.00 twice, then the full price; usage is never discounted."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await offer(world)
    made = await begin(world)
    assert (made["introOfferDiscountType"], made["introOfferDiscountValue"]) == ("percentage", 5000)
    assert made["introOfferEndsAt"] == "2026-03-01T00:00:00.000Z"
    assert (made["discount"]["remainingCycles"], made["discount"]["name"]) == (1, "Introductory offer")
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z")
    half = [BASE, ("discount", -2450)]
    assert await issued(world) == [
        ("2026-01-01", "recurring", half),
        ("2026-02-01", "recurring", [*half, ("overage", 150)]),
        ("2026-03-01", "recurring", [BASE]),
    ]
    first = (await world.invoices("acme"))[0]
    [line] = [
        one for one in (await world.call("GET", f"/invoices/{first['id']}"))["lineItems"] if one["kind"] == "discount"
    ]
    assert (line["lineType"], line["discountType"], line["discountValue"], line["discountName"]) == (
        "discount",
        "percentage",
        5000,
        "Introductory offer",
    )
    active = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert (active["discount"], active["introOfferEndsAt"]) == (None, None)


async def test_a_running_offer_is_frozen(world: World) -> None:
    """R-DISC-15, R-PRICE-3: a later edit of the offer does not touch it, while the price follows."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await offer(world)
    await begin(world)
    await offer(world, discountValue=1000, durationCycles=12)
    price = (await world.call("GET", f"/plans/{world.starter}"))["prices"][0]["id"]
    await world.call("PATCH", f"/plans/{world.starter}/prices/{price}", {"price": 6000})
    await world.now("2026-03-01T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-02-01", "recurring", [("plan_base", 6000), ("discount", -3000)]),
        ("2026-03-01", "recurring", [("plan_base", 6000)]),
    ]


async def test_a_change_of_plan_ends_a_discount_when_it_takes_effect(world: World) -> None:
    """R-CHG-10, R-DISC-7, R-CHG-6: a code for ever runs on until the downgrade comes, and not beyond it."""
    await world.now("2026-01-01T00:00:00Z")
    cheap = (await world.call("POST", "/plans", {"name": "Cheap", "code": "cheap"}))["id"]
    await world.call("POST", f"/plans/{cheap}/prices", {"billingInterval": "monthly", "price": 3000})
    await world.group(cheap, world.starter)
    await world.customer("acme")
    await code(world, durationCycles=None)
    made = await begin(world, promoCode="SAVE10")
    await world.now("2026-02-10T00:00:00Z")
    down = await world.call("POST", f"/subscriptions/{made['id']}/change-plan", {"newPlanId": cheap})
    assert down["outcome"] == "scheduled"
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["discount"]["name"] == "SAVE10"
    await world.now("2026-04-01T00:00:00Z")
    off = [BASE, ("discount", -1000)]
    assert [lines for _, _, lines in await issued(world)] == [off, off, [("plan_base", 3000)], [("plan_base", 3000)]]
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["discount"] is None


async def test_the_whole_price_may_be_taken_off_by_an_offer(world: World) -> None:
    """R-DISC-10: total 0.00, active at once."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await offer(world, discountValue=10000, durationCycles=1)
    assert (await begin(world))["status"] == "active"
    await world.now("2026-02-01T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "recurring", [BASE, ("discount", -4900)]),
        ("2026-02-01", "recurring", [BASE]),
    ]


async def test_a_codes_amount_is_paid_in_the_currency_of_the_price(world: World) -> None:
    """R-DISC-14, R-REG-3: 10.00 dollars are 50.00 reais at the plan's rate, not 10.00."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await world.call("PUT", f"/plans/{world.starter}/regional", {"currency": "brl", "exchangeRate": 5})
    await code(world)
    made = await begin(world, promoCode="SAVE10", currency="brl")
    assert made["discount"]["name"] == "SAVE10"
    assert [lines for _, _, lines in await issued(world)] == [[("plan_base", 24_500), ("discount", -5000)]]


async def test_who_was_on_a_paid_plan_gets_no_offer_but_may_use_a_code(world: World) -> None:
    """R-DISC-1, R-DISC-4, AMB-48: a trial alone does not count; the line names the code."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await offer(world)
    await code(world)
    trial = await begin(world, customTrialDays=7)
    await world.call("POST", f"/subscriptions/{trial['id']}/cancel", {"immediate": True})
    first = await begin(world, promoCode="save10")
    assert (first["promoIgnored"], first["discount"]["source"]) == (True, "intro_offer")
    await world.call("POST", f"/subscriptions/{first['id']}/cancel", {"immediate": True})
    second = await begin(world, promoCode="save10")
    assert (second["promoIgnored"], second["discount"]["name"]) == (False, "SAVE10")
    last = (await world.invoices("acme"))[-1]
    assert [(line["kind"], line["amount"]) for line in last["lineItems"]] == [BASE, ("discount", -1000)]
    assert "SAVE10" in last["lineItems"][1]["description"]
    await world.call("POST", f"/subscriptions/{second['id']}/cancel", {"immediate": True})
    refused = await world.call(
        "POST",
        "/subscriptions",
        {"customerId": "acme", "planCode": "starter", "promoCode": "SAVE10"},
        expect=400,
    )
    assert refused["code"] == "offer_not_applicable"
    assert (await begin(world))["discount"] is None


@pytest.mark.parametrize("recovers", [False, True])
async def test_a_trial_whose_charge_fails_was_no_paid_subscription(world: World, *, recovers: bool) -> None:
    """R-DISC-4, AMB-48: it never was active on a paid plan, unless what it owes is paid after all."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    await world.customer("acme")
    await offer(world)

    async def checked_out(number: str, **body: Any) -> Any:
        made = await begin(world, **body)
        await world.call("POST", "/checkout/" + made["checkoutUrl"].rpartition("/")[2], {"number": number})
        return made

    trial = await checked_out(DECLINED, customTrialDays=14)
    await world.now("2026-01-15T00:00:00Z")
    path = f"/subscriptions/{trial['id']}"
    assert (await world.call("GET", path))["status"] == "past_due"
    if recovers:
        [owed] = await world.invoices("acme")
        await world.call("PATCH", f"/invoices/{owed['id']}/status", {"status": "paid"})
        assert (await world.call("GET", path))["status"] == "active"
    await world.call("POST", f"{path}/cancel", {"immediate": True})
    if not recovers:
        second = await checked_out(CARD, customTrialDays=14)
        assert second["discount"]["source"] == "intro_offer"
        await world.now("2026-01-29T00:00:00Z")
        assert (await world.call("GET", f"/subscriptions/{second['id']}"))["status"] == "active"
        await world.call("POST", f"/subscriptions/{second['id']}/cancel", {"immediate": True})
    assert (await begin(world))["discount"] is None


async def test_a_code_leaves_half_a_dollar_or_is_refused(world: World) -> None:
    """R-DISC-9: exactly 0.50 passes, 0.49 does not, and nothing is made."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await code(world, discountValue=4851)
    body = {"customerId": "acme", "planCode": "starter", "promoCode": "SAVE10"}
    refused = await world.call("POST", "/subscriptions", body, expect=400)
    assert refused["code"] == "offer_not_applicable"
    assert await issued(world) == []
    await code(world, code="EXACT", discountValue=4850, durationCycles=None)
    made = await begin(world, promoCode="EXACT")
    assert (made["discount"]["remainingCycles"], made["discount"]["endsAt"]) == (None, None)
    await world.now("2026-03-01T00:00:00Z")
    assert [sum(amount for _, amount in lines) for *_, lines in await issued(world)] == [50, 50, 50]


async def test_a_checkout_whose_code_expired_goes_on_without_it(world: World) -> None:
    """R-DISC-12, R-DISC-13: another price was shown, so it is refused; without the code it charges what it shows."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    await world.customer("acme")
    await code(world, expiresAt="2026-01-02T00:00:00Z")
    made = await begin(world, promoCode="SAVE10")
    checkout = "/checkout/" + made["checkoutUrl"].rpartition("/")[2]

    async def shown() -> tuple[str, str | None, list[tuple[str, int]]]:
        seen = await world.call("GET", checkout)
        lines = [(one["kind"], one["amount"]) for one in seen["lineItems"]]
        assert seen["amountDue"] == sum(amount for _, amount in lines)
        return seen["promoCode"], seen["promoCodeRefusal"], lines

    await world.now("2026-01-02T23:59:59.999Z")
    assert await shown() == ("SAVE10", None, [BASE, ("discount", -1000)])
    await world.now("2026-01-03T00:00:00Z")
    assert await shown() == ("SAVE10", "promo_code_expired", [BASE])
    assert (await world.call("POST", checkout, {"number": CARD}, expect=409))["code"] == "promo_code_expired"
    assert (await world.rows(tables.invoices), await world.rows(tables.saved_cards)) == ([], [])
    await offer(world)
    without = [BASE, ("discount", -2450)]
    assert await shown() == ("SAVE10", "promo_code_expired", without)
    await world.call("POST", checkout, {"number": CARD, "withoutPromoCode": True})
    assert await issued(world) == [("2026-01-03", "recurring", without)]
    found = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (found["status"], found["discount"]["source"]) == ("active", "intro_offer")
    assert (await world.call("GET", "/promo-codes/SAVE10"))["redemptionCount"] == 0


async def test_a_code_that_still_holds_may_be_left_out(world: World) -> None:
    """R-DISC-12: it then is not redeemed; one whose last slot is gone says so."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    await code(world, maxRedemptions=1)
    links = []
    for customer in ("first", "second", "third"):
        await world.customer(customer)
        body = {"customerId": customer, "planCode": "starter", "promoCode": "SAVE10"}
        made = await world.call("POST", "/subscriptions", body)
        links.append("/checkout/" + made["checkoutUrl"].rpartition("/")[2])
    first, second, third = links
    await world.call("POST", first, {"number": CARD, "withoutPromoCode": True})
    assert await world.lines("first") == [[BASE]]
    await world.call("POST", second, {"number": CARD})
    assert await world.lines("second") == [[BASE, ("discount", -1000)]]
    assert (await world.call("GET", third))["promoCodeRefusal"] == "offer_not_applicable"
    await world.call("POST", third, {"number": CARD}, expect=400)
    await world.call("POST", third, {"number": CARD, "withoutPromoCode": True})
    assert await world.lines("third") == [[BASE]]


async def test_extra_seats_count_in_what_a_code_must_leave(world: World) -> None:
    """R-DISC-9, R-SEAT-13, AMB-30: the whole base is taken off, and a seat beyond the included ones is charged."""
    await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
    granted = {"includedAmount": 5, "overage": {"enabled": True, "unitPriceDecimal": "0.5"}}
    await world.call("POST", f"/plans/{world.starter}/features", {"featureId": "member", **granted})
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await code(world, discountValue=4900)
    body = {"customerId": "acme", "planCode": "starter", "promoCode": "SAVE10"}
    refused = await world.call("POST", "/subscriptions", {**body, "initialSeats": {"member": 5}}, expect=400)
    assert refused["code"] == "offer_not_applicable"
    await world.call("POST", "/subscriptions", {**body, "initialSeats": {"member": 6}})
    assert [(base, off, seats) for *_, (base, off, seats) in await issued(world)] == [
        (BASE, ("discount", -4900), ("seats", 50))
    ]


async def test_a_discount_at_a_trial_starts_with_the_first_paid_cycle(world: World) -> None:
    """R-TRIAL-10, R-DISC-5: cycles are billing periods."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await offer(world, discountType="amount", discountValue=900, durationCycles=1)
    trial = await begin(world, customTrialDays=14)
    assert (trial["discount"]["remainingCycles"], trial["introOfferEndsAt"]) == (1, "2026-02-15T00:00:00.000Z")
    await world.now("2026-02-15T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-15", "recurring", [BASE, ("discount", -900)]),
        ("2026-02-15", "recurring", [BASE]),
    ]
