"""Changes of plan over HTTP, on real stores: upgrades that are charged, downgrades that wait, previews."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from billing import tables
from billing.gateway.changing import choose
from billing.routes import plan_change
from kernel import ids
from tests.story.judged import changed, proved
from tests.story.test_billing import OVERAGE, World, world
from tests.story.test_subscription_life import begin, day, issued, with_payments

__all__ = ["world"]  # a fixture


async def offer(world: World) -> str:
    """Sell `pro` at 99.00 beside `starter` at 49.00 and `free`, all in one group; returns its id."""
    calls = ids.id_text(ids.FEATURE, world.calls)
    pro = await world.plan("pro", 9900, calls, {"includedAmount": 500, "overage": OVERAGE})
    group = (await world.call("POST", "/plan-groups", {"name": "all", "isPublic": True}))["id"]
    for place, plan in enumerate((world.free, world.starter, pro)):
        await world.call("POST", f"/plan-groups/{group}/plans", {"planId": plan, "sortOrder": place})
    return pro


async def change(world: World, subscription: str, *, expect: int = 200, **body: Any) -> Any:
    return await world.call("POST", f"/subscriptions/{subscription}/change-plan", body, expect=expect)


async def test_an_upgrade_is_charged_and_holds_at_once(world: World) -> None:
    """R-CHG-3, R-CHG-4, R-CHG-9."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    await world.now("2026-01-15T00:00:00Z")
    seen = await world.call("POST", f"/subscriptions/{made['id']}/preview-change", {"planId": pro})
    assert (seen["currentPlanCredit"], seen["newPlanCharge"], seen["estimatedTotal"]) == (2450, 4950 + 150, 2650)
    assert (seen["daysRemaining"], seen["totalDays"], seen["isUpgrade"]) == (15, 30, True)
    done = await change(world, made["id"], newPlanId=pro)
    assert (done["outcome"], done["previousPlan"]["name"], done["currentPlan"]["price"]) == (
        "completed",
        "starter",
        9900,
    )
    assert (done["billing"]["credit"], done["billing"]["charge"], done["billing"]["totalCharged"]) == (2450, 5100, 2650)
    now = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (now["planId"], now["nextBillingDate"]) == (pro, day("2026-02-15"))
    shown = await world.snapshot(acme)
    assert (shown.terms.number, shown.terms.plan, shown.next.since) == (2, pro, shown.terms.since + 31)
    await world.now("2026-02-15T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-01-15", "plan_change", [("proration_credit", -2450), ("proration_charge", 4950), ("overage", 150)]),
        ("2026-02-15", "recurring", [("plan_base", 9900)]),
    ]
    refused = await change(world, made["id"], newPlanId=pro, expect=400)
    assert refused["code"] == "no_change_requested"


async def seats_offer(world: World) -> str:
    """Sell `team` at 59.00 with 5 seats included, each further one 25.00, and `company` at 60.00 with 50."""
    member = await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"})
    group = (await world.call("POST", "/plan-groups", {"name": "seats", "isPublic": True}))["id"]
    made = []
    for place, (code, price, included) in enumerate((("team", 5900, 5), ("company", 6000, 50))):
        extra = {"enabled": True, "unitPriceDecimal": "25"}
        plan = await world.plan(code, price, member["id"], {"includedAmount": included, "overage": extra})
        await world.call("POST", f"/plan-groups/{group}/plans", {"planId": plan, "sortOrder": place})
        made.append(plan)
    return made[1]


