"""Killed at random moments under load: what was acknowledged is stored and counted once, nothing else is there."""

import asyncio
import os
import random
import signal
import time
from decimal import ROUND_HALF_UP, Decimal

import pytest

from tests.story.cluster import started
from tests.story.harness import SOAK, Api

KILLS = 20 if SOAK else 3
CUSTOMERS = 20
WRITERS = 12
INCLUDED, PRICE = 10, Decimal("0.013")
AWAY_SECONDS = 30 if SOAK else 6


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
        calls["id"]: {"includedAmount": INCLUDED, "overage": {"enabled": True, "unitPriceDecimal": str(PRICE)}},
        capped["id"]: {"includedAmount": 60, "overage": {"enabled": False}},
    }
    await api.plan("mixed", settings, price=2000)
    for number in range(CUSTOMERS):
        await api.customer(f"customer-{number}")
        await api.subscribe(f"customer-{number}", "mixed")


async def balances(api):
    found = {}
    for number in range(CUSTOMERS):
        for feature in ("calls", "capped"):
            access = await api.access(f"customer-{number}", feature)
            found[f"customer-{number}", feature] = access["consumption"]["unitsUsed"]
    return found


async def check(server, load, live):
    """Compare what was acknowledged with RAW and LIVE, and ask the audit; returns usage by customer and feature."""
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
    rows = server.raw_rows("SELECT key, count() FROM events FINAL WHERE verdict = 'counted' GROUP BY key")
    counted = {key: int(times) for key, times in rows}
    assert [key for key, times in counted.items() if times != 1] == []
    assert load.acknowledged - counted.keys() == set(), "acknowledged and not counted"
    assert counted.keys() - load.sent.keys() == set(), "counted and never sent"
    assert counted.keys() - load.acknowledged == set(), "counted and answered otherwise"
    sums = dict.fromkeys(live, 0)
    for key in counted:
        customer, feature, value = load.sent[key]
        sums[customer, feature] += value
    assert sums == live
    return sums


async def clock(api, instant):
    await api.call("POST", "/test-clock", {"frozenTime": instant}, expect=202)


async def invoiced(api):
    """Close the month and read what each customer's invoice says of `calls`, in cents."""
    await clock(api, "2026-02-15T00:00:00Z")
    found = {}
    for number in range(CUSTOMERS):
        customer = f"customer-{number}"
        page = await api.call("GET", "/invoices", customerId=customer)
        assert len(page["data"]) == 2, (customer, page)
        invoices = [await api.call("GET", f"/invoices/{item['id']}") for item in page["data"]]
        found[customer] = [line["amount"] for one in invoices for line in one["lineItems"] if line["kind"] == "overage"]
    return found


async def under_fire(server, shoot, kills, proof):
    """Shoot while writers send; then compare what was answered with RAW, LIVE and the invoices, and ask the audit."""
    async with Api(server) as api:
        await clock(api, "2026-01-15T00:00:00Z")
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
        live = await balances(api)
        invoices = await invoiced(api)
        sums = await check(server, load, live)
        for customer, amounts in invoices.items():
            over = (Decimal(str(sums[customer, "calls"])) - INCLUDED) * PRICE * 100
            cents = int(over.quantize(Decimal(1), rounding=ROUND_HALF_UP))
            assert amounts == ([cents] if cents > 0 else []), customer
        acknowledged = len(load.acknowledged)
        proof(f"{kills} kills: {len(load.sent)} sent, {acknowledged} acknowledged, stored, counted and invoiced once")
        assert acknowledged > 100


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
    await under_fire(server, shoot, KILLS if SOAK else 3, proof)


async def test_processes_are_killed_and_stores_are_away_under_load(cluster, room, servers, proof):
    """Each kill takes one of four processes at random, and every one of them dies once at least; then the stores.

    The log and LIVE are killed and started again; RAW refuses, then SQL is away, for AWAY_SECONDS each.
    """
    chance = random.Random(5)
    targets = [*cluster.gateways, *cluster.aggregators]
    order = targets + [chance.choice(targets) for _ in range(KILLS - len(targets))]
    died = []
    stores = (servers.kafka, room.live, servers.clickhouse, servers.postgres)
    left = iter(stores)

    async def kill(process):
        pid = process.pid
        process.kill()
        died.append((pid, process.returncode))
        print(f"{process.product} pid {pid} ended by signal {-process.returncode}")
        await asyncio.sleep(chance.uniform(0, 1))
        await started(process)

    async def take_away(server):
        print(f"{server.told()}: away")
        if server is servers.clickhouse:
            server.refuse()
            await asyncio.sleep(AWAY_SECONDS)
            server.accept()
        else:
            server.kill()
            await asyncio.sleep(AWAY_SECONDS if server is servers.postgres else 0)
            await started(server)
        print(f"{server.told()}: back")
        await asyncio.to_thread(cluster.wait_ready)

    async def shoot(_):
        if len(died) < len(order):
            await kill(order[len(died)])
        else:
            await take_away(next(left))

    await under_fire(cluster, shoot, len(order) + len(stores), proof)
    assert next(left, None) is None
    assert len({pid for pid, _ in died}) == len(died) == len(order), "one that is killed is another one than before"
    assert {code for _, code in died} == {-signal.SIGKILL}
    proof(f"{len(died)} processes ended by SIGKILL, all different; each of {len(stores)} stores was away")
