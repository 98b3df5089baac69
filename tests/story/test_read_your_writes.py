"""Each call sees the effect of the one before it, without `minPosition` (R-TRACK-24, DESIGN 3.7)."""

import asyncio

from tests.story.harness import SOAK, Api

ROUNDS = 1_000 if SOAK else 100
CALLERS = 16


async def test_create_subscribe_track_can_use(any_server, proof):
    async with Api(any_server) as api:
        feature = await api.feature("calls")
        await api.plan("small", {feature["id"]: {"includedAmount": 2, "overage": {"enabled": False}}}, price=1000)
        numbers = iter(range(ROUNDS))

        async def caller():
            for number in numbers:
                who = f"customer-{number}"
                await api.customer(who)
                await api.subscribe(who, "small")
                event = {"featureCode": "calls", "customerId": who, "value": 1, "eventId": "one"}
                first = await api.call("POST", "/usage/events", event)
                assert first.get("pending") is not True
                seen = await api.call("GET", "/feature-access/calls", customerId=who, action="canUse")
                assert seen["allowed"] is True, (who, seen)
                await api.call("POST", "/usage/events", {**event, "eventId": "two"})
                seen = await api.call("GET", "/feature-access/calls", customerId=who, action="canUse")
                assert seen["allowed"] is False, (who, seen)
                access = await api.access(who, "calls")
                assert access["consumption"]["unitsUsed"] == 2, (who, access)

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        proof(f"{ROUNDS} rounds: no refusal, no stale answer")
