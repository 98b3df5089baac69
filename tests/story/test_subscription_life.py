"""A subscription's life over HTTP, on real stores: intervals, trials, ends, pauses, drafts and checkouts."""

from typing import Any

import pytest
from sqlalchemy import update

from billing import tables
from billing.gateway.scheduling import schedule
from billing.gateway.subscribing import activate
from billing.life.subscription import ChangeKind, ScheduledChange
from billing.store import subscription as subscriptions
from catalog.tables import organizations
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.period import Interval, parse_instant_us
from tests.story.judged import proved
from tests.story.test_billing import OVERAGE, World, world

__all__ = ["world"]  # a fixture

BASE = ("plan_base", 4900)


def day(text: str) -> str:
    return f"{text}T00:00:00.000Z"


async def priced(world: World, interval: str, price: int) -> None:
    """Give the starter plan a price of another interval."""
    await world.call("POST", f"/plans/{world.starter}/prices", {"billingInterval": interval, "price": price})


async def begin(world: World, **body: Any) -> Any:
    return await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "starter", **body})


async def issued(world: World) -> list[tuple[str, str, list[tuple[str, int]]]]:
    """Tell day, type and lines of every invoice."""
    return [
        (one["issueDate"][:10], one["invoiceType"], [(line["kind"], line["amount"]) for line in one["lineItems"]])
        for one in await world.invoices("acme")
    ]


async def with_payments(world: World) -> None:
    """Let paid plans wait for their checkout; the next setting of the clock makes it known."""
    async with world.sql.transaction() as connection:
        await connection.execute(update(organizations).values(payments="simulator"))


async def pay(world: World, subscription_id: str) -> None:
    """Complete a checkout, as the payments' port does."""
    async with world.sql.transaction() as connection:
        found = await subscriptions.read(connection, subscription_id)
        now_ms = parse_instant_us((await world.call("GET", "/test-clock"))["now"]) // 1000
        await activate(connection, found, now_ms, world.clock.now_ms())
    await world.relay.show(found.customer_id)


async def test_a_quarter_is_charged_once_and_its_overage_monthly(world: World) -> None:
    """R-INT-4, R-INT-5, R-INV-3: a month without overage has no invoice, the last one is on the renewal."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    made = await begin(world, billingInterval="quarterly")
    assert (made["currentPeriod"]["end"], made["nextBillingDate"]) == (day("2026-04-01"), day("2026-04-01"))
    await world.track(acme, "110", "2026-01-15T00:00:00Z")
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert (upcoming["invoiceType"], upcoming["total"]) == ("overage", 150)
    await world.now("2026-03-02T00:00:00Z")
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert (upcoming["invoiceType"], upcoming["total"]) == ("recurring", 12000)
    await world.track(acme, "210", "2026-03-15T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "recurring", [("plan_base", 12000)]),
        ("2026-02-01", "overage", [("overage", 150)]),
        ("2026-04-01", "recurring", [("plan_base", 12000), ("overage", 300)]),
    ]


async def test_included_usage_is_monthly_on_a_year_too(world: World) -> None:
    """R-INT-6, R-METER-3: ten are included every month; what is left of them does not add up."""
    await world.now("2026-01-31T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "yearly", 50000)
    await begin(world, billingInterval="yearly")
    await world.track(acme, "110", "2026-03-01T00:00:00Z")
    await world.now("2026-04-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-03-31", "overage", [("overage", 150)])]
    active = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert (active["features"][0]["usage"]["current"], active["currentPeriod"]["end"]) == (0, day("2027-01-31"))


async def test_a_trial_ends_in_the_price_in_force_then(world: World) -> None:
    """R-TRIAL-5, R-TRIAL-8, R-PRICE-3: DOC-TRIAL of 14 days from 1 January, charged on the 15th."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world, customTrialDays=14)
    assert (made["status"], made["trialEndsAt"]) == ("trialing", day("2026-01-15"))
    assert await issued(world) == []
    await world.track(acme, "8", "2026-01-05T00:00:00Z")
    price = (await world.call("GET", f"/plans/{world.starter}"))["prices"][0]["id"]
    await world.call("PATCH", f"/plans/{world.starter}/prices/{price}", {"price": 12900})
    shown = await world.snapshot(acme)
    assert (shown.terms.number, shown.next.number, shown.next.since - shown.terms.since) == (1, 2, 14)
    assert (shown.terms.window_days, shown.terms.months, shown.next.months) == (30, 0, 1)
    assert (shown.next.chain.term, shown.next.chain.window) == (1, shown.terms.since)
    # Overage is blocked while the trial runs (R-METER-4).
    assert shown.terms.features[0].limited
    assert not shown.next.features[0].limited
    await world.now("2026-02-15T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-15", "recurring", [("plan_base", 12900)]),
        ("2026-02-15", "recurring", [("plan_base", 12900)]),
    ]
    active = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert (active["status"], active["billingDayOfMonth"]) == ("active", 15)
    assert (await world.snapshot(acme)).terms.number == 2


