"""A checkout in payments mode `simulator`: a card that pays begins the subscription, a declined one changes nothing."""

from typing import Any

import pytest

from billing import tables
from tests.story.judged import proved
from tests.story.test_billing import World, world

__all__ = ["world"]  # a fixture

CARD, DECLINED = "4242424242424242", "4000000000000002"


async def issued(world: World, **subscription: Any) -> tuple[dict[str, Any], str]:
    """Issue acme a checkout, and return the subscription and the path of its checkout."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    await world.customer("acme")
    made = await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "starter", **subscription})
    return made, "/checkout/" + made["checkoutUrl"].rpartition("/")[2]


async def test_a_card_that_pays_begins_the_subscription(world: World) -> None:
    """R-SUB-5, R-SUB-12: no key but the token; the start invoice is paid, and the link is used up."""
    made, checkout = await issued(world, successUrl="https://example.com/welcome")
    assert made["status"] == "pending_payment"
    assert await world.rows(tables.invoices) == []
    del world.http.headers["x-api-key"]
    seen = (await world.http.get(made["checkoutUrl"])).json()
    assert [(one["kind"], one["amount"]) for one in seen["lineItems"]] == [("plan_base", 4900)]
    assert (seen["object"], seen["planName"], seen["amountDue"]) == ("checkout_session", "starter", 4900)
    assert (seen["status"], seen["currency"], seen["trialEndsAt"]) == ("pending_payment", "usd", None)
    assert (await world.call("GET", checkout)) == seen
    assert await world.rows(tables.invoices) == []
    done = (await world.http.post(made["checkoutUrl"], json={"number": CARD})).json()
    assert (done["status"], done["subscriptionId"], done["successUrl"]) == (
        "active",
        made["id"],
        "https://example.com/welcome",
    )
    [invoice] = await world.rows(tables.invoices)
    assert (invoice.status, invoice.source, invoice.due_minor) == ("paid", f"start:{made['id']}", 4900)
    [payment] = await world.rows(tables.payments)
    assert (payment.status, payment.amount_minor, payment.invoice_id) == ("succeeded", 4900, invoice.id)
    await world.call("POST", checkout, {"number": CARD}, expect=404)
    assert (await world.http.get(made["checkoutUrl"])).status_code == 404


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [(DECLINED, 402, "charge_failed"), ("4111111111111111", 400, "validation_error"), ("", 400, "validation_error")],
)
async def test_a_card_that_does_not_pay_changes_nothing(world: World, number: str, status: int, code: str) -> None:
    """R-DUN-5, R-CARD-2: it waits on, without invoice, payment or card; another card then begins it."""
    made, checkout = await issued(world)
    assert (await world.call("POST", checkout, {"number": number}, expect=status))["code"] == code
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["status"] == "pending_payment"
    for table in (tables.invoices, tables.payments, tables.saved_cards):
        assert await world.rows(table) == []
    assert (await world.call("POST", checkout, {"number": CARD}))["status"] == "active"


async def test_a_renewal_that_is_declined_is_past_due_and_keeps_access(world: World) -> None:
    """R-DUN-1, R-SUB-5: the failed charge is kept, the invoice stays outstanding."""
    made, checkout = await issued(world)
    await world.call("POST", checkout, {"number": CARD})
    await world.now("2026-02-01T00:00:00Z")
    assert [row.status for row in sorted(await world.rows(tables.invoices), key=lambda row: row.number)] == ["paid"] * 2
    await world.call("POST", "/customers/acme/payment-method", {"number": DECLINED})
    await world.now("2026-03-01T00:00:00Z")
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["status"] == "past_due"
    third = (await world.invoices("acme"))[2]
    assert third["status"] == "outstanding"
    payments = (await world.call("GET", "/payments"))["data"]
    assert [(one["status"], one["failureReason"]) for one in payments if one["invoiceId"] == third["id"]] == [
        ("failed", "card_declined")
    ]
    await world.relay.pass_once()
    assert (await world.snapshot(made["customerId"])).status == "past_due"


@pytest.mark.parametrize(("number", "status"), [(CARD, "active"), (DECLINED, "past_due")])
async def test_a_trials_end_charges_the_card_that_was_kept(world: World, number: str, status: str) -> None:
    """R-TRIAL-3, R-TRIAL-9, R-DUN-6: nothing is charged when the trial begins; a declined charge keeps access."""
    made, checkout = await issued(world, customTrialDays=14)
    seen = await world.call("GET", checkout)
    assert (seen["amountDue"], seen["lineItems"], seen["trialEndsAt"]) == (0, [], "2026-01-15T00:00:00.000Z")
    await world.call("POST", checkout, {"number": number})
    assert await world.rows(tables.payments) == []
    await world.now("2026-01-15T00:00:00Z")
    found = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (found["status"], found["nextBillingDate"]) == (status, "2026-02-15T00:00:00.000Z")
    [invoice] = await world.rows(tables.invoices)
    [payment] = await world.rows(tables.payments)
    assert (payment.invoice_id, payment.amount_minor) == (invoice.id, 4900)
    told = {"active": ("paid", "succeeded"), "past_due": ("outstanding", "failed")}
    assert (invoice.status, payment.status) == told[status]
    await world.relay.pass_once()
    snapshot = await world.snapshot(made["customerId"])
    assert (snapshot.status, snapshot.terms.since) == (status, 20468)


@pytest.mark.parametrize("bill", [True, False])
async def test_a_card_that_comes_after_a_trials_provisional_end_pays(world: World, *, bill: bool) -> None:
    """R-SUB-5, AMB-24, R-GEN-5: at its instant already, and whether or not the calendar has got to it."""
    made, checkout = await issued(world, customTrialDays=14)
    await world.now("2026-01-15T00:00:00Z", bill=bill)
    seen = await world.call("GET", checkout)
    assert (seen["status"], seen["amountDue"], seen["trialEndsAt"]) == ("pending_payment", 4900, None)
    await world.call("POST", checkout, {"number": DECLINED}, expect=402)
    assert (await world.call("POST", checkout, {"number": CARD}))["status"] == "active"
    begun = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (begun["startDate"], begun["nextBillingDate"]) == ("2026-01-15T00:00:00.000Z", "2026-02-15T00:00:00.000Z")
    [invoice] = await world.invoices("acme")
    assert (invoice["status"], invoice["total"]) == ("paid", 4900)
    await proved(world)


async def test_seats_are_held_from_the_checkout_on(world: World) -> None:
    """R-SUB-1, R-SEAT-6: what was asked for at creation is charged when the card pays."""
    await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
    granted = {"includedAmount": 5, "overage": {"enabled": True, "unitPriceDecimal": "25"}}
    await world.call("POST", f"/plans/{world.starter}/features", {"featureId": "member", **granted})
    _, checkout = await issued(world, initialSeats={"member": 7})
    assert await world.rows(tables.seat_counts) == []
    await world.call("POST", checkout, {"number": CARD})
    assert await world.lines("acme") == [[("plan_base", 4900), ("seats", 5000)]]


async def priced_abroad(world: World, country: str | None) -> None:
    """Price the starter plan in two more currencies, with offers of their own, and put acme in a country."""
    price = (await world.call("GET", f"/plans/{world.starter}"))["prices"][0]["id"]
    own = {"enabled": True, "discountType": "percentage", "discountValue": 5000, "durationCycles": 3}
    await world.call("PATCH", f"/plans/{world.starter}/prices/{price}", {"introOffer": own})
    brazil = {"priceId": price, "discountType": "percentage", "discountValue": 4000, "durationCycles": 3}
    regional = f"/plans/{world.starter}/regional"
    await world.call("PUT", regional, {"currency": "brl", "exchangeRate": 5, "introOffers": [brazil]})
    await world.call("PUT", regional, {"currency": "jpy", "exchangeRate": 150})
    if country is not None:
        address = {"line1": "1 Main St", "city": "Town", "postalCode": "1", "country": country}
        await world.call("PATCH", "/customers/acme", {"address": address})


async def bought(world: World, invoice: Any) -> list[tuple[str, int]]:
    assert (invoice["amountDue"], invoice["status"]) == (invoice["total"], "paid")
    return [(line["kind"], line["amount"]) for line in invoice["lineItems"]]


async def test_who_pays_sees_the_prices_of_the_own_country_until_the_payment_fixes_them(world: World) -> None:
    """R-REG-4, R-REG-5, R-DISC-14."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    acme = await world.customer("acme")
    await priced_abroad(world, "BR")
    made = await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "starter"})
    checkout = "/checkout/" + made["checkoutUrl"].rpartition("/")[2]
    done = await world.call("POST", checkout, {"number": CARD})
    assert (done["status"], done["currency"]) == ("active", "brl")
    [first] = await world.invoices("acme")
    assert first["currency"] == "brl"
    assert await bought(world, first) == [("plan_base", 24_500), ("discount", -9_800)]
    # What is paid is fixed: another address changes nothing, and usage costs what it costs there.
    await priced_abroad(world, "JP")
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    second = (await world.invoices("acme"))[1]
    assert second["currency"] == "brl"
    assert await bought(world, second) == [("plan_base", 24_500), ("discount", -9_800), ("overage", 750)]