async def test_what_is_credited_beyond_the_charge_pays_later_invoices(world: World) -> None:
    """R-CHG-11, R-CHG-12: 75.00 of seats that the new plan includes."""
    await world.now("2026-01-01T00:00:00Z")
    company = await seats_offer(world)
    await world.customer("acme")
    body = {"customerId": "acme", "planCode": "team", "initialSeats": {"member": 8}}
    made = await world.call("POST", "/subscriptions", body)
    await world.now("2026-01-15T00:00:00Z")
    done = await change(world, made["id"], newPlanId=company)
    assert done["billing"] == {
        "credit": 2950 + 3750,
        "creditsApplied": 0,
        "charge": 3000,
        "taxAmount": 0,
        "netAmount": -3700,
        "totalCharged": 0,
        "remainingCreditBalance": 3700,
    }
    await world.now("2026-02-15T00:00:00Z")
    assert (await issued(world))[2:] == [
        ("2026-02-15", "recurring", [("plan_base", 6000), ("account_credit_applied", -3700)])
    ]


async def test_a_downgrade_waits_for_the_renewal_and_can_be_taken_back(world: World) -> None:
    """R-CHG-6, R-BH-1, contract T52: nothing now; an upgrade drops it (R-SUB-14)."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    await world.customer("acme")
    made = await begin(world, planCode="pro")
    path = f"/subscriptions/{made['id']}"
    await world.now("2026-01-15T00:00:00Z")
    later = await change(world, made["id"], newPlanId=world.starter)
    assert (later["outcome"], later["scheduled"], later["changeType"]) == (
        "scheduled",
        True,
        "subscription.plan_downgrade",
    )
    assert (later["scheduledFor"], later["newPlanId"]) == (day("2026-02-01"), world.starter)
    refused = await world.call("POST", f"{path}/preview-change", {"planId": world.starter}, expect=400)
    assert refused["code"] == "plan_change_scheduled"
    back = await world.call("DELETE", f"{path}/scheduled-change")
    assert (back["planId"], back["scheduledPlanChange"]) == (pro, None)
    refused = await world.call("DELETE", f"{path}/scheduled-change", expect=400)
    assert refused["code"] == "no_change_requested"
    await change(world, made["id"], newPlanId=world.starter)
    await world.now("2026-02-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [("plan_base", 4900)])]
    down = await change(world, made["id"], newPlanId=world.free)
    assert (down["outcome"], "newBillingInterval" in down) == ("scheduled", False)
    await change(world, made["id"], newPlanId=pro)
    assert (await world.call("GET", path))["scheduledPlanChange"] is None


async def test_a_longer_interval_is_charged_now_and_a_shorter_one_waits(world: World) -> None:
    """R-CHG-5, R-INT-8, R-PRO-8."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("POST", f"/plans/{world.starter}/prices", {"billingInterval": "yearly", "price": 49000})
    await world.customer("acme")
    made = await begin(world, billingInterval="monthly")
    await world.now("2026-01-15T00:00:00Z")
    done = await change(world, made["id"], newBillingInterval="yearly")
    assert (done["outcome"], done["billingInterval"], done["billing"]["totalCharged"]) == ("completed", "yearly", 46550)
    later = await change(world, made["id"], newBillingInterval="monthly")
    assert (later["changeType"], later["newBillingInterval"]) == ("subscription.interval_change", "monthly")
    assert later["scheduledFor"] == day("2027-01-15")


