"""Vectors that are facts, boundaries and derivations, and figures that scenarios only mention, over HTTP.

Each test names the vector's id.
"""

from decimal import Decimal

import pytest

from tests.vectors.surface import CUSTOMER, Surface

START = "2026-01-01"
CALLS = {"type": "metered", "included": 10_000, "overage_price": "0.01"}
MEMBER = {"type": "seats", "included": 5, "seat_price": "25.00"}


def paid(features=None, price="99.00", interval="monthly", **members):
    return {"model": "metered", "prices": {interval: price}, "features": features or {}, **members}


@pytest.fixture
def fresh(embedded, new_organization):
    """Make organizations with their clocks on the first day."""
    made = []

    def make() -> Surface:
        made.append(Surface(embedded.url, new_organization("facts")))
        made[-1].clock_to(START)
        return made[-1]

    yield make
    for surface in made:
        surface.close()


@pytest.fixture
def subscribed(fresh):
    """Make an organization with one plan, and its customer subscribed to it."""

    def make(plan, **start) -> Surface:
        surface = fresh()
        for code, feature in plan["features"].items():
            surface.add_feature(code, feature["type"])
        surface.add_plan("pro", plan)
        surface.subscribe({"plan": "pro", **start})
        surface.state()
        return surface

    return make


def invoices(surface):
    return [surface.invoice(one, None) for one in surface.invoice_ids()]


def access(surface, code, customer=CUSTOMER):
    return surface.call("GET", f"/feature-access/{code}", customerId=customer)


def used(surface, code, customer):
    return Decimal(str(access(surface, code, customer)["consumption"]["unitsUsed"]))


def kinds(lines):
    return sorted((line["kind"], line["amount"]) for line in lines)


def upcoming(surface):
    return kinds(surface.call("GET", f"/customers/{CUSTOMER}/upcoming-invoice")["lineItems"])


@pytest.fixture
def two_customers(fresh):
    """Two customers on a plan with two metered features, as in the documents' batch."""
    surface = fresh()
    for code in ("api_calls", "storage_gb"):
        surface.add_feature(code, "metered")
    surface.add_plan("pro", paid({"api_calls": CALLS, "storage_gb": CALLS}))
    for customer in ("user_123", "user_456"):
        surface.call("POST", "/customers", {"id": customer, "email": f"{customer}@example.com"})
        surface.call("POST", "/subscriptions", {"customerId": customer, "planCode": "pro"})
    return surface


def event(customer, code, value=None, key=None):
    body = {"customerId": customer, "featureCode": code}
    return body | ({} if value is None else {"value": value}) | ({} if key is None else {"eventId": key})


def test_a_batch_mixes_customers_and_features(two_customers):
    """DOC-TRACK-01."""
    events = [
        event("user_123", "api_calls", 1),
        event("user_456", "api_calls", 3),
        event("user_123", "storage_gb", 0.5),
    ]
    answer = two_customers.call("POST", "/usage/events/batch", {"events": events})
    assert [one["status"] for one in answer["results"]] == ["accepted"] * 3
    assert used(two_customers, "api_calls", "user_123") == 1
    assert used(two_customers, "storage_gb", "user_123") == Decimal("0.5")
    assert used(two_customers, "api_calls", "user_456") == 3
    assert used(two_customers, "storage_gb", "user_456") == 0


def test_a_batch_has_at_most_a_hundred_events(two_customers):
    """DOC-TRACK-02."""
    one = event("user_123", "api_calls")
    answers = [
        two_customers.ask("POST", "/usage/events/batch", {"events": [one] * count}).status_code
        for count in (1, 100, 101, 0)
    ]
    assert answers == [200, 200, 400, 400]
    assert used(two_customers, "api_calls", "user_123") == 101


def test_a_key_counts_once_a_customer(two_customers):
    """DOC-TRACK-03."""
    answers = [
        two_customers.ask("POST", "/usage/events", event(customer, "api_calls", 1, "req_abc123"))
        for customer in ("user_123", "user_123", "user_456")
    ]
    assert [one.status_code for one in answers] == [200, 409, 200]
    assert answers[1].json()["code"] == "duplicate"
    assert (used(two_customers, "api_calls", "user_123"), used(two_customers, "api_calls", "user_456")) == (1, 1)