async def test_a_trial_that_is_canceled_is_never_charged(world: World) -> None:
    """R-SUB-6, R-TRIAL-8, AMB-37: it ends with the trial, and may be taken back until then."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world, customTrialDays=45)
    ending = await world.call("POST", f"/subscriptions/{made['id']}/cancel")
    assert (ending["status"], ending["endDate"]) == ("trialing", day("2026-02-15"))
    back = await world.call("POST", f"/subscriptions/{made['id']}/uncancel")
    assert (back["cancellation"], back["endDate"]) == (None, None)
    await world.call("POST", f"/subscriptions/{made['id']}/uncancel", expect=409)
    await world.call("POST", f"/subscriptions/{made['id']}/cancel")
    await world.now("2026-03-01T00:00:00Z")
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["status"] == "canceled"
    assert await issued(world) == []
    assert (await world.snapshot(acme)).status is SubscriptionStatus.CANCELED


async def test_between_a_cancel_and_the_end_of_a_quarter_overage_is_invoiced(world: World) -> None:
    """R-SUB-6, R-SUB-7, R-SUB-8: the final invoice has the last window's overage and no base."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    await priced(world, "quarterly", 12000)
    made = await begin(world, billingInterval="quarterly")
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"reason": "too dear"})
    await world.track(acme, "110", "2026-01-15T00:00:00Z")
    await world.now("2026-03-15T00:00:00Z")
    await world.track(acme, "210", "2026-03-15T00:00:00Z")
    await world.now("2026-04-02T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-02-01", "overage", [("overage", 150)]),
        ("2026-04-01", "recurring", [("overage", 300)]),
    ]
    ended = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (ended["status"], ended["cancellation"]["reason"]) == ("canceled", "too dear")


async def test_an_end_date_expires_a_subscription(world: World) -> None:
    """R-SUB-5, R-SUB-9: additive `endDate`; what was used is billed, nothing renews."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    path = f"/subscriptions/{made['id']}"
    await world.call("PATCH", path, {"endDate": "2025-12-01"}, expect=400)
    await world.call("PATCH", path, {"endDate": "2026-02-10"})
    taken = await world.call("PATCH", path, {"endDate": None})
    assert (taken["endDate"], taken["nextBillingDate"]) == (None, day("2026-02-01"))
    dated = await world.call("PATCH", path, {"endDate": "2026-02-10"})
    assert (dated["endDate"], dated["cancelAtPeriodEnd"]) == (day("2026-02-10"), False)
    await world.now("2026-02-05T00:00:00Z")
    await world.track(acme, "110", "2026-02-05T00:00:00Z")
    await world.now("2026-02-11T00:00:00Z")
    assert (await world.call("GET", path))["status"] == "expired"
    assert await issued(world) == [
        ("2026-01-01", "recurring", [BASE]),
        ("2026-02-01", "recurring", [BASE]),
        ("2026-02-10", "recurring", [("overage", 150)]),
    ]
    assert (await world.call("PATCH", path, {"endDate": None}, expect=409))["code"] == "invalid_subscription_status"


async def test_a_pause_now_keeps_the_rest_of_the_period(world: World) -> None:
    """R-SUB-13, contract T56: the period's end moves by the paused days, the resume is free."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    path = f"/subscriptions/{made['id']}"
    await world.track(acme, "60", "2026-01-05T00:00:00Z")
    await world.now("2026-01-11T00:00:00Z")
    paused = await world.call("POST", f"{path}/pause", {"mode": "immediate", "durationDays": None})
    assert (paused["status"], paused["pause"]["status"], paused["pause"]["resumeAt"]) == ("paused", "active", None)
    assert (await world.snapshot(acme)).status is SubscriptionStatus.PAUSED
    await world.now("2026-03-12T00:00:00Z")
    assert len(await issued(world)) == 1
    resumed = await world.call("POST", f"{path}/resume")
    assert (resumed["status"], resumed["invoiceId"]) == ("succeeded", None)
    back = await world.call("GET", path)
    # 60 days from 11 January to 12 March
    assert (back["status"], back["currentPeriod"]["end"], back["pause"]) == ("active", day("2026-04-02"), None)
    shown = await world.snapshot(acme)
    assert (shown.terms.number, shown.terms.chain.term) == (2, 1)
    await world.track(acme, "110", "2026-03-20T00:00:00Z")
    await world.now("2026-05-02T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-04-02", "recurring", [BASE, ("overage", 75), ("overage", 150)]),
        ("2026-05-02", "recurring", [BASE]),
    ]


