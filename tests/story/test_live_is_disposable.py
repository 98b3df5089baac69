"""LIVE's Valkey is wiped while usage arrives; it is rebuilt byte for byte and nothing is lost (DESIGN 3.9)."""

import asyncio
import time
from pathlib import Path

import psutil
import redis.asyncio

from tests.story.harness import Api

CUSTOMERS = 12
LANES = 4


def live_socket(server):
    """Find the unix socket of LIVE's Valkey on its process."""
    pid = server.children()["live"]
    inodes = {line.rsplit(None, 1)[-1] for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()}
    sockets = [c.laddr for c in psutil.Process(pid).net_connections("unix") if c.laddr]
    assert sockets, inodes
    return sockets[0]


async def dump(client):
    """Read accounts, snapshots, keys and the counters that a rebuild has to bring back."""
    found = {}
    async for key in client.scan_iter(count=1000):
        if key.endswith((b"}a", b"}t")) or b"}k:" in key:
            found[key] = await client.hgetall(key)
        elif key.endswith(b"}h"):
            header = await client.hgetall(key)
            found[key] = {name: header[name] for name in (b"epoch", b"rules", b"next", b"clock", b"state")}
    return found


async def quiet(client):
    """Wait until everything folded is sunk."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        headers = [await client.hgetall(key) async for key in client.scan_iter(match="*}h")]
        done = [h for h in headers if h.get(b"state") == b"ready" and h[b"next"] == h[b"sunk"]]
        if len(done) == LANES:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the sink did not catch up")


async def test_wiped_and_rebuilt(server, proof):
    async with Api(server) as api:
        free, capped = await api.feature("free"), await api.feature("capped")
        settings = {
            free["id"]: {"unlimited": True},
            capped["id"]: {"includedAmount": 5, "overage": {"enabled": False}},
        }
        await api.plan("mixed", settings, price=1000)
        for number in range(CUSTOMERS):
            await api.customer(f"customer-{number}")
            await api.subscribe(f"customer-{number}", "mixed")

        async def track(number, feature="free"):
            body = {
                "featureCode": feature,
                "customerId": f"customer-{number % CUSTOMERS}",
                "value": 1,
                "eventId": f"{feature}-{number}",
            }
            return await api.until_definite("/usage/events", body, f"{feature}-{number}")

        async def all_access():
            answers = {}
            for number in range(CUSTOMERS):
                for code in ("free", "capped"):
                    answer = await api.access(f"customer-{number}", code)
                    answers[number, code] = {k: v for k, v in answer.items() if k not in ("asOf", "lagMs")}
            return answers

        statuses = [(await track(number)).status_code for number in range(100)]
        statuses += [(await track(number, "capped")).status_code for number in range(100)]
        assert statuses.count(402) == 100 - 5 * CUSTOMERS
        client = redis.asyncio.Redis(unix_socket_path=live_socket(server))
        await quiet(client)
        before, access_before = await dump(client), await all_access()
        assert len(before) > 4

        # At rest: wiped, it comes back byte for byte.
        await client.flushall()
        await asyncio.to_thread(server.wait_ready)
        await quiet(client)
        after = await dump(client)
        assert after == before
        assert await all_access() == access_before

        # While usage arrives: unlimited usage goes on, nothing is lost.
        pending = 0
        number = 1_000
        running = True

        async def writer():
            nonlocal pending, number
            while running:
                number += 1
                answer = await track(number)
                assert answer.status_code in (200, 202), answer.text
                pending += bool(answer.json().get("pending"))

        writers = [asyncio.create_task(writer()) for _ in range(8)]
        for _ in range(3):
            await asyncio.sleep(0.7)
            await client.flushall()
        await asyncio.sleep(0.7)
        running = False
        await asyncio.gather(*writers)
        await asyncio.to_thread(server.wait_ready)
        await quiet(client)
        used = [(await api.access(f"customer-{n}", "free"))["consumption"]["unitsUsed"] for n in range(CUSTOMERS)]
        assert sum(used) == 100 + number - 1_000
        assert pending > 0, "usage arrived while LIVE was away and none of it was pending"
        proof(f"wiped four times: {number - 1_000} events while it was wiped, {pending} answered pending, none lost")

        # Duplicates are still refused, the limit still holds.
        again = {"featureCode": "free", "customerId": "customer-1", "value": 1, "eventId": "free-1"}
        assert (await api.call("POST", "/usage/events", again, expect=409))["code"] == "duplicate"
        assert (await track(900, "capped")).status_code == 402
        await quiet(client)
        before = await dump(client)
        await client.flushall()
        await asyncio.to_thread(server.wait_ready)
        await quiet(client)
        assert await dump(client) == before
        await client.aclose()
    _, verdict = server.command("audit")
    assert verdict["differences"] == []