def test_values_may_be_absent_zero_or_fractional_but_not_negative(two_customers):
    """DOC-TRACK-04."""
    recorded = []
    for value in (None, 0, 0.5, 100, -1):
        before = used(two_customers, "api_calls", "user_123")
        answer = two_customers.ask("POST", "/usage/events", event("user_123", "api_calls", value))
        difference = used(two_customers, "api_calls", "user_123") - before
        recorded.append(difference if answer.is_success else answer.json()["code"])
    assert recorded == [1, 0, Decimal("0.5"), 100, "validation_error"]


def test_pages_have_twenty_five_or_up_to_a_hundred_items(fresh):
    """DOC-SDK-02."""
    surface = fresh()
    customers = [{"id": f"user_{number}", "email": f"user_{number}@example.com"} for number in range(101)]
    for first in range(0, 101, 50):
        made = surface.call("POST", "/customers/batch", {"customers": customers[first : first + 50]})
        assert made["failed"] == []
    assert len(surface.call("GET", "/customers")["data"]) == 25
    assert len(surface.call("GET", "/customers", limit=100)["data"]) == 100
    refused = surface.ask("GET", "/customers", limit=101)
    assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")


@pytest.mark.parametrize(
    ("days", "day"),
    [(1, "2026-01-02"), (7, "2026-01-08"), (14, "2026-01-15"), (30, "2026-01-31"), (90, "2026-04-01")],
)
def test_the_clocks_buttons_go_by_days(fresh, days, day):
    """R-CLOCK-2, DOC-CLOCK-01."""
    surface = fresh()
    answer = surface.ask("POST", "/test-clock", {"advanceDays": days})
    assert answer.status_code == 202
    assert surface.call("GET", "/test-clock")["simulatedTime"] == f"{day}T00:00:00.000Z"


def test_a_free_plan_costs_nothing_and_has_no_billing_date(subscribed):
    """DOC-FREE-04."""
    surface = subscribed({"model": "metered", "free": True, "prices": {}, "features": {}})
    found = surface.call("GET", "/subscriptions/active", customerId=CUSTOMER)
    assert (found["plan"]["basePrice"], found["billingInterval"], found["nextBillingDate"]) == (0, None, None)
    assert (found["status"], found["checkoutUrl"], invoices(surface)) == ("active", None, [])


def test_a_lower_limit_waits_for_renewal_and_new_customers_have_it(subscribed):
    """DOC-LIM-01: included this period, after renewal, and of a new customer."""
    surface = subscribed(paid({"api_calls": CALLS}))
    lower = paid({"api_calls": {**CALLS, "included": 5_000}})
    surface.clock_to("2026-01-10")
    surface.edit_plan("pro", paid({"api_calls": CALLS}), lower)
    surface.call("POST", "/customers", {"id": "late", "email": "late@example.com"})
    surface.call("POST", "/subscriptions", {"customerId": "late", "planCode": "pro"})
    assert access(surface, "api_calls")["consumption"]["includedUnits"] == 10_000
    assert access(surface, "api_calls", "late")["consumption"]["includedUnits"] == 5_000
    surface.clock_to("2026-02-01")
    assert access(surface, "api_calls")["consumption"]["includedUnits"] == 5_000


def test_a_higher_limit_holds_at_once(subscribed):
    """DOC-LIM-02: included this period."""
    low = paid({"api_calls": {**CALLS, "included": 5_000}})
    surface = subscribed(low)
    surface.clock_to("2026-01-10")
    surface.edit_plan("pro", low, paid({"api_calls": CALLS}))
    assert access(surface, "api_calls")["consumption"]["includedUnits"] == 10_000


def test_overage_of_this_month_keeps_its_price(subscribed):
    """DOC-PRICE-03, R-PRICE-2: overage this month."""
    before = paid({"api_calls": {**CALLS, "overage_price": "0.002"}})
    surface = subscribed(before)
    surface.track("2026-01-01", "api_calls", 15_000)
    surface.clock_to("2026-01-15")
    surface.edit_plan("pro", before, paid({"api_calls": {**CALLS, "overage_price": "0.005"}}))
    assert ("overage", 1_000) in upcoming(surface)


def test_cycles_of_a_yearly_discount_are_years(subscribed):
    """DOC-DISC-06."""
    offer = {"yearly": {"type": "percent", "value": "50", "cycles": 2}}
    surface = subscribed(paid(interval="yearly", intro_offers=offer), interval="yearly")
    for year in (2027, 2028, 2029):
        surface.clock_to(f"{year}-01-01")
    discounted = [one.on for one in invoices(surface) if any(line.type == "discount" for line in one.lines)]
    assert discounted == ["2026-01-01", "2027-01-01"]


