"""Why, over HTTP: every kind of line is explained by numbers that give its amount, on every type of invoice."""

from collections.abc import Awaitable, Callable
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest

from billing.money.invoice import InvoiceType, LineKind
from catalog import store
from tests.story.test_addon import sms, sso, switch_on
from tests.story.test_addon_change import offer as addons_offer
from tests.story.test_audit_invoices import bought, drawn, lived, metered, seated
from tests.story.test_billing import World, world
from tests.story.test_plan_change import change, seats_offer
from tests.story.test_purchases import sold
from tests.story.test_subscription_life import begin, priced

__all__ = ["world"]  # a fixture

Story = Callable[[World], Awaitable[Any]]


async def upgraded(world: World) -> None:
    """A change to a plan with an introductory offer, its overage, and add-ons of which one ends."""
    await world.now("2026-03-01T00:00:00Z")
    pro = await addons_offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.now("2026-03-11T00:00:00Z")
    for addon in ("sso-access", "sms"):
        await switch_on(world, made, addon)
    await world.now("2026-04-05T00:00:00Z")
    await world.track(acme, "1100.5", "2026-04-05T00:00:00Z")
    await world.now("2026-04-15T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    await world.now("2026-05-15T00:00:00Z")


async def reseated(world: World) -> None:
    """Seats in advance and trued up, given back by a change whose rest is account credit."""
    await world.now("2026-01-01T00:00:00Z")
    company = await seats_offer(world)
    await world.customer("acme")
    body = {"customerId": "acme", "planCode": "team", "initialSeats": {"member": 8}}
    made = await world.call("POST", "/subscriptions", body)
    for day, count in (("2026-01-05", 9), ("2026-01-09", 11), ("2026-01-31", 12)):
        await world.now(f"{day}T12:00:00Z")
        await world.call("PUT", "/seats", {"customerId": "acme", "featureCode": "member", "count": count})
    await world.now("2026-02-15T00:00:00Z")
    await change(world, made["id"], newPlanId=company)
    await world.now("2026-03-15T00:00:00Z")


async def lengthened(world: World) -> None:
    """A trial with an add-on, a month, and a change to the year, which is charged in full."""
    await sso(world)
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "yearly", 48_999)
    made = await begin(world, billingInterval="monthly", customTrialDays=7)
    await world.now("2026-01-03T00:00:00Z")
    await switch_on(world, made, "sso-access")
    await world.now("2026-01-08T00:00:00Z")
    await world.track(acme, "12.3", "2026-01-09T00:00:00Z")
    await world.now("2026-01-20T00:00:00Z")
    await change(world, made["id"], newBillingInterval="yearly")
    await world.now("2026-03-21T00:00:00Z")


async def free(world: World) -> None:
    """An add-on on a free plan, which has months of its own."""
    await sso(world)
    await sms(world)
    await world.now("2026-01-31T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme", "free")
    await switch_on(world, made, "sso-access")
    await world.now("2026-04-05T00:00:00Z")


async def topped_up(world: World) -> None:
    """A top-up, and a charge by hand."""
    subscription = await sold(world, "balance")
    await world.now("2026-01-10T00:00:00Z")
    await world.call("POST", f"/subscriptions/{subscription}/balance/topup", {"amount": 1234})
    await world.call("POST", "/invoices", {"customerId": "acme", "amount": 777, "description": "setup"})


