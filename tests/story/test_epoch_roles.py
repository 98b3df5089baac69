"""`meterline epoch` on the distributed engine, and a gateway that sleeps through all of it."""

import asyncio
import json
import os
import subprocess

import httpx

from tests.story.cluster import Seller, left_whole
from tests.story.harness import METERLINE, Api

LANES = 20
CUSTOMERS = 6


def event(customer, key):
    return {"featureCode": "open", "customerId": f"customer-{customer}", "eventId": key, "value": 1}


def epoch(cluster):
    """Ask for the epoch beside whatever runs."""
    return subprocess.run(
        [METERLINE, "epoch", "--lanes", str(LANES), "--json"],
        env={**os.environ, **cluster.stores},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


async def test_a_gateway_that_slept_through_the_change_promises_nothing(standing_cluster, proof):
    """Its append reaches a log that has ended: its answer is unknown, and the retry elsewhere counts once (ADR 8)."""
    async with left_whole(standing_cluster):
        await story(standing_cluster, proof)


async def story(cluster, proof):
    seller = Seller(cluster)
    sleeper, awake = cluster.gateways
    others = [process for process in cluster.processes if process is not sleeper]
    # A connection of its own for each request: an idle one that a sleeper has kept is closed when it wakes.
    each = httpx.Limits(max_keepalive_connections=0)
    async with (
        Api(seller) as api,
        httpx.AsyncClient(timeout=120, headers={"x-api-key": seller.key}, limits=each) as http,
    ):
        feature = await api.feature("open")
        await api.plan("open", {feature["id"]: {"unlimited": True}})
        for number in range(CUSTOMERS):
            await api.customer(f"customer-{number}")
            await api.subscribe(f"customer-{number}", "open")
            for gateway in (sleeper, awake):  # both learn that no limit applies, so that they may answer `pending`
                body = event(number, f"before-{gateway.port}")
                answer = await http.post(f"{gateway.url}/api/v1/usage/events", json=body)
                assert answer.status_code == 200, answer.text

        refused = await asyncio.to_thread(epoch, cluster)
        assert refused.returncode == 3, refused.stderr
        assert "stop them first" in " ".join(refused.stderr.split())

        sleeper.freeze()
        try:
            asked = [
                asyncio.create_task(
                    http.post(f"{sleeper.url}/api/v1/usage/events", json=event(number, "asleep"), headers=headers)
                )
                for number in range(CUSTOMERS)
                for headers in ([{}, {"Prefer": "respond-async"}][number % 2],)
            ]
            for process in others:
                await asyncio.to_thread(process.stop)
            async with asyncio.timeout(60):  # until the sleeper's last beat has ended
                while (began := await asyncio.to_thread(epoch, cluster)).returncode == 3:
                    assert "stop them first (gateway)" in " ".join(began.stderr.split()), began.stderr
            assert began.returncode == 0, began.stderr
            told = json.loads(began.stdout)
            assert told["lanes"] == LANES
            for process in others:
                process.spawn()
            for process in others:
                await asyncio.to_thread(process.wait_ready, 60)
        finally:
            sleeper.thaw()
        answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [503] * CUSTOMERS
        ready = await http.get(f"{sleeper.url}/readyz")
        assert ready.status_code == 503, ready.text
        assert "epoch has ended" in ready.text
        await asyncio.to_thread(sleeper.stop)
        sleeper.spawn()
        await asyncio.to_thread(sleeper.wait_ready, 60)

        for number in range(CUSTOMERS):
            await api.call("POST", "/usage/events", event(number, "asleep"))
            await api.call("POST", "/usage/events", event(number, "asleep"), expect=409)
            for gateway in (sleeper, awake):
                await api.call("POST", "/usage/events", event(number, f"before-{gateway.port}"), expect=409)
            assert (await api.access(f"customer-{number}", "open"))["consumption"]["unitsUsed"] == 3
    report = cluster.command("audit")[1]
    assert report["differences"] == []
    proof(f"epoch {told['epoch']} with {LANES} lanes began while a gateway slept; its {CUSTOMERS} answers were 503")