@pytest.mark.parametrize(("value", "total"), [("98.50", Decimal("0.50")), ("98.51", None)])
def test_a_code_leaves_at_least_half_a_dollar(fresh, value, total):
    """DOC-DISC-09."""
    surface = fresh()
    surface.add_plan("pro", paid())
    surface.add_promo_code("CODE", {"type": "fixed", "value": value, "duration": "once"})
    surface.call("POST", "/customers", {"id": CUSTOMER, "email": "vector@example.com"})
    body = {"customerId": CUSTOMER, "planCode": "pro", "promoCode": "CODE"}
    answer = surface.ask("POST", "/subscriptions", body)
    assert answer.status_code == (400 if total is None else 200)
    assert [one.total for one in invoices(surface)] == ([] if total is None else [total])


def test_a_zero_checkout_activates_at_once(subscribed):
    """DOC-DISC-10: activated immediately."""
    offer = {"monthly": {"type": "percent", "value": "100", "cycles": 3}}
    surface = subscribed(paid(intro_offers=offer))
    assert [one.total for one in invoices(surface)] == [0]
    assert surface.state().status == "active"


def test_a_trial_ends_at_midnight_after_its_days(fresh):
    """DOC-TRIAL-02: 14 days of the monthly price, 30 of the yearly one."""
    surface = fresh()
    plan = {**paid(trial_days={"monthly": 14, "yearly": 30}), "prices": {"monthly": "99.00", "yearly": "899.00"}}
    surface.add_plan("pro", plan)
    for interval, end in (("monthly", "2026-01-15"), ("yearly", "2026-01-31")):
        surface.call("POST", "/customers", {"id": interval, "email": "vector@example.com"})
        body = {"customerId": interval, "planCode": "pro", "billingInterval": interval}
        made = surface.call("POST", "/subscriptions", body)
        assert (made["status"], made["trialEndsAt"]) == ("trialing", f"{end}T00:00:00.000Z")


def test_seats_never_fall_below_zero(subscribed):
    """DOC-SEAT-07."""
    surface = subscribed(paid({"editor": MEMBER}))
    counts = []
    for method, path, count in (
        ("POST", "/seats", 5),
        ("POST", "/seats/remove", 2),
        ("PUT", "/seats", 10),
        ("POST", "/seats/remove", 11),
    ):
        answer = surface.ask(method, path, {"customerId": CUSTOMER, "featureCode": "editor", "count": count})
        balance = surface.call("GET", "/seats/balance", customerId=CUSTOMER, featureCode="editor")
        counts.append((balance["current"], answer.status_code))
    assert counts == [(5, 200), (3, 200), (10, 200), (10, 400)]
    assert answer.json()["code"] == "insufficient_seats"


def test_each_component_is_charged_in_its_time(subscribed):
    """DOC-INV-07, R-INT-3, R-INV-8: base and seats in advance, usage and growth at the month's end."""
    surface = subscribed(paid({"api_calls": CALLS, "member": MEMBER, "sso": {"type": "boolean"}}), seats={"member": 5})
    [first] = invoices(surface)
    assert [(line.type, line.amount) for line in first.lines] == [("plan_base", Decimal(99))]
    surface.clock_to("2026-01-16")
    surface.track("2026-01-16", "api_calls", 12_500)
    surface.set_seats("member", 8)
    assert len(surface.invoice_ids()) == 1
    surface.clock_to("2026-02-01")
    second = invoices(surface)[1]
    assert sorted((line.type, line.amount) for line in second.lines) == [
        ("overage", Decimal(25)),
        ("plan_base", Decimal(99)),
        ("seat_true_up", Decimal("36.29")),  # 3 x 25 x 15/31
        ("seats", Decimal(75)),
    ]


def test_addons_draw_on_the_plans_pool(subscribed):
    """DOC-ADD-03."""
    for model, terms, pool, left in (
        ("credits", {"credits_per_unit": 5}, {"included_credits": 100}, ("plan_credits", Decimal(95))),
        ("balance", {"unit_price": "0.015"}, {"included_balance": "10.00"}, ("plan_balance", Decimal("9.985"))),
    ):
        surface = subscribed({**paid(price="10.00"), "model": model, **pool})
        surface.add_feature("extra", "metered")
        surface.add_addon("extra", {"base_price": "1.00", "feature": "extra", "model": model, **terms})
        surface.activate_addon("extra")
        assert surface.track(START, "extra", 1).accepted
        assert getattr(surface.state(), left[0]) == left[1]