@pytest.mark.parametrize(
    ("country", "asked", "currency", "lines"),
    [
        (None, None, "usd", [("plan_base", 4_900), ("discount", -2_450)]),
        ("CH", None, "usd", [("plan_base", 4_900), ("discount", -2_450)]),
        ("FR", None, "usd", [("plan_base", 4_900), ("discount", -2_450)]),  # the plan has no price in euro
        ("BR", "usd", "usd", [("plan_base", 4_900), ("discount", -2_450)]),
        (None, "BRL", "brl", [("plan_base", 24_500), ("discount", -9_800)]),
        ("BR", "jpy", "jpy", [("plan_base", 7_350), ("discount", -3_675)]),
    ],
)
async def test_doc_reg_02_a_checkout_is_paid_in_the_currency_that_is_chosen_at_it(
    world: World, country: str | None, asked: str | None, currency: str, lines: list[tuple[str, int]]
) -> None:
    """R-REG-4, R-REG-5, R-REG-6: until it is paid; where the plan has no price, in its own."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"payments": "simulator"})
    await world.customer("acme")
    await priced_abroad(world, country)
    made = await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "starter"})
    checkout = "/checkout/" + made["checkoutUrl"].rpartition("/")[2]
    await world.call("POST", checkout, {"number": CARD, "currency": "chf"}, expect=400)
    await world.call("POST", checkout, {"number": DECLINED, "currency": "jpy"}, expect=402)
    done = await world.call("POST", checkout, {"number": CARD} | ({} if asked is None else {"currency": asked}))
    assert (done["status"], done["currency"]) == ("active", currency)
    [first] = await world.invoices("acme")
    assert first["currency"] == currency
    assert await bought(world, first) == lines
