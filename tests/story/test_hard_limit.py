"""A hard limit holds under concurrency, through two gateways too, and while the server is killed (R-TRACK-23)."""

import asyncio
import collections

from tests.story.harness import Api

WRITERS = 64
INCLUDED = 1_000
ATTEMPTS = 1_600


async def race(server, api, plan, *, kill):
    await api.customer("acme")
    await api.subscribe("acme", plan)
    numbers = iter(range(ATTEMPTS))
    answers = collections.Counter()

    async def writer():
        for number in numbers:
            body = {"featureCode": "calls", "customerId": "acme", "value": 1}
            answer = await api.until_definite("/usage/events", body, f"try-{number}")
            answers[answer.status_code] += 1

    async def plug():
        while answers.total() < ATTEMPTS // 4:
            await asyncio.sleep(0.01)
        server.kill()
        await asyncio.to_thread(server.start)

    await asyncio.gather(*(writer() for _ in range(WRITERS)), *([plug()] if kill else []))
    access = await api.access("acme", "calls")
    return answers, access


async def limited(server, proof, *, kill):
    async with Api(server) as api:
        feature = await api.feature("calls")
        await api.plan(
            "small", {feature["id"]: {"includedAmount": INCLUDED, "overage": {"enabled": False}}}, price=1000
        )
        answers, access = await race(server, api, "small", kill=kill)
        proof(f"64 writers on {INCLUDED}: {dict(answers)}, used {access['consumption']['unitsUsed']}")
        assert answers == {200: INCLUDED, 402: ATTEMPTS - INCLUDED}
        assert access["consumption"]["unitsUsed"] == INCLUDED
        assert access["allowed"] is False
    _, verdict = server.command("audit")
    assert verdict["differences"] == []


async def test_64_writers_never_pass_the_limit(any_server, proof):
    await limited(any_server, proof, kill=False)


async def test_the_limit_holds_while_the_server_is_killed(server, proof):
    await limited(server, proof, kill=True)
