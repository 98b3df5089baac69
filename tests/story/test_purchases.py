"""Packs, top-ups and cards over HTTP: what is paid is granted once, and a declined card leaves nothing behind."""

import asyncio
from typing import Any

import pytest

from billing import tables
from tests.story.harness import Api, Server
from tests.story.judged import changed, judged, proved
from tests.story.test_billing import World, world

__all__ = ["world"]  # a fixture

CARD, DECLINED = "4242 4242 4242 4242", "4000000000000002"


async def sold(world: World, model: str = "credits", *, free: bool = False) -> str:
    """Subscribe acme to a plan of the model, and return the subscription's id."""
    await world.now("2026-01-01T00:00:00Z")
    body: dict[str, Any] = {"name": model, "code": model, "consumptionModel": model, "isFree": free}
    if model == "credits":
        body["includedCredits"] = 1000
    plan = await world.call("POST", "/plans", body)
    if not free:
        await world.call("POST", f"/plans/{plan['id']}/prices", {"billingInterval": "monthly", "price": 9900})
    await world.customer("acme")
    made = await world.subscribe("acme", model)
    return str(made["id"])


async def pack(world: World, **changes: Any) -> str:
    made = await world.call("POST", "/credit-packs", {"name": "power", "credits": 500, "price": 4000, **changes})
    return str(made["id"])


async def shown(world: World) -> Any:
    [account] = await world.rows(tables.accounts)
    return await world.snapshot(account.customer_id)


async def simulator(world: World) -> None:
    await world.call("PATCH", "/organization", {"payments": "simulator"})


async def test_a_pack_is_invoiced_and_its_credits_are_there_with_the_answer(world: World) -> None:
    """R-PACK-3, R-CREDIT-3: DOC-INV-03; packs add up and outlive the renewal."""
    subscription = await sold(world)
    bought = await pack(world)
    await world.now("2026-01-10T00:00:00Z")
    made = await world.call("POST", f"/subscriptions/{subscription}/credits", {"creditPackId": bought})
    assert (made["credits"], made["object"], made["creditPackId"]) == (500, "credit_grant", bought)
    assert "x-meterline-visible" not in world.headers
    assert (await shown(world)).packs == 500 * 10**9
    invoice = (await world.invoices("acme"))[-1]
    assert (invoice["invoiceType"], invoice["total"], invoice["issueDate"][:10], invoice["id"]) == (
        "credit_purchase",
        4000,
        "2026-01-10",
        made["invoiceId"],
    )
    [line] = invoice["lineItems"]
    assert (line["kind"], line["lineType"], line["amount"]) == ("credit_pack", "one_time", 4000)
    assert "power" in line["description"]
    await world.call("POST", f"/subscriptions/{subscription}/credits", {"creditPackId": "power"})
    await world.now("2026-02-01T00:00:00Z")
    assert (await shown(world)).packs == 1000 * 10**9


async def test_a_top_up_counts_in_its_window(world: World) -> None:
    """R-TOPUP-2, R-TOPUP-3: DOC-INV-05; one window's top-ups are one sum."""
    subscription = await sold(world, "balance")
    topup = f"/subscriptions/{subscription}/balance/topup"
    made = await world.call("POST", topup, {"amount": 5000})
    assert (made["amount"], made["currency"], made["object"]) == (5000, "usd", "balance_topup")
    await world.call("POST", topup, {"amount": 150})
    await world.now("2026-02-01T00:00:00Z")
    await world.call("POST", topup, {"amount": 50})
    found = (await shown(world)).top_ups
    assert [(one.term, one.amount) for one in found] == [(1, 51_500_000_000), (1, 500_000_000)]
    assert found[1].window - found[0].window == 31
    invoice = next(one for one in await world.invoices("acme") if one["invoiceType"] == "balance_topup")
    assert [(one["kind"], one["amount"]) for one in invoice["lineItems"]] == [("balance_topup", 5000)]


@pytest.mark.parametrize(
    ("model", "path", "body", "status", "code"),
    [
        ("credits", "balance/topup", {"amount": 5000}, 400, "validation_error"),
        ("balance", "balance/topup", {"amount": 49}, 400, "validation_error"),
        ("balance", "balance/topup", {"amount": 10**13}, 400, "validation_error"),
        ("balance", "credits", {"creditPackId": "power"}, 400, "validation_error"),
        ("credits", "credits", {"creditPackId": "nothing"}, 404, "credit_pack_not_found"),
    ],
)
async def test_what_cannot_be_bought_changes_nothing(
    world: World, model: str, path: str, body: dict[str, Any], status: int, code: str
) -> None:
    """R-TOPUP-1, R-TOPUP-5, R-PACK-1."""
    subscription = await sold(world, model)
    await pack(world)
    refused = await world.call("POST", f"/subscriptions/{subscription}/{path}", body, expect=status)
    assert refused["code"] == code
    assert len(await world.invoices("acme")) == 1