def test_manual_regional_values_stay_and_synced_ones_follow_the_rate(subscribed):
    """DOC-REG-01."""
    surface = subscribed(paid({"api_calls": CALLS}, price="100.00"))
    plan = surface.call("GET", "/plans/pro")
    manual = [{"featureId": plan["features"][0]["featureId"], "overageUnitPrice": 95_000}]
    path = f"/plans/{plan['id']}/regional"
    surface.call("PUT", path, {"currency": "ars", "exchangeRate": 899, "features": manual})
    surface.call("PUT", path, {"currency": "ars", "exchangeRate": 1_000})
    plan = surface.call("GET", "/plans/pro")
    [price], [rate] = plan["prices"][0]["regionalPrices"], plan["features"][0]["regionalPrices"]
    assert (price["currency"], price["price"], price["autoSynced"]) == ("ars", 10_000_000, True)
    assert (rate["currency"], rate["overageUnitPrice"], rate["autoSynced"]) == ("ars", 95_000, False)


def test_each_currency_takes_off_what_its_own_offer_says(fresh):
    """DOC-REG-02: half in dollars, two fifths in reais, by the currency of the checkout."""
    surface = fresh()
    offer = {"monthly": {"type": "percent", "value": "50", "cycles": 3}}
    surface.add_plan("pro", paid(price="100.00", intro_offers=offer))
    plan = surface.call("GET", "/plans/pro")
    there = {"priceId": plan["prices"][0]["id"], "discountType": "percentage", "discountValue": 4_000}
    body = {"currency": "brl", "exchangeRate": 5, "introOffers": [{**there, "durationCycles": 3}]}
    surface.call("PUT", f"/plans/{plan['id']}/regional", body)
    taken_off = []
    for currency in ("USD", "BRL"):
        surface.call("POST", "/customers", {"id": currency, "email": "vector@example.com"})
        surface.call("POST", "/subscriptions", {"customerId": currency, "planCode": "pro", "currency": currency})
        [listed] = surface.call("GET", "/invoices", customerId=currency)["data"]
        invoice = surface.call("GET", f"/invoices/{listed['id']}")
        taken_off.append((invoice["currency"], kinds(invoice["lineItems"])))
    assert taken_off == [
        ("usd", [("discount", -5_000), ("plan_base", 10_000)]),
        ("brl", [("discount", -20_000), ("plan_base", 50_000)]),
    ]


def test_an_addons_feature_is_had_like_any_other(subscribed):
    """DOC-ACC-01."""
    surface = subscribed(paid())
    surface.add_feature("sso", "boolean")
    surface.add_addon("sso-access", {"base_price": "50.00", "feature": "sso", "model": "boolean"})
    surface.activate_addon("sso-access")
    told = access(surface, "sso")
    assert (told["allowed"], told["type"], told["enabled"]) == (True, "boolean", True)


@pytest.mark.parametrize(
    ("plan", "allowed"),
    [
        (paid({"api_calls": CALLS}), True),
        (paid({"api_calls": CALLS}, trial_days={"monthly": 14}), False),
        ({"model": "metered", "free": True, "prices": {}, "features": {"api_calls": {**CALLS}}}, False),
    ],
    ids=["active paid", "trialing", "free plan"],
)
def test_one_more_than_included_is_for_paying_customers(subscribed, plan, allowed):
    """DOC-ACC-02."""
    if plan.get("free"):
        plan["features"]["api_calls"].pop("overage_price", None)
    surface = subscribed(plan)
    assert surface.track(START, "api_calls", 10_000).accepted
    told = surface.call("GET", "/feature-access/api_calls", customerId=CUSTOMER, action="canUse")
    assert (told["allowed"], told["willBeCharged"]) == (allowed, allowed)


def test_unused_units_do_not_carry_over(subscribed):
    """DOC-INT-03: unused units of January."""
    surface = subscribed(paid({"api_calls": CALLS}, price="300.00", interval="quarterly"), interval="quarterly")
    surface.track(START, "api_calls", 4_000)
    surface.clock_to("2026-02-01")
    measured = access(surface, "api_calls")["consumption"]
    assert (measured["unitsUsed"], measured["remainingUnits"]) == (0, 10_000)