async def test_paid_to_free_is_billed_its_last_overage_alone(world: World) -> None:
    """R-CHG-7, R-CHG-6."""
    await world.now("2026-01-01T00:00:00Z")
    await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    down = await change(world, made["id"], newPlanId=world.free)
    assert down["outcome"] == "scheduled"
    await world.now("2026-03-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [("overage", 150)])]
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["planId"] == world.free


async def test_free_to_paid_is_charged_in_full_or_waits_for_its_checkout(world: World) -> None:
    """R-CHG-7, R-FREE-6, contract T53."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    for reference in ("acme", "frugal"):
        await world.customer(reference)
    free, other = await world.subscribe("acme", "free"), await world.subscribe("frugal", "free")
    await world.now("2026-01-10T00:00:00Z")
    seen = await world.call("POST", f"/subscriptions/{free['id']}/preview-change", {"planId": pro})
    assert (seen["currentPlanCredit"], seen["newPlanCharge"], seen["isUpgrade"]) == (0, 9900, True)
    done = await change(world, free["id"], newPlanId=pro)
    assert (done["outcome"], done["previousPlan"]["name"], done["billing"]["credit"]) == ("completed", "free", 0)
    assert await issued(world) == [("2026-01-10", "recurring", [("plan_base", 9900)])]
    await with_payments(world)
    await world.now("2026-01-11T00:00:00Z")
    waiting = await change(world, other["id"], newPlanId=pro)
    assert (waiting["outcome"], waiting["requiresCheckout"]) == ("requires_checkout", True)
    assert waiting["checkoutUrl"].startswith("http")
    still = await world.call("GET", "/subscriptions/active", customerId="frugal")
    assert (still["id"], still["planName"]) == (other["id"], "free")


async def test_a_trial_switches_without_a_charge_and_keeps_its_end(world: World) -> None:
    """R-CHG-14."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world, customTrialDays=14)
    await world.now("2026-01-05T00:00:00Z")
    seen = await world.call("POST", f"/subscriptions/{made['id']}/preview-change", {"planId": pro})
    assert (seen["newPlanCharge"], seen["estimatedTotal"], seen["isUpgrade"]) == (0, 0, False)
    done = await change(world, made["id"], newPlanId=pro)
    assert (done["outcome"], "invoiceId" in done) == ("completed", False)
    now = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (now["status"], now["planId"], now["trialEndsAt"]) == ("trialing", pro, day("2026-01-15"))
    assert (await world.snapshot(acme)).terms.plan == pro
    refused = await change(world, made["id"], newPlanId=world.free, expect=400)
    assert refused["code"] == "free_plan_change_not_supported"
    await world.now("2026-01-15T00:00:00Z")
    assert await issued(world) == [("2026-01-15", "recurring", [("plan_base", 9900)])]


async def test_a_change_is_refused_beyond_the_group_and_while_past_due(world: World) -> None:
    """R-CHG-1, R-CHG-14, contract T54: and nothing changes."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    calls = ids.id_text(ids.FEATURE, world.calls)
    stranger = await world.plan("stranger", 19900, calls, {"includedAmount": 1})
    await world.customer("acme")
    made = await begin(world)
    refused = await change(world, made["id"], newPlanId=stranger, expect=400)
    assert refused["code"] == "plans_not_in_same_group"
    async with world.sql.transaction() as connection:
        await connection.execute(update(tables.subscriptions).values(status="past_due"))
    refused = await change(world, made["id"], newPlanId=pro, expect=409)
    assert refused["code"] == "invalid_subscription_status"
    assert len(await world.rows(tables.subscription_terms)) == 2
    assert await world.rows(tables.closes) == []


@pytest.mark.parametrize(
    ("card", "code", "status"), [("4000000000000002", "charge_failed", 402), (None, "no_payment_method", 422)]
)
async def test_an_upgrade_that_is_not_paid_changes_nothing(
    world: World, card: str | None, code: str, status: int
) -> None:
    """R-CHG-8, R-DUN-5: the cut that it took bills nothing, the renewal bills all."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.track(acme, "110", "2026-01-05T00:00:00Z")
    await with_payments(world)
    await world.now("2026-01-15T00:00:00Z")
    if card is not None:
        await world.call("POST", "/customers/acme/payment-method", {"number": card})
    refused = await change(world, made["id"], newPlanId=pro, expect=status)
    assert refused["code"] == code
    after = await world.call("GET", f"/subscriptions/{made['id']}")
    assert (after["planId"], after["status"], after["nextBillingDate"]) == (world.starter, "active", day("2026-02-01"))
    assert len(await world.rows(tables.invoices)) == 1
    [close] = await world.rows(tables.closes)
    assert (close.state, close.invoice_id, close.refusal) == ("settled", None, code)
    await world.track(acme, "100", "2026-01-20T00:00:00Z")
    await world.now("2026-02-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [("plan_base", 4900), ("overage", 300)])]


async def test_a_request_that_comes_twice_at_once_takes_one_cut(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-CHG-8: its twin begins and ends behind its back; the card is asked at one cut, and both are told the same.

    Its key is remembered for a day (contract 1.5.1): then it asks the card that is there.
    """
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    await world.customer("acme")
    made = await begin(world)
    await with_payments(world)
    await world.now("2026-01-15T00:00:00Z")
    await world.call("POST", "/customers/acme/payment-method", {"number": "4000000000000002"})
    path, body, key = f"/subscriptions/{made['id']}/change-plan", {"newPlanId": pro}, {"idempotency-key": "twice"}
    catch_up, twins = world.closer.catch_up, []

    async def after_its_twin(customer_id: str, now_ms: int) -> None:
        monkeypatch.setattr(world.closer, "catch_up", catch_up)
        twins.append(await world.http.post(path, json=body, headers=key))
        await catch_up(customer_id, now_ms)

    monkeypatch.setattr(world.closer, "catch_up", after_its_twin)
    answer = await world.http.post(path, json=body, headers=key)
    assert [(one.status_code, one.json()["code"]) for one in (*twins, answer)] == [(402, "charge_failed")] * 2
    [close] = await world.rows(tables.closes)
    assert (close.asked is not None, close.refusal) == (True, "charge_failed")
    await world.call("POST", "/customers/acme/payment-method", {"number": "4242424242424242"})
    assert (await world.http.post(path, json=body, headers=key)).status_code == 402
    for table in ("closes", "idempotent_requests"):
        await changed(world, f"UPDATE {table} SET created_ms = created_ms - 86400000")
    assert (await world.http.post(path, json=body, headers=key)).json()["outcome"] == "completed"


async def test_a_refused_change_is_answered_again_as_it_was(world: World) -> None:
    """Contract 1.5.4: also where it would be possible now, which another key tells."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    await world.customer("acme")
    made = await begin(world)
    path, body, key = f"/subscriptions/{made['id']}/change-plan", {"newPlanId": pro}, {"idempotency-key": "refused"}
    await world.call("POST", f"/subscriptions/{made['id']}/pause", {"mode": "immediate"})
    first = await world.http.post(path, json=body, headers=key)
    assert (first.status_code, first.json()["code"]) == (409, "invalid_subscription_status")
    await world.call("POST", f"/subscriptions/{made['id']}/resume")
    again = await world.http.post(path, json=body, headers=key)
    assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
    other = await world.http.post(path, json={"newPlanId": world.free}, headers=key)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_mismatch")
    assert (await change(world, made["id"], newPlanId=pro))["outcome"] == "completed"


async def test_a_closer_that_dies_between_cut_and_invoice_leaves_one_invoice(world: World) -> None:
    """R-INV-11, R-CHG-3: the request is asked again with its key, and several closers take the cut up."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-15T00:00:00Z")
    path, body, key = f"/subscriptions/{made['id']}/change-plan", {"newPlanId": pro}, {"idempotency-key": "once"}

    with world.closing_dies():
        first = await world.http.post(path, json=body, headers=key)
        other = await world.http.post(path, json={"newPlanId": world.free}, headers=key)
    assert first.status_code == 503
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_mismatch")
    assert await world.relay.show(acme)
    # What is used between the cut and the new terms is the old plan's, and late for it.
    await world.track(acme, "110", "2026-01-15T00:00:00Z")
    await asyncio.gather(*(world.new_closer().close_due() for _ in range(4)))
    second = await world.http.post(path, json=body, headers=key)
    assert (second.status_code, second.json()["outcome"]) == (200, "completed")
    third = await world.http.post(path, json=body, headers=key)
    assert (third.content, third.headers["idempotent-replayed"]) == (second.content, "true")
    await world.now("2026-02-15T00:00:00Z")
    assert [(kind, lines) for _, kind, lines in await issued(world)] == [
        ("recurring", [("plan_base", 4900)]),
        ("plan_change", [("proration_credit", -2450), ("proration_charge", 4950)]),
        ("recurring", [("plan_base", 9900), ("late_usage", 150)]),
    ]


@pytest.mark.parametrize("newer", ["cancel", "downgrade"])
async def test_what_is_scheduled_while_an_upgrade_waits_takes_its_place(world: World, newer: str) -> None:
    """R-SUB-14: what was answered holds, and the upgrade is neither charged nor carried out."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-15T00:00:00Z")
    path, key = f"/subscriptions/{made['id']}", {"idempotency-key": "early"}

    async def wait_for_nothing(*_: Any) -> None:
        return

    with world.closing_dies() as patched:
        patched.setattr(world.closer, "catch_up", wait_for_nothing)
        if newer == "cancel":  # an older one is what the upgrade takes back
            await world.call("POST", f"{path}/cancel")
        early = await world.http.post(f"{path}/change-plan", json={"newPlanId": pro}, headers=key)
        assert early.status_code == 503
        if newer == "cancel":
            answer = await world.call("POST", f"{path}/cancel")
            assert (answer["status"], answer["endDate"]) == ("active", day("2026-02-01"))
        else:
            answer = await change(world, made["id"], newPlanId=world.free)
            assert (answer["outcome"], answer["scheduledFor"]) == ("scheduled", day("2026-02-01"))
        again = await change(world, made["id"], newPlanId=pro, expect=409)
        assert again["code"] == "charge_in_progress"
    await world.closer.close_due()
    early = await world.http.post(f"{path}/change-plan", json={"newPlanId": pro}, headers=key)
    assert (early.status_code, early.json()["code"]) == (409, "already_scheduled")
    await world.track(acme, "110", "2026-01-20T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z")
    assert (await issued(world))[1:] == [("2026-02-01", "recurring", [("overage", 150)])]
    after = await world.call("GET", path)
    assert (after["status"], after["planId"]) == (
        ("canceled", world.starter) if newer == "cancel" else ("active", world.free)
    )


async def test_an_upgrade_that_became_a_downgrade_meanwhile_waits_for_the_renewal(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-CHG-6, R-CHG-2: another request, to a higher plan, is carried out between its look and its cut."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    top = await world.plan("top", 19900, ids.id_text(ids.FEATURE, world.calls), {"includedAmount": 1})
    [group] = (await world.call("GET", "/plan-groups"))["data"]
    await world.call("POST", f"/plan-groups/{group['id']}/plans", {"planId": top, "sortOrder": 3})
    await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-15T00:00:00Z")

    async def overtaken(*asked: Any) -> Any:
        monkeypatch.setattr(plan_change, "choose", choose)
        chosen = await choose(*asked)
        assert (await change(world, made["id"], newPlanId=top))["outcome"] == "completed"
        return chosen

    monkeypatch.setattr(plan_change, "choose", overtaken)
    later = await change(world, made["id"], newPlanId=pro)
    assert (later["outcome"], later["scheduledFor"]) == ("scheduled", day("2026-02-15"))
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["planId"] == top


async def test_a_change_after_a_boundary_that_is_not_closed_closes_it_first(world: World) -> None:
    """R-INV-11, R-PRO-8: it is prorated by the period that holds now."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    await world.customer("acme")
    made = await begin(world)
    await world.now("2026-02-15T00:00:00Z", bill=False)
    await change(world, made["id"], newPlanId=pro)
    assert (await issued(world))[1:] == [
        ("2026-02-01", "recurring", [("plan_base", 4900)]),
        ("2026-02-15", "plan_change", [("proration_credit", -2450), ("proration_charge", 4950)]),
    ]


async def test_what_happened_before_a_change_and_comes_late_still_counts(world: World) -> None:
    """R-TRACK-7, R-TRACK-10, R-TRACK-20: at the old plan's price, also after a renewal; not before the subscription."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    acme = await world.customer("acme")
    made = await begin(world)
    await world.now("2026-01-15T00:00:00Z")
    await change(world, made["id"], newPlanId=pro)
    await world.track(acme, "600", "2026-01-10T00:00:00Z", accepted="2026-01-16T00:00:00Z")
    await world.now("2026-02-15T00:00:00Z")
    await world.track(acme, "7", "2026-01-14T00:00:00Z", accepted="2026-02-16T00:00:00Z")
    await world.track(acme, "1", "2025-12-31T00:00:00Z", accepted="2026-02-16T00:00:00Z")
    await world.now("2026-03-15T00:00:00Z")
    assert (await issued(world))[2:] == [
        ("2026-02-15", "recurring", [("plan_base", 9900), ("late_usage", 885)]),
        ("2026-03-15", "recurring", [("plan_base", 9900), ("late_usage", 11)]),
    ]


@pytest.mark.parametrize("payments", ["none", "simulator"])
async def test_a_preview_of_free_to_paid_has_the_seats_that_are_charged(world: World, payments: str) -> None:
    """R-PORTAL-5, R-SEAT-6, R-CHG-12: five are held, two are included; what is previewed is what is charged."""
    await world.now("2026-01-01T00:00:00Z")
    pro = await offer(world)
    member = (await world.call("POST", "/features", {"name": "Member", "code": "member", "type": "seats"}))["id"]
    await world.call("POST", f"/plans/{world.free}/features", {"featureId": member, "includedAmount": 5})
    extra = {"enabled": True, "unitPriceDecimal": "25"}
    await world.call("POST", f"/plans/{pro}/features", {"featureId": member, "includedAmount": 2, "overage": extra})
    await world.call("PATCH", "/organization", {"payments": payments})
    await world.customer("acme")
    free = await world.subscribe("acme", "free")
    await world.call("POST", "/seats", {"customerId": "acme", "featureCode": "member", "count": 5})
    await world.now("2026-01-10T00:00:00Z")
    seen = await world.call("POST", f"/subscriptions/{free['id']}/preview-change", {"planId": pro})
    assert (seen["newPlanCharge"], seen["estimatedTotal"]) == (9900 + 3 * 2500, 17400)
    done = await change(world, free["id"], newPlanId=pro)
    if payments == "simulator":
        await world.call("POST", "/checkout/" + done["checkoutUrl"].rpartition("/")[2], {"number": "4242424242424242"})
    previewed = [(line["kind"], line["amount"]) for line in seen["lines"]]
    assert previewed == [("plan_base", 9900), ("seats", 7500)]
    assert await world.lines("acme") == [previewed]


@pytest.mark.parametrize(
    ("count", "share", "lines"),
    [
        ("30/360", (27, 30), [("proration_credit", -4410), ("proration_charge", 8910)]),
        ("actual", (28, 31), [("proration_credit", -4426), ("proration_charge", 8942)]),
    ],
)
async def test_a_period_that_was_paused_is_prorated_over_its_own_days(
    world: World, count: str, share: tuple[int, int], lines: list[tuple[str, int]]
) -> None:
    """R-PRO-2, R-PRO-5, contract T56: resumed on its second day, which is longer away from its end than a month."""
    await world.now("2026-01-01T00:00:00Z")
    await world.call("PATCH", "/organization", {"planChangeDayCount": count})
    pro = await offer(world)
    await world.customer("acme")
    path = f"/subscriptions/{(made := await begin(world))['id']}"
    await world.now("2026-01-02T00:00:00Z")
    await world.call("POST", f"{path}/pause", {"mode": "immediate", "durationDays": None})
    await world.now("2026-02-08T00:00:00Z")
    await world.call("POST", f"{path}/resume")
    await world.now("2026-02-09T00:00:00Z")
    seen = await world.call("POST", f"{path}/preview-change", {"planId": pro})
    assert (seen["daysRemaining"], seen["totalDays"]) == share
    await change(world, made["id"], newPlanId=pro)
    assert (await issued(world))[-1] == ("2026-02-09", "plan_change", lines)
    await proved(world)