async def test_nobody_buys_without_a_subscription(world: World) -> None:
    """R-PACK-2: nor after it has ended."""
    subscription = await sold(world)
    bought = {"creditPackId": await pack(world)}
    unknown = await world.call("POST", "/subscriptions/sub_nothing/credits", bought, expect=404)
    assert unknown["code"] == "subscription_not_found"
    await world.call("POST", f"/subscriptions/{subscription}/cancel", {"immediate": True})
    ended = await world.call("POST", f"/subscriptions/{subscription}/credits", bought, expect=409)
    assert ended["code"] == "invalid_subscription_status"


async def test_a_pack_for_chosen_plans_is_sold_on_these_alone(world: World) -> None:
    """R-PACK-1."""
    subscription = await sold(world)
    await world.call("POST", "/plans", {"name": "other", "code": "other", "consumptionModel": "credits"})
    bought = await pack(world, planIds=["other"])
    refused = await world.call("POST", f"/subscriptions/{subscription}/credits", {"creditPackId": bought}, expect=404)
    assert refused["code"] == "credit_pack_not_found"
    await world.call("PATCH", f"/credit-packs/{bought}", {"planIds": ["credits"]})
    await world.call("POST", f"/subscriptions/{subscription}/credits", {"creditPackId": bought})


async def test_a_free_plan_buys_and_has_invoices_for_that_alone(world: World) -> None:
    """R-FREE-2, R-FREE-4, R-PACK-2."""
    subscription = await sold(world, free=True)
    await world.call("POST", f"/subscriptions/{subscription}/credits", {"creditPackId": await pack(world)})
    assert [one["invoiceType"] for one in await world.invoices("acme")] == ["credit_purchase"]


async def test_a_card_pays_a_purchase_and_a_declined_one_changes_nothing(world: World) -> None:
    """R-DUN-5, R-PACK-3, R-CARD-2: no invoice, no credits, no payment; the same purchase then succeeds."""
    subscription = await sold(world)
    bought = {"creditPackId": await pack(world)}
    await simulator(world)
    path = f"/subscriptions/{subscription}/credits"
    assert (await world.call("POST", path, bought, expect=422))["code"] == "no_payment_method"
    saved = await world.call("POST", "/customers/acme/payment-method", {"number": DECLINED})
    assert saved["last4"] == "0002"
    assert (await world.call("POST", path, bought, expect=402))["code"] == "charge_failed"
    assert [one["invoiceType"] for one in await world.invoices("acme")] == ["recurring"]
    assert (await shown(world)).packs == 0
    assert await world.rows(tables.payments) == []
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    made = await world.call("POST", path, bought)
    paid = await world.call("GET", f"/invoices/{made['invoiceId']}")
    assert (paid["status"], paid["invoiceNumber"]) == ("paid", "INV-000002")
    [payment] = (await world.call("GET", "/payments", customerId="acme"))["data"]
    assert (payment["status"], payment["amountTotal"], payment["invoiceId"]) == ("succeeded", 4000, made["invoiceId"])
    assert (await world.call("GET", f"/payments/{payment['id']}"))["last4"] == "4242"
    await world.call("GET", "/payments/pay_nothing", expect=404)


async def test_credit_pays_first_and_the_card_the_rest(world: World) -> None:
    """R-CHG-11, R-PACK-3: what account credit covers needs no card."""
    subscription = await sold(world)
    bought = {"creditPackId": await pack(world)}
    await simulator(world)
    await world.call("POST", "/customers/acme/credits", {"amount": 5000, "currency": "usd", "reason": "gift"})
    path = f"/subscriptions/{subscription}/credits"
    first = await world.call("POST", path, bought)
    assert first["amountDue"] == 0
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    assert (await world.call("POST", path, bought))["amountDue"] == 3000
    [payment] = await world.rows(tables.payments)
    assert payment.amount_minor == 3000