# Each life, with the kinds of lines and the types of invoices that it makes.
LIVES: list[tuple[Story, set[str], set[str]]] = [
    (
        metered,
        {"plan_base", "discount", "overage", "late_usage", "adjustment", "account_credit_applied"},
        {"recurring", "adjustment"},
    ),
    (seated, {"plan_base", "seats", "seat_true_up"}, {"recurring"}),
    (drawn, {"plan_base", "balance_overage", "balance_topup"}, {"recurring", "overage", "balance_topup"}),
    (bought, {"plan_base", "credit_pack"}, {"recurring", "credit_purchase"}),
    (lived, {"plan_base", "discount", "overage", "late_usage"}, {"recurring", "overage"}),
    (
        upgraded,
        {"plan_base", "addon_proration", "addon_base", "addon_overage", "proration_credit", "proration_charge"},
        {"recurring", "addon_activation", "plan_change"},
    ),
    (
        reseated,
        {
            *("plan_base", "seats", "seat_true_up", "proration_credit", "proration_charge"),
            "account_credit_applied",
        },
        {"recurring", "plan_change"},
    ),
    (
        lengthened,
        {"plan_base", "overage", "proration_credit", "proration_charge", "addon_proration", "addon_base"},
        {"recurring", "plan_change", "addon_activation"},
    ),
    (free, {"addon_proration", "addon_base"}, {"addon_activation", "recurring"}),
    (topped_up, {"plan_base", "balance_topup", "adjustment"}, {"recurring", "balance_topup", "adjustment"}),
]


def test_the_lives_make_every_kind_of_line_and_every_type_of_invoice() -> None:
    """R-INV-1, R-INV-6."""
    assert set().union(*(kinds for _, kinds, _ in LIVES)) == set(LineKind)
    assert set().union(*(types for _, _, types in LIVES)) == set(InvoiceType)


