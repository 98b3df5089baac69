"""Top-ups left as a free plan ends or a trial switches, without a charge: a balance takes them over, else credit."""

import asyncio
from typing import Any

import pytest

from billing import tables
from kernel import ids
from kernel.period import parse_instant_us
from tests.story.judged import changed, judged, proved
from tests.story.test_billing import World, world
from tests.story.test_invoice_status import set_status
from tests.story.test_plan_change import change
from tests.story.test_subscription_life import day, issued, with_payments

__all__ = ["world"]  # a fixture

CARD = "4242 4242 4242 4242"


async def wallet(world: World, code: str, price: int | None, included: int = 0) -> str:
    """Sell a balance plan; a call costs 0.50."""
    body = {"name": code, "code": code, "consumptionModel": "balance", "isFree": price is None}
    plan = await world.call("POST", "/plans", {**body, "includedBalance": included})
    if price is not None:
        await world.call("POST", f"/plans/{plan['id']}/prices", {"billingInterval": "monthly", "price": price})
    granted = {"featureId": ids.id_text(ids.FEATURE, world.calls), "overage": {"unitPriceDecimal": "0.5"}}
    await world.call("POST", f"/plans/{plan['id']}/features", granted)
    return str(plan["id"])


async def topped_up(world: World, code: str, **body: Any) -> tuple[str, str]:
    """Subscribe acme on 1 January, buy 50.00 and use 20.00 of them; returns customer and subscription."""
    acme = await world.customer("acme")
    made = await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": code, **body})
    await world.call("POST", f"/subscriptions/{made['id']}/balance/topup", {"amount": 5000})
    await world.track(acme, "40", "2026-01-05T00:00:00Z")
    await world.now("2026-01-10T00:00:00Z")
    return acme, str(made["id"])


async def given(world: World) -> list[tuple[int, int]]:
    """Tell what each credit gave and has left; each says where it comes from."""
    found = (await world.call("GET", "/customers/acme/credits"))["data"]
    assert {(one["source"], one["reason"]) for one in found} <= {("plan_change", "Top-ups left at a change of plan")}
    return [(one["amount"], one["remainingAmount"]) for one in found]


async def test_what_is_left_on_a_free_plan_becomes_credit_once(world: World) -> None:
    """R-MODEL-3, R-BAL-5, R-FREE-6, AMB-20: 30.00, which the next invoice uses; asked twice under one key."""
    await world.now("2026-01-01T00:00:00Z")
    purse = await wallet(world, "purse", None)
    await world.group(purse, world.starter)
    _, free = await topped_up(world, "purse")
    path, body, key = f"/subscriptions/{free}/change-plan", {"newPlanId": world.starter}, {"idempotency-key": "once"}
    first, second = [await world.http.post(path, json=body, headers=key) for _ in range(2)]
    assert (first.status_code, first.json()["outcome"], first.json()["billing"]["totalCharged"]) == (
        200,
        "completed",
        4900,
    )
    assert (second.content, second.headers["idempotent-replayed"]) == (first.content, "true")
    assert await given(world) == [(3000, 3000)]
    [close] = await world.rows(tables.closes)
    [credit] = await world.rows(tables.account_credits)
    [explained] = (await world.call("GET", f"/explain/{close.id}"))["closes"]
    assert explained["givenBack"] == {"rule": "R-MODEL-3", "term": 1, "credit": credit.id, "amount": 3000}
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert ("account_credit_applied", -3000) in [(line["kind"], line["amount"]) for line in upcoming["lineItems"]]
    await world.now("2026-02-10T00:00:00Z")
    assert await issued(world) == [
        ("2026-01-01", "balance_topup", [("balance_topup", 5000)]),
        ("2026-01-10", "recurring", [("plan_base", 4900)]),
        ("2026-02-10", "recurring", [("plan_base", 4900), ("account_credit_applied", -3000)]),
    ]
    assert await given(world) == [(3000, 0)]
    assert len(await world.rows(tables.closes)) == 2
    await proved(world)
    await changed(world, "UPDATE account_credits SET amount_minor = 3100, left_minor = 100")
    assert (await judged(world))[0].kinds.keys() == {"account credit"}


