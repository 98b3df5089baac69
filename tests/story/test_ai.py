"""AI tokens over HTTP: priced by the catalog, with a frozen margin, drawn on a balance, and audited."""

import asyncio

from tests.story.harness import Api

OWN = {"inputPrice": "2.5", "outputPrice": "10", "cacheReadPrice": "1.25", "cacheWritePrice": "2.5"}


async def a_customer(api):
    """Sell 10 dollars of balance with an AI feature at a margin of 20 % and one of a fixed price."""
    chat, mails = await api.feature("chat"), await api.feature("mails")
    plan = await api.call(
        "POST",
        "/plans",
        {"name": "Talk", "code": "talk", "consumptionModel": "balance", "isPublic": True, "isFree": False},
    )
    prices = {"billingInterval": "monthly", "price": 1000, "isDefault": True}
    await api.call("POST", f"/plans/{plan['id']}/prices", prices)
    granted = {"pricingMode": "ai_model", "marginPercent": "20"}
    await api.call("POST", f"/plans/{plan['id']}/features", {"featureId": chat["id"], **granted})
    await api.call("POST", f"/plans/{plan['id']}/features", {"featureId": mails["id"], "unitPriceDecimal": "0.015"})
    await api.customer("acme")
    await api.subscribe("acme", "talk")


async def track(api, feature, *, expect=200, **members):
    body = {"customerId": "acme", "featureCode": feature, **members}
    return await api.call("POST", "/usage/events", body, expect=expect)


async def stored(api, count):
    """List the chat's events, newest first, once RAW has so many."""
    async with asyncio.timeout(60):
        while True:
            found = await listed(api)
            if len(found) == count:
                return found
            await asyncio.sleep(0.1)


async def listed(api):
    return (await api.call("GET", "/usage/events", customerId="acme", featureCode="chat"))["data"]


async def test_tokens_are_priced_and_drawn_on_the_balance(server):
    """R-AI-2, R-AI-9, R-AI-12."""
    async with Api(server) as api:
        await a_customer(api)
        await api.call("PUT", "/ai-models/openai/gpt-4o", OWN)
        told = await track(api, "chat", model="gpt-4o", inputTokens=1500, outputTokens=300, eventId="one")
        assert told["value"] == 1800
        assert told["consumption"] == {
            "model": "balance",
            "deducted": 0.81,
            "remaining": 999.19,
            "blocked": False,
            "deductedDecimal": "0.0081",
            "remainingDecimal": "9.9919",
            "costDecimal": "0.0081",
        }
        assert (told["costs"]["model"], told["costs"]["subtotal"], told["costs"]["total"]) == (
            "openai/gpt-4o",
            "0.00675",
            "0.0081",
        )
        cached = {"inputTokens": 10_000, "outputTokens": 500, "cacheReadTokens": 7_000, "cacheWriteTokens": 1_000}
        told = await track(api, "chat", model="openai/gpt-4o", **cached)
        # 2,000 x 2.5 + 500 x 10 + 7,000 x 1.25 + 1,000 x 2.5 a million, and a fifth more
        assert (told["costs"]["subtotal"], told["costs"]["total"]) == ("0.02125", "0.0255")
        assert told["costs"]["nonCachedInputTokens"] == 2_000

        access = await api.access("acme", "chat")
        assert (access["consumption"]["unitsUsed"], access["pool"]["remainingDecimal"]) == (12_300, "9.9664")
        found = await api.call("GET", "/subscriptions/active", customerId="acme")
        assert (found["consumptionModel"], found["credits"]) == ("balance", None)
        assert found["balance"] == {
            "remaining": 996.64,
            "included": 1000,
            "currency": "usd",
            "planDecimal": "9.9664",
            "topUpDecimal": "0",
            "overdraftDecimal": "0",
        }
        told = await track(api, "mails", value=2)
        assert told["consumption"]["remainingDecimal"] == "9.9364"
        assert [item["costs"]["total"] for item in await stored(api, 2)] == ["0.0255", "0.0081"]

        # A later price rates nothing again: the same request has the first answer's event, another has its cost.
        await api.call("PUT", "/ai-models/openai/gpt-4o", {**OWN, "inputPrice": "5"})
        dearer = await track(api, "chat", model="gpt-4o", inputTokens=1500, outputTokens=300)
        assert dearer["costs"]["total"] == "0.0126"
        again = await track(api, "chat", model="gpt-4o", inputTokens=1500, outputTokens=300, eventId="one", expect=409)
        assert again["error"]["details"]["conflict"] is False

        for feature, members, status, code in (
            ("mails", {"model": "gpt-4o", "inputTokens": 1, "outputTokens": 1}, 400, "pricing_mode_mismatch"),
            ("chat", {"value": 1}, 400, "pricing_mode_mismatch"),
            ("chat", {"model": "nope/x", "inputTokens": 1, "outputTokens": 1}, 404, "model_not_found"),
            (
                "chat",
                {"model": "gpt-4o", "inputTokens": 1, "outputTokens": 1, "cacheReadTokens": 2},
                400,
                "validation_error",
            ),
        ):
            refused = await track(api, feature, expect=status, **members)
            assert refused["error"]["code"] == code
        # The same request again, before and after the row is there, is told the first answer, at that one's prices.
        sent = {"customerId": "acme", "featureCode": "chat", "model": "gpt-4o", "inputTokens": 7, "outputTokens": 3}
        key = {"idempotency-key": "the-same"}
        first = await api.call("POST", "/usage/events", sent, headers=key)
        assert first["costs"]["priceVersion"]
        assert first["consumption"]["costDecimal"] == "0.000078"
        assert await api.call("POST", "/usage/events", sent, headers=key) == first
        async with asyncio.timeout(60):
            while first["id"] not in {one["id"] for one in await listed(api)}:
                await asyncio.sleep(0.1)
        await api.call("PUT", "/ai-models/openai/gpt-4o", OWN)
        assert await api.call("POST", "/usage/events", sent, headers=key) == first
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