def cents(amount: Decimal) -> int:
    """Round the major unit of USD to cents, halves away from zero."""
    return int((amount * 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def reckoned(kind: str, told: dict[str, Any]) -> int:
    """Reckon a line's amount from what its explanation shows, by this test's own arithmetic."""
    given = {name: value for name, value in told.items() if value is not None}

    def number(name: str, otherwise: str = "0") -> Decimal:
        return Decimal(str(given.get(name, otherwise)))

    def shared(amount: Decimal) -> int:
        return cents(amount * number("daysRemaining", "1") / number("daysInPeriod", "1"))

    match kind:
        case "plan_base" | "addon_base":
            return cents(number("basePrice"))
        case "discount":
            off = number("basePrice") * number("percent") / 100 if "percent" in given else number("fixed")
            return shared(-min(number("basePrice"), Decimal(cents(off)) / 100))
        case "seats":
            return cents((number("held") - number("included")) * number("unitPrice"))
        case "seat_true_up":
            return shared(number("added") * number("unitPrice"))
        case "overage" | "addon_overage" | "late_usage":
            beyond = max(Decimal(0), number("used") - number("included", "Infinity"))
            return cents(beyond * number("unitPrice")) - cents(number("billedBefore"))
        case "balance_overage":
            return cents(number("overdraft")) - cents(number("billedBefore"))
        case "addon_proration":
            return shared(number("basePrice"))
        case "proration_credit":
            return shared(-number("paid"))
        case "proration_charge":
            return shared(number("price"))
        case "credit_pack":
            return cents(number("price"))
        case "balance_topup":
            return cents(number("topUp"))
        case "adjustment":
            return cents(number("adjustment"))
        case "account_credit_applied":
            taken = sum((Decimal(value) for name, value in given.items() if name.startswith("credit ")), Decimal(0))
            return -cents(min(number("owed"), taken))
    raise AssertionError(kind)


@pytest.mark.parametrize(("story", "kinds", "types"), LIVES, ids=[story.__name__ for story, _, _ in LIVES])
async def test_a_line_is_explained_by_numbers_that_give_its_amount(
    world: World, story: Story, kinds: set[str], types: set[str]
) -> None:
    """R-INV-6, R-INV-2: rule, terms, window, arithmetic and events of each line, by its invoice and by itself."""
    await story(world)
    made = await world.invoices("acme")
    assert {one["invoiceType"] for one in made} == types
    assert {line["kind"] for one in made for line in one["lineItems"]} == kinds
    for invoice in made:
        told = await world.call("GET", f"/explain/{invoice['id']}")
        assert (told["object"], told["kind"], told["invoiceNumber"]) == (
            "explanation",
            "invoice",
            invoice["invoiceNumber"],
        )
        whole = told["arithmetic"]
        assert whole["inputs"]["sumOfLines"] == sum(line["amount"] for line in invoice["lineItems"]) == whole["total"]
        due = max(0, whole["total"]) + whole["inputs"]["carriedIn"] - whole["inputs"]["carriedOut"]
        assert whole["total"] < 0 or whole["due"] == due
        for line, why in zip(invoice["lineItems"], told["lines"], strict=True):
            assert (why["id"], why["kind"], why["amount"]) == (line["id"], line["kind"], line["amount"])
            assert why["arithmetic"]["agrees"], why
            assert why["arithmetic"]["amount"] == line["amount"] == reckoned(line["kind"], why["arithmetic"]["inputs"])
            assert why["rule"] == why["rules"][0]
            assert why["rule"].startswith("R-")
            assert why["why"].endswith(".")
            assert why["terms"]["number"] > 0
            await listed(world, why, line)
        [one] = [await world.call("GET", f"/explain/{line['id']}") for line in invoice["lineItems"][:1]]
        assert (one["invoice"]["id"], one["arithmetic"]) == (invoice["id"], told["lines"][0]["arithmetic"])


async def listed(world: World, why: Any, line: Any) -> None:
    """The events that are told are those that are listed, and their sum is the usage that is billed."""
    events = why["events"]
    if line["kind"] not in ("overage", "addon_overage", "late_usage", "balance_overage"):
        assert (events, why["window"]) == (None, None)
        return
    page = await world.call("GET", events["href"], limit=100)
    assert (len(page["data"]), page["hasMore"]) == (events["count"], False)
    if not events["count"]:  # what is included was raised after the window was billed
        assert line["amount"] < 0
        return
    assert min(one["ts"] for one in page["data"]) == events["first"]
    assert max(one["ts"] for one in page["data"]) == events["last"]
    if line["kind"] == "balance_overage":
        return
    assert sum(Decimal(str(one["value"])) for one in page["data"]) == Decimal(events["sum"])
    assert Decimal(events["ofWindow"]) == Decimal(why["arithmetic"]["inputs"]["used"])
    assert (why["window"]["start"], why["window"]["end"]) == (line["period"]["start"][:10], line["period"]["end"][:10])
    assert why["terms"]["feature"]["unitPrice"] == why["arithmetic"]["inputs"]["unitPrice"]


async def test_what_there_is_not_or_is_anothers_is_not_explained(world: World) -> None:
    """R-GEN-7, R-SUB-5: a subscription and its closes are told too."""
    await world.now("2026-01-05T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme")
    await world.now("2026-02-05T00:00:00Z")
    told = await world.call("GET", f"/explain/{made['id']}")
    assert (told["kind"], [one["state"] for one in told["closes"]]) == ("subscription", ["settled"])
    assert [one["basePrice"] for one in told["terms"]] == ["49"] * 3
    close = told["closes"][0]["close"]
    assert (await world.call("GET", f"/explain/{close}"))["closes"] == told["closes"]
    invoice = (await world.invoices("acme"))[0]
    line = invoice["lineItems"][0]["id"]
    for name, code in (
        ("nothing", "not_found"),
        (f"inv_{'0' * 26}", "invoice_not_found"),
        (f"line_{'0' * 26}", "not_found"),
        (f"sub_{'0' * 26}", "subscription_not_found"),
        ("evt_0", "event_not_found"),
    ):
        assert (await world.call("GET", f"/explain/{name}", expect=404))["code"] == code
    async with world.sql.transaction() as connection:
        other = await store.create_organization(connection, "Other", "sandbox", 1)
        await store.create_key(connection, other, name="other", now_ms=1, secret="ck_sandbox_other")
    await world.catalog.refresh()
    for name in (invoice["id"], line, made["id"], close):
        answer = await world.http.get(f"/explain/{name}", headers={"x-api-key": "ck_sandbox_other"})
        assert (answer.status_code, invoice["id"] in answer.text) == (404, name == invoice["id"])