@pytest.mark.parametrize(("more", "credited"), [(0, []), (4000, [(4000, 4000)])])
async def test_what_a_void_invoice_topped_up_is_no_credit(world: World, more: int, credited: list[Any]) -> None:
    """R-TOPUP-2, AMB-11, AMB-20: it can be used, and is used first; nobody paid it, so no money comes of it."""
    await world.now("2026-01-01T00:00:00Z")
    purse = await wallet(world, "purse", None)
    await world.group(purse, world.starter)
    _, free = await topped_up(world, "purse")
    if more:
        await world.call("POST", f"/subscriptions/{free}/balance/topup", {"amount": more})
    await set_status(world, (await world.invoices("acme"))[0], "void")
    await change(world, free, newPlanId=world.starter)
    assert await given(world) == credited
    await proved(world)
    await changed(world, "UPDATE invoices SET voided_ms = NULL")
    assert (await judged(world))[0].kinds.keys() == {"account credit"}


async def test_a_trial_that_switches_to_another_model_gets_back_what_is_left(world: World) -> None:
    """R-CHG-14, R-TRIAL-8, R-TOPUP-3: 5.00 of the plan go first; the first paid invoice uses the credit."""
    await world.now("2026-01-01T00:00:00Z")
    await world.group(await wallet(world, "purse", 5000, 500), world.starter)
    acme, trial = await topped_up(world, "purse", customTrialDays=14)
    done = await change(world, trial, newPlanId=world.starter)
    assert (done["outcome"], "invoiceId" in done) == ("completed", False)
    assert await given(world) == [(3500, 3500)]
    shown = await world.snapshot(acme)
    assert (shown.terms.number, shown.terms.model, shown.cut) == (3, "metered", 1)
    await world.now("2026-01-15T00:00:00Z")
    assert (await issued(world))[1:] == [
        ("2026-01-15", "recurring", [("plan_base", 4900), ("account_credit_applied", -3500)])
    ]
    await proved(world)


async def test_another_balance_takes_them_over_and_gives_nothing(world: World) -> None:
    """R-CHG-14, R-FREE-6, AMB-20: no cut, no credit; and none where nothing was bought."""
    await world.now("2026-01-01T00:00:00Z")
    purse, other, paid = [await wallet(world, *one) for one in (("purse", None), ("other", None), ("paid", 1000))]
    await world.group(purse, other, world.free, paid)
    acme, free = await topped_up(world, "purse")
    await change(world, free, newPlanId=other)
    await change(world, free, newPlanId=paid)
    await world.customer("frugal")
    untouched = await world.subscribe("frugal", "purse")
    assert (await change(world, untouched["id"], newPlanId=world.free))["outcome"] == "completed"
    assert (await given(world), await world.rows(tables.closes)) == ([], [])
    await world.track(acme, "61", "2026-01-11T00:00:00Z")  # 30.50: all that was bought, and the overdraft of 0.50
    await world.now("2026-02-10T00:00:00Z")
    assert (await issued(world))[2:] == [
        ("2026-02-10", "recurring", [("plan_base", 1000), ("balance_overage", 50)]),
    ]
    await proved(world)


async def test_a_paid_plan_takes_over_what_was_bought_before_the_free_one_changed(world: World) -> None:
    """R-FREE-8, AMB-20: the free plan changes twice, each for its next month; neither is a renewal."""
    await world.now("2026-01-01T00:00:00Z")
    purse, paid = [await wallet(world, *one) for one in (("purse", None), ("paid", 1000))]
    await world.group(purse, paid)
    acme, free = await topped_up(world, "purse")
    for price, instant in (("0.6", "2026-02-05T00:00:00Z"), ("0.7", "2026-02-06T00:00:00Z")):
        rate = {"overage": {"unitPriceDecimal": price}}
        await world.call("PATCH", f"/plans/{purse}/features/calls", rate)
        await world.now(instant)
    await change(world, free, newPlanId=paid)
    active = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert active["balance"]["topUpDecimal"] == "30"
    await world.track(acme, "61", "2026-02-07T00:00:00Z")  # 30.50: all that was bought, and the overdraft of 0.50
    await world.now("2026-03-06T00:00:00Z")
    assert (await issued(world))[2:] == [
        ("2026-03-06", "recurring", [("plan_base", 1000), ("balance_overage", 50)]),
    ]
    await proved(world)


