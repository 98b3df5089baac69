"""Killed at random moments under load: what was acknowledged is stored and counted once, nothing else is there."""

import asyncio
import os
import random
import signal
import time

import pytest

from tests.story.harness import SOAK, Api, Server, raw_rows

KILLS = 20 if SOAK else 5
CUSTOMERS = 20
WRITERS = 12


class Load:
    """Writers that send keyed events, one or twenty a request, and repeat each request until its answer is definite."""

    def __init__(self, api):
        self.api = api
        self.sent = {}
        self.acknowledged = set()
        self.running = True
        self.random = random.Random(7)

    async def writer(self, name):
        number = 0
        while self.running:
            events = []
            for _ in range(self.random.choice((1, 20))):
                key = f"{name}-{number}"
                number += 1
                value = self.random.choice((1, 2, 0.5))
                customer = f"customer-{self.random.randrange(CUSTOMERS)}"
                feature = self.random.choice(("calls", "capped"))
                events.append({"featureCode": feature, "customerId": customer, "value": value, "eventId": key})
                self.sent[key] = (customer, feature, value)
            if len(events) == 1:
                answer = await self.api.until_definite("/usage/events", events[0], f"request-{events[0]['eventId']}")
                taken = [events[0]["eventId"]] if answer.status_code == 200 else []
                assert answer.status_code in (200, 402), answer.text
            else:
                taken = await self.batch(events)
            self.acknowledged.update(taken)

    async def batch(self, events):
        """Send a batch; what it says is unknown is sent again, byte for byte."""
        taken = []
        until = time.monotonic() + 120
        while True:
            answer = await self.api.until_definite(
                "/usage/events/batch", {"events": events}, f"batch-{events[0]['eventId']}"
            )
            assert answer.status_code == 200, answer.text
            results = answer.json()["results"]
            taken += [
                event["eventId"] for event, one in zip(events, results, strict=True) if one["status"] == "accepted"
            ]
            unknown = [one for one in results if one["status"] == "failed"]
            strange = [one for one in results if one["status"] not in ("accepted", "blocked", "failed")]
            assert not strange, strange[:3]
            if not unknown:
                return taken
            assert time.monotonic() < until, unknown[:3]
            await asyncio.sleep(0.1)


async def prepare(api):
    calls, capped = await api.feature("calls"), await api.feature("capped")
    settings = {
        calls["id"]: {"includedAmount": 10, "overage": {"enabled": True, "unitPriceDecimal": "0.001"}},
        capped["id"]: {"includedAmount": 60, "overage": {"enabled": False}},
    }
    await api.plan("mixed", settings, price=2000)
    for number in range(CUSTOMERS):
        await api.customer(f"customer-{number}")
        await api.subscribe(f"customer-{number}", "mixed")


async def check(server, api, load):
    """Compare what was acknowledged with RAW and LIVE, and ask the audit."""
    balances = {}
    for number in range(CUSTOMERS):
        for feature in ("calls", "capped"):
            access = await api.access(f"customer-{number}", feature)
            balances[f"customer-{number}", feature] = access["consumption"]["unitsUsed"]
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
    server.stop()
    rows = raw_rows(
        server, "SELECT key, count(), any(quantity)::String FROM events FINAL WHERE verdict = 'counted' GROUP BY key"
    )
    counted = {key: int(times) for key, times, _ in rows}
    assert [key for key, times in counted.items() if times != 1] == []
    assert load.acknowledged - counted.keys() == set(), "acknowledged and not counted"
    assert counted.keys() - load.sent.keys() == set(), "counted and never sent"
    assert counted.keys() - load.acknowledged == set(), "counted and answered otherwise"
    sums = dict.fromkeys(balances, 0)
    for key in counted:
        customer, feature, value = load.sent[key]
        sums[customer, feature] += value
    assert sums == balances
    return len(counted)


async def under_fire(server: Server, shoot, kills, proof):
    async with Api(server) as api:
        await prepare(api)
        load = Load(api)
        writers = [asyncio.create_task(load.writer(f"writer{n}")) for n in range(WRITERS)]
        chance = random.Random(11)
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.3, 1.5))
            await shoot(server)
        await asyncio.sleep(1)
        load.running = False
        await asyncio.gather(*writers)
        counted = await check(server, api, load)
        proof(f"{kills} kills: {len(load.sent)} sent, {len(load.acknowledged)} acknowledged, {counted} counted once")
        assert counted > 100


async def shoot_server(server):
    server.kill()
    await asyncio.to_thread(server.start)


def shoot_child(name):
    async def shoot(server):
        os.kill(server.children()[name], signal.SIGKILL)
        await asyncio.to_thread(server.wait_ready)

    return shoot


@pytest.mark.parametrize("target", ["server", "log", "live"])
async def test_sigkill_under_load(server, target, proof):
    shoot = shoot_server if target == "server" else shoot_child(target)
    await under_fire(server, shoot, KILLS, proof)