async def test_what_is_given_goes_back_to_the_card_that_paid(world: World) -> None:
    """R-INV-5, AMB-19: unless the seller says otherwise, or no payment has so much left."""
    subscription = await sold(world)
    await simulator(world)
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})

    async def give(amount: int, expect: int = 200, **more: Any) -> Any:
        body = {"customerId": "acme", "amount": -amount, "reason": "outage", **more}
        made = await world.call("POST", "/invoices", body, expect=expect)
        return (made["refunded"], made["creditedToAccount"]) if expect == 200 else made["code"]

    assert await give(500) == (0, 500)
    assert await give(500, refund=True, expect=404) == "payment_not_found"
    await world.call("POST", f"/subscriptions/{subscription}/credits", {"creditPackId": await pack(world)})
    [payment] = await world.rows(tables.payments)
    assert payment.amount_minor == 3500
    assert await give(3000) == (3000, 0)
    assert await give(500, refund=False) == (0, 500)
    assert await give(501) == (0, 501)
    assert await give(500, refund=True) == (500, 0)
    refunds = await world.rows(tables.refunds)
    assert [(one.payment_id, one.amount_minor) for one in refunds] == [(payment.id, 3000), (payment.id, 500)]
    await proved(world)
    await changed(world, "UPDATE refunds SET amount_minor = amount_minor + 1 WHERE amount_minor = 500")
    assert (await judged(world))[0].kinds.keys() == {"account credit"}


async def test_a_repeated_purchase_is_paid_and_granted_once(world: World) -> None:
    """R-PACK-3: once per payment, however often it is asked under one key."""
    subscription = await sold(world)
    bought = {"creditPackId": await pack(world)}
    await simulator(world)
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD})
    path, key = f"/subscriptions/{subscription}/credits", {"Idempotency-Key": "k"}
    answers = await asyncio.gather(*(world.http.post(path, json=bought, headers=key) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(await world.rows(tables.payments)) == len(await world.rows(tables.pack_purchases)) == 1
    assert (await shown(world)).packs == 500 * 10**9


@pytest.mark.parametrize("number", ["4111111111111111", "42", "cards", ""])
async def test_only_test_cards_are_kept(world: World, number: str) -> None:
    """R-ENV-6, AMB-45."""
    await world.customer("acme")
    await simulator(world)
    refused = await world.call("POST", "/customers/acme/payment-method", {"number": number}, expect=400)
    assert refused["code"] == "validation_error"
    assert await world.rows(tables.saved_cards) == []


async def test_without_payments_no_card_is_kept(world: World) -> None:
    """Contract, decision 9."""
    await world.customer("acme")
    await world.call("POST", "/customers/acme/payment-method", {"number": CARD}, expect=402)


async def test_64_trackers_get_what_is_left_and_after_a_pack_exactly_what_it_adds(server: Server) -> None:
    """R-TRACK-23, R-CREDIT-5, R-PACK-3: 100 of 10 credits each from 1,000; after a pack of 500 exactly 50 more."""
    async with Api(server) as api:
        made = await api.call("POST", "/features", {"name": "Calls", "code": "calls", "type": "usage"})
        plan = await api.call(
            "POST",
            "/plans",
            {"name": "credits", "code": "credits", "consumptionModel": "credits", "includedCredits": 1000},
        )
        await api.call("POST", f"/plans/{plan['id']}/prices", {"billingInterval": "monthly", "price": 9900})
        granted = {"featureId": made["id"], "creditsPerUnit": 10}
        await api.call("POST", f"/plans/{plan['id']}/features", granted)
        await api.call("POST", "/credit-packs", {"name": "power", "credits": 500, "price": 4000})
        await api.customer("acme")
        subscription = await api.subscribe("acme", "credits")
        body = {"featureCode": "calls", "customerId": "acme", "value": 1}

        async def accepted(attempts: int) -> int:
            numbers, found = iter(range(attempts)), 0

            async def tracker() -> None:
                nonlocal found
                for number in numbers:
                    answer = await api.until_definite("/usage/events", body, f"{attempts}-{number}")
                    assert answer.status_code in (200, 402), answer.text
                    found += answer.status_code == 200

            await asyncio.gather(*(tracker() for _ in range(64)))
            return found

        assert subscription["credits"]["remaining"] == 1000
        assert await accepted(200) == 100
        await api.call("POST", f"/subscriptions/{subscription['id']}/credits", {"creditPackId": "power"})
        found = await api.call("GET", f"/subscriptions/{subscription['id']}")
        assert (found["consumptionModel"], found["balance"]) == ("credits", None)
        assert found["credits"] == {
            "remaining": 500,
            "included": 1000,
            "purchased": 500,
            "planDecimal": "0",
            "purchasedDecimal": "500",
        }
        assert await accepted(100) == 50