@pytest.mark.parametrize("interval", ["monthly", "yearly"])
async def test_what_a_plan_is_raised_to_in_a_pause_is_there_in_the_rest_of_the_period(
    world: World, interval: str
) -> None:
    """R-BH-1: also where the pause is longer than the rest was; prices wait for the renewal (R-PRICE-1)."""
    await priced(world, "yearly", 49_000)
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world, billingInterval=interval)
    await world.track(acme, "60", "2026-01-05T00:00:00Z")
    await world.now("2026-01-11T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/pause", {"mode": "immediate", "durationDays": None})
    await world.now("2027-02-01T00:00:00Z")
    wider = {"includedAmount": 30, "overage": {"enabled": True, "unitPriceDecimal": "0.02"}}
    await world.call("PATCH", f"/plans/{world.starter}/features/calls", wider)
    await world.now("2027-02-02T00:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/resume")
    shown = await world.snapshot(acme)
    assert [(one.included // 10**9, one.unit_price) for one in shown.terms.features] == [(30, "0.015")]
    await world.track(acme, "130", "2027-02-03T00:00:00Z")
    await world.now("2027-03-24T00:00:00Z")
    lines = [line for _, _, found in (await issued(world))[1:] for line in found]
    assert [line for line in lines if line[0] == "overage"] == [("overage", 45), ("overage", 150)]
    await proved(world)


async def test_a_pause_at_the_periods_end_skips_the_renewal(world: World) -> None:
    """R-SUB-13, contract T57: the resume starts a new period at the price of that day."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    path = f"/subscriptions/{made['id']}"
    asked = await world.call("POST", f"{path}/pause", {"mode": "period_end", "durationDays": 30})
    assert (asked["status"], asked["pause"]["status"], asked["pause"]["mode"]) == ("active", "scheduled", "period_end")
    assert (asked["pause"]["effectiveAt"], asked["pause"]["resumeAt"]) == (day("2026-02-01"), day("2026-03-03"))
    longer = await world.call("PATCH", f"{path}/pause", {"durationDays": 60})
    assert longer["pause"]["resumeAt"] == day("2026-04-02")
    revoked = await world.call("DELETE", f"{path}/pause")
    assert (revoked["pause"], revoked["nextBillingDate"]) == (None, day("2026-02-01"))
    assert (await world.snapshot(acme)).next is not None
    await world.call("POST", f"{path}/pause", {"mode": "period_end", "durationDays": 60})
    refused = await world.call("POST", f"{path}/cancel", expect=409)
    assert refused["code"] == "invalid_subscription_status"
    await world.track(acme, "110", "2026-01-20T00:00:00Z")
    price = (await world.call("GET", f"/plans/{world.starter}"))["prices"][0]["id"]
    await world.call("PATCH", f"/plans/{world.starter}/prices/{price}", {"price": 5900})
    await world.now("2026-02-15T00:00:00Z")
    assert (await world.call("GET", path))["status"] == "paused"
    await world.now("2026-04-10T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "recurring", [BASE]),
        ("2026-02-01", "recurring", [("overage", 150)]),
        ("2026-04-02", "recurring", [("plan_base", 5900)]),
    ]
    back = await world.call("GET", path)
    assert (back["status"], back["nextBillingDate"]) == ("active", day("2026-05-02"))


async def test_a_resume_after_a_skipped_renewal_is_paid_or_does_not_come(world: World) -> None:
    """R-SUB-13, R-DUN-1: contract row 51; by the calendar a declined card makes it past due."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    await with_payments(world)
    path = f"/subscriptions/{made['id']}"
    await world.call("POST", f"{path}/pause", {"mode": "period_end", "durationDays": None})
    await world.now("2026-02-15T00:00:00Z")
    for number, status, code in ((None, 422, "no_payment_method"), ("4000000000000002", 402, "charge_failed")):
        if number is not None:
            await world.call("POST", "/customers/acme/payment-method", {"number": number})
        assert (await world.call("POST", f"{path}/resume", expect=status))["code"] == code
        assert (await world.call("GET", path))["status"] == "paused"
        assert len(await issued(world)) == 1
    await world.call("POST", "/customers/acme/payment-method", {"number": "4242424242424242"})
    resumed = await world.call("POST", f"{path}/resume")
    last = (await world.invoices("acme"))[-1]
    assert (resumed["status"], resumed["invoiceId"], last["status"]) == ("succeeded", last["id"], "paid")
    assert (await issued(world))[1:] == [("2026-02-15", "recurring", [BASE])]
    assert (await world.snapshot(acme)).status is SubscriptionStatus.ACTIVE
    await world.track(acme, "110", "2026-02-20T00:00:00Z")
    await world.call("POST", f"{path}/pause", {"mode": "period_end", "durationDays": 10})
    await world.call("POST", "/customers/acme/payment-method", {"number": "4000000000000002"})
    await world.now("2026-04-01T00:00:00Z")
    assert (await world.call("GET", path))["status"] == "past_due"
    assert (await issued(world))[2:] == [
        ("2026-03-15", "recurring", [("overage", 150)]),
        ("2026-03-25", "recurring", [BASE]),
    ]
    await proved(world)


async def test_a_draft_waits_until_it_is_sent(world: World) -> None:
    """R-SUB-5, R-SUB-3: assigned and not sent; nothing is granted, and another one supersedes it."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    draft = await begin(world, draft=True)
    assert (draft["status"], draft["currentPeriod"], draft["checkoutUrl"]) == ("draft", None, None)
    assert (await world.snapshot(acme)).terms is None
    other = await begin(world, draft=True)
    assert (await world.call("GET", f"/subscriptions/{draft['id']}"))["status"] == "canceled"
    await world.now("2026-01-05T00:00:00Z")
    sent = await world.call("POST", f"/subscriptions/{other['id']}/send")
    assert (sent["status"], sent["startDate"]) == ("active", day("2026-01-05"))
    assert await issued(world) == [("2026-01-05", "recurring", [BASE])]
    await world.call("POST", f"/subscriptions/{other['id']}/send", expect=409)


async def test_a_paid_plan_waits_for_its_payment(world: World) -> None:
    """R-SUB-3, R-SUB-10, R-FREE-6: the free plan stays in force until the first payment comes."""
    await with_payments(world)
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    free = await world.subscribe("acme", "free")
    assert (free["status"], free["checkoutUrl"]) == ("active", None)
    first = await begin(world)
    assert first["status"] == "pending_payment"
    assert first["checkoutUrl"].startswith("http")
    again = await begin(world)
    assert (await world.call("GET", f"/subscriptions/{first['id']}"))["status"] == "canceled"
    link = await world.call("POST", f"/subscriptions/{again['id']}/checkout")
    assert link["checkoutUrl"] not in (again["checkoutUrl"], None)
    assert (await world.call("GET", "/subscriptions/active", customerId="acme"))["id"] == free["id"]
    assert (await world.snapshot(acme)).terms.free
    await world.now("2026-01-03T00:00:00Z")
    await pay(world, again["id"])
    active = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert (active["id"], active["status"], active["checkoutUrl"]) == (again["id"], "active", None)
    assert (await world.call("GET", f"/subscriptions/{free['id']}"))["status"] == "canceled"
    assert await issued(world) == [("2026-01-03", "recurring", [BASE])]
    assert not (await world.snapshot(acme)).terms.free


async def test_a_trials_clock_starts_with_its_card(world: World) -> None:
    """R-TRIAL-3, R-TRIAL-4, AMB-24: before it nothing is open; without it the trial lapses."""
    await with_payments(world)
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world, customTrialDays=14)
    # Era A says `trialing`, the newer ones wait for the card (contract 3.15).
    assert (made["status"], made["trialEndsAt"]) == ("pending_payment", day("2026-01-15"))
    old = await world.call("GET", f"/../subscriptions/{made['id']}")
    assert old["data"]["status"] == "trialing"
    assert (await world.snapshot(acme)).terms is None
    await world.now("2026-01-04T00:00:00Z")
    await pay(world, made["id"])
    begun = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (begun["status"], begun["trialEndsAt"]) == ("trialing", day("2026-01-18"))
    assert (await world.snapshot(acme)).terms is not None
    await world.now("2026-01-18T00:00:00Z")
    assert await issued(world) == [("2026-01-18", "recurring", [BASE])]


async def test_a_trial_without_a_card_lapses_into_a_pending_payment(world: World) -> None:
    """R-SUB-5, AMB-24."""
    await with_payments(world)
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    made = await begin(world, customTrialDays=14)
    await world.now("2026-01-15T00:00:00Z")
    old = await world.call("GET", f"/../subscriptions/{made['id']}")
    assert (old["data"]["status"], old["data"]["trialEndsAt"]) == ("pending_payment", None)
    await pay(world, made["id"])
    assert await issued(world) == [("2026-01-15", "recurring", [BASE])]


async def test_a_free_plan_gives_way_to_a_paid_one_at_full_price(world: World) -> None:
    """R-FREE-6, R-CHG-7: no credit, and the free one is over."""
    await world.now("2026-01-10T00:00:00Z")
    await world.customer("acme")
    free = await world.subscribe("acme", "free")
    await world.now("2026-01-20T00:00:00Z")
    paid = await begin(world)
    assert (paid["status"], paid["currentPeriod"]["end"]) == ("active", day("2026-02-20"))
    assert (await world.call("GET", f"/subscriptions/{free['id']}"))["status"] == "canceled"
    assert await issued(world) == [("2026-01-20", "recurring", [BASE])]
    refused = await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "free"}, expect=409)
    assert refused["code"] == "already_has_active_subscription"


@pytest.mark.parametrize(("command", "body"), [("pause", {"mode": "immediate"}), ("resume", {}), ("uncancel", {})])
async def test_what_the_state_does_not_allow_changes_nothing(world: World, command: str, body: dict[str, str]) -> None:
    """R-SUB-5, R-SUB-9."""
    await world.now("2026-01-10T00:00:00Z")
    await world.customer("acme")
    made = await world.subscribe("acme", "free")
    before = [tuple(row) for row in await world.rows(tables.subscriptions)]
    await world.call("POST", f"/subscriptions/{made['id']}/{command}", body, expect=409)
    assert [tuple(row) for row in await world.rows(tables.subscriptions)] == before


async def test_a_deleted_customer_is_found_nowhere_and_nothing_is_collected(world: World) -> None:
    """R-CUST-9, AMB-57, R-BH-1: access stops at once; the seller's own id is free again."""
    await world.now("2026-01-01T00:00:00Z")
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    assert (await world.call("DELETE", "/customers/acme"))["deleted"] is True
    await world.call("GET", "/customers/acme", expect=404)
    await world.call("GET", f"/customers/{acme}", expect=404)
    assert (await world.call("GET", "/customers"))["data"] == []
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["status"] == "canceled"
    assert (await world.snapshot(acme)).status is SubscriptionStatus.CANCELED
    await world.now("2026-03-01T00:00:00Z")
    assert len(await world.rows(tables.invoices)) == 1
    assert await world.customer("acme") != acme


async def test_a_plan_deleted_with_a_strategy_cancels_or_migrates_at_renewal(world: World) -> None:
    """R-PLAN-9, R-SUB-14: nothing changes before; who migrates pays the new plan's price from then."""
    await world.now("2026-01-01T00:00:00Z")
    calls = ids.id_text(ids.FEATURE, world.calls)
    await world.plan("pro", 9900, calls, {"includedAmount": 500, "overage": OVERAGE})
    acme = await world.customer("acme")
    made = await begin(world)
    await world.call("DELETE", "/plans/starter?strategy=migrate&planId=pro")
    moving = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (moving["planName"], moving["scheduledPlanChange"]["newPlanName"]) == ("starter", "pro")
    assert moving["scheduledPlanChange"]["scheduledFor"] == day("2026-02-01")
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    moved = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (moved["planName"], moved["scheduledPlanChange"]) == ("pro", None)
    # Late usage still finds its own window and price.
    await world.track(acme, "10", "2026-01-06T00:00:00Z", accepted="2026-02-02T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-02-01", "recurring", [("plan_base", 9900), ("overage", 150)]),
        ("2026-03-01", "recurring", [("plan_base", 9900), ("late_usage", 15)]),
    ]


async def test_a_plan_deleted_with_cancel_ends_its_subscribers_at_renewal(world: World) -> None:
    """R-PLAN-9, R-BH-1: also on a free plan, at the end of its month."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await world.customer("frugal")
    made, free = await begin(world), await world.subscribe("frugal", "free")
    for code in ("starter", "free"):
        await world.call("DELETE", f"/plans/{code}?strategy=cancel")
    for one in (made, free):
        ending = await world.call("GET", f"/subscriptions/{one['id']}")
        assert (ending["cancelAtPeriodEnd"], ending["endDate"]) == (True, day("2026-02-01"))
    await world.now("2026-02-01T00:00:00Z")
    for one in (made, free):
        assert (await world.call("GET", f"/subscriptions/{one['id']}"))["status"] == "canceled"
    assert len(await issued(world)) == 1


async def test_a_newer_scheduled_change_takes_the_place_of_the_older(world: World) -> None:
    """R-SUB-14, R-CHG-6: one at most; the renewal has its plan and price, and takes no discount along."""
    await world.now("2026-01-01T00:00:00Z")
    calls = ids.id_text(ids.FEATURE, world.calls)
    cheap = await world.plan("cheap", 1900, calls, {"includedAmount": 1, "overage": OVERAGE})
    acme = await world.customer("acme")
    made = await begin(world)
    await world.call("POST", f"/subscriptions/{made['id']}/cancel")

    async def plan_for_renewal(plan_id: str | None) -> Any:
        change = None
        if plan_id is not None:
            change = ScheduledChange(
                kind=ChangeKind.DOWNGRADE, plan_id=plan_id, plan_name="x", interval=Interval.MONTHLY, requested_ms=0
            )
        async with world.sql.transaction() as connection:
            found = await subscriptions.read(connection, made["id"])
            await schedule(connection, found, change, parse_instant_us("2026-01-02") // 1000)
        await world.relay.show(acme)
        return await world.call("GET", f"/subscriptions/{made['id']}")

    shown = await plan_for_renewal(cheap)
    assert (shown["cancellation"], shown["scheduledPlanChange"]["newPlanId"]) == (None, cheap)
    assert (await world.snapshot(acme)).next.plan == cheap
    ending = await world.call("POST", f"/subscriptions/{made['id']}/cancel")
    assert (ending["cancelAtPeriodEnd"], ending["scheduledPlanChange"]) == (True, None)
    assert (await world.snapshot(acme)).next is None
    await plan_for_renewal(cheap)
    assert (await plan_for_renewal(None))["scheduledPlanChange"] is None
    await plan_for_renewal(cheap)
    await world.now("2026-02-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [("plan_base", 1900)])]
    after = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (after["planId"], after["plan"]["basePrice"]) == (cheap, 1900)