async def test_a_closer_that_dies_before_the_credit_leaves_one(world: World) -> None:
    """R-CHG-14, R-INV-11: between free plans; several closers take the cut up, and a cancel waits for none."""
    await world.now("2026-01-01T00:00:00Z")
    purse = await wallet(world, "purse", None)
    await world.group(purse, world.free)
    _, free = await topped_up(world, "purse")
    with world.closing_dies():
        assert (await change(world, free, newPlanId=world.free))["outcome"] == "completed"
    assert await given(world) == []
    assert (await world.call("POST", f"/subscriptions/{free}/cancel"))["status"] == "canceled"
    await asyncio.gather(*(world.new_closer().close_due() for _ in range(4)))
    assert await given(world) == [(3000, 3000)]
    assert [close.state for close in await world.rows(tables.closes)] == ["settled"]
    assert [account.open_cut for account in await world.rows(tables.accounts)] == [None]
    await proved(world)


@pytest.mark.parametrize(("settled", "minor"), [("2026-01-10T00:00:00Z", 1000), ("2026-02-01T00:00:00Z", 3000)])
async def test_an_upgrade_gives_back_what_is_left_when_its_terms_begin(world: World, settled: str, minor: int) -> None:
    """R-MODEL-3, R-TOPUP-3, R-CHG-3: 30.00 are left at its cut; of them 20.00 are drawn until it is settled.

    What is used when the period is over draws on none of them.
    """
    await world.now("2026-01-01T00:00:00Z")
    purse = await wallet(world, "purse", 1000)
    await world.group(purse, world.starter)
    acme, made = await topped_up(world, "purse")
    path, body, key = f"/subscriptions/{made}/change-plan", {"newPlanId": world.starter}, {"idempotency-key": "once"}
    with world.closing_dies():
        assert (await world.http.post(path, json=body, headers=key)).status_code == 503
    await world.relay.show(acme)
    await world.now(settled, bill=False)
    await world.track(acme, "40", settled)
    await asyncio.gather(*(world.new_closer().close_due() for _ in range(4)))
    answer = (await world.http.post(path, json=body, headers=key)).json()
    assert (answer["outcome"], answer["billing"]["remainingCreditBalance"]) == ("completed", minor)
    assert await given(world) == [(minor, minor)]
    assert [(close.state, close.returns_term) for close in await world.rows(tables.closes)] == [
        ("settled", None),
        ("settled", 1),
    ]
    await proved(world)
    await changed(world, "UPDATE closes SET returns_term = NULL")
    assert (await judged(world))[0].kinds.keys() == {"account credit"}


async def test_a_checkout_gives_back_what_the_free_plan_leaves(world: World) -> None:
    """R-FREE-6, R-DUN-5: with the payment, not before it; while another cut is open it is asked again."""
    await world.now("2026-01-01T00:00:00Z")
    await wallet(world, "purse", None)
    acme, _ = await topped_up(world, "purse")
    await with_payments(world)
    await world.now("2026-01-11T00:00:00Z")
    waiting = await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "starter"})
    path = f"/checkout/{waiting['checkoutUrl'].rpartition('/')[2]}"
    assert (await world.call("POST", path, {"number": "4000000000000002"}, expect=402))["code"] == "charge_failed"
    await changed(world, "UPDATE accounts SET open_cut = 7")
    assert (await world.call("POST", path, {"number": CARD}, expect=503))["code"] == "service_unavailable"
    assert (await world.rows(tables.closes), await world.rows(tables.payments)) == ([], [])
    await changed(world, "UPDATE accounts SET open_cut = NULL")
    assert (await world.call("POST", path, {"number": CARD}))["status"] == "active"
    await world.track(acme, "12", "2026-01-11T00:00:00Z")  # of the new plan: ten are included
    await world.closer.close_due()
    assert await given(world) == [(3000, 3000)]
    await world.now("2026-02-11T00:00:00Z")
    assert (await issued(world))[2:] == [
        ("2026-02-11", "recurring", [("plan_base", 4900), ("overage", 3), ("account_credit_applied", -3000)])
    ]
    await proved(world)


async def test_a_deleted_free_plan_that_moves_to_another_model_gives_back(world: World) -> None:
    """R-PLAN-9, R-MODEL-3, AMB-20."""
    await world.now("2026-01-01T00:00:00Z")
    await wallet(world, "purse", None)
    acme, free = await topped_up(world, "purse")
    await world.call("DELETE", f"/plans/purse?strategy=migrate&planId={world.free}")
    await world.closer.close_due()
    moved = await world.call("GET", f"/subscriptions/{free}")
    assert (moved["planId"], moved["status"]) == (world.free, "active")
    assert (await world.snapshot(acme)).terms.start_us == parse_instant_us(day("2026-01-10"))
    assert await given(world) == [(3000, 3000)]
    await proved(world)