@pytest.mark.parametrize(
    ("held", "included", "price", "before", "after"),
    [
        # DOC-SEAT-02: two extra seats cost 50.00 before, none are extra after
        (12, (10, 15), ("25.00", "25.00"), 5_000, 0),
        # DOC-SEAT-06: three cost 75.00 this month, 105.00 next month
        (8, (5, 5), ("25.00", "35.00"), 7_500, 10_500),
    ],
)
def test_charges_for_seats_before_and_after_an_edit(subscribed, held, included, price, before, after):
    """DOC-SEAT-02, DOC-SEAT-06."""
    plans = [
        paid({"member": {**MEMBER, "included": count, "seat_price": unit}})
        for count, unit in zip(included, price, strict=True)
    ]
    surface = subscribed(plans[0], seats={"member": held})
    surface.clock_to("2026-01-10")
    surface.edit_plan("pro", *plans)
    if included[0] != included[1]:  # what helps the customer holds on that day
        assert access(surface, "member")["usage"]["includedUnits"] == included[1]
    [first] = invoices(surface)
    assert sum(line.amount for line in first.lines if line.type == "seats") * 100 == before
    surface.clock_to("2026-02-01")
    assert sum(line.amount for line in invoices(surface)[1].lines if line.type == "seats") * 100 == after


def test_an_upgrade_moves_the_renewal(fresh):
    """DOC-PRO-05: old renewal."""
    surface = fresh()
    for code, price in (("plan_a", "300.00"), ("plan_b", "600.00")):
        surface.add_plan(code, paid(price=price, interval="quarterly"))
    surface.add_plan_group(["plan_a", "plan_b"])
    surface.subscribe({"plan": "plan_a", "interval": "quarterly"})
    surface.clock_to("2026-02-15")
    assert surface.state().next_renewal == "2026-04-01"
    surface.change_plan("plan_b", None)
    assert surface.state().next_renewal == "2026-05-15"


def test_a_free_plans_higher_balance_reaches_its_customers_as_the_difference(subscribed):
    """DOC-FREE-01: balance delta."""
    free = {"model": "balance", "free": True, "prices": {}, "features": {}, "included_balance": "100.00"}
    surface = subscribed(free)
    before = surface.state().plan_balance
    surface.edit_plan("pro", free, {**free, "included_balance": "150.00"})
    assert (before, surface.state().plan_balance) == (100, 150)


def test_a_free_plan_is_left_through_a_checkout_without_credit(subscribed):
    """DOC-FREE-02, DOC-FREE-03: requires checkout, credit from the free plan."""
    free = {"model": "balance", "free": True, "prices": {}, "features": {}, "included_balance": "100.00"}
    surface = subscribed(free)
    surface.call("PATCH", "/organization", {"payments": "simulator"})
    surface.add_plan("more", {**paid(), "model": "balance", "included_balance": "99.00"})
    surface.add_plan_group(["pro", "more"])
    more = surface.call("GET", "/plans/more")["id"]
    subscription = surface.call("GET", "/subscriptions/active", customerId=CUSTOMER)["id"]
    body = {"newPlanId": more, "newBillingInterval": "monthly"}
    done = surface.call("POST", f"/subscriptions/{subscription}/change-plan", body)
    assert (done["outcome"], done["requiresCheckout"]) == ("requires_checkout", True)
    assert done["checkoutUrl"]
    assert surface.state().plan == "pro"


def test_a_zero_checkout_asks_for_a_card(fresh):
    """DOC-DISC-10: card required at checkout."""
    surface = fresh()
    surface.call("PATCH", "/organization", {"payments": "simulator"})
    offer = {"monthly": {"type": "percent", "value": "100", "cycles": 3}}
    surface.add_plan("pro", paid(intro_offers=offer))
    surface.call("POST", "/customers", {"id": CUSTOMER, "email": "vector@example.com"})
    made = surface.call("POST", "/subscriptions", {"customerId": CUSTOMER, "planCode": "pro"})
    assert made["status"] == "pending_payment"
    assert made["checkoutUrl"]


def test_packs_are_listed_in_cents(fresh):
    """DOC-INV-04: price and currency as the API tells them."""
    surface = fresh()
    surface.add_credit_pack("starter", {"credits": 100, "price": "10.00"})
    [pack] = surface.call("GET", "/credit-packs")["data"]
    assert (pack["credits"], pack["price"], pack["currency"]) == (100, 1_000, "usd")
