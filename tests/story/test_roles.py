"""Roles as processes: lanes that move, gateways that come and go, and stores that leave for a while (ADR 5)."""

import asyncio
import time

import asyncpg
import httpx

from tests.story.cluster import Seller, left_whole, started
from tests.story.harness import SOAK, Api

CUSTOMERS = 25  # odd: each customer's events go to both gateways by turns
VERDICT_SECONDS = 5


async def prepare(api):
    free, capped = await api.feature("free"), await api.feature("capped")
    settings = {
        free["id"]: {"unlimited": True},
        capped["id"]: {"includedAmount": 10_000, "overage": {"enabled": False}},
    }
    await api.plan("mixed", settings, price=1000)
    for number in range(CUSTOMERS):
        await api.customer(f"customer-{number}")
        await api.subscribe(f"customer-{number}", "mixed")


def event(feature, number):
    return {
        "featureCode": feature,
        "customerId": f"customer-{number % CUSTOMERS}",
        "value": 1,
        "eventId": f"{feature}-{number}",
    }


async def lanes_owned(cluster):
    """Tell how many lanes each aggregator that runs says it owns."""
    owned = []
    async with httpx.AsyncClient(timeout=5) as http:
        for process in cluster.aggregators:
            if process.runs:
                text = (await http.get(process.url + "/metrics")).text
                owned += [
                    int(float(line.split()[1]))
                    for line in text.splitlines()
                    if line.startswith("meterline_lanes_owned ")
                ]
    return owned


async def all_lanes(cluster):
    """Ask SQL how many lanes the deployment has."""
    connection = await asyncpg.connect(cluster.stores["METERLINE_SQL_URL"])
    try:
        return await connection.fetchval("SELECT lanes FROM deployment")
    finally:
        await connection.close()


async def settled(cluster, lanes):
    until = time.monotonic() + 15
    while sum(owned := await lanes_owned(cluster)) != lanes or 0 in owned:
        assert time.monotonic() < until, owned
        await asyncio.sleep(0.1)
    return owned


async def counted(api, feature):
    used = [(await api.access(f"customer-{n}", feature))["consumption"]["unitsUsed"] for n in range(CUSTOMERS)]
    return sum(used)


async def until_verdict(api, number):
    """Send a customer's events from `number` on, one after the other, until one is judged; tell how many were not."""
    pending = 0
    while (await api.call("POST", "/usage/events", event("free", number + pending * CUSTOMERS))).get("pending"):
        pending += 1
        assert pending < 10, "nobody folds"
    return pending


async def folded(api, sent):
    """Wait until everything of `free` that was sent is counted, what was pending included."""
    until = time.monotonic() + 30
    while (used := await counted(api, "free")) != sent:
        assert used < sent, "something counts twice"
        assert time.monotonic() < until, f"{used} of {sent}"
        await asyncio.sleep(0.1)


async def correct(cluster, seller, api):
    """Correct an event of each customer, whose lanes the aggregators share, through both gateways and by command."""
    before = await counted(api, "free")
    for number in range(CUSTOMERS):
        named = {"customerId": f"customer-{number}", "eventId": f"free-{number}"}
        if number % 2:
            told = await api.call("POST", "/usage/events/amend", {**named, "value": 3})
        else:
            told = await api.call("POST", "/usage/events/void", named)
        assert (told["verdict"], told["correction"]["number"]) == ("counted", 1)
    again = await api.call("POST", "/usage/events/void", {"customerId": "customer-0", "eventId": "free-0"}, expect=409)
    assert again["code"] == "event_voided"
    _, told = cluster.command("event", "amend", "free-1", "5", "--customer", "customer-1", "--org", seller.organization)
    assert (told["number"], told["before"], told["after"]) == (2, "3", "5")
    _, told = cluster.command("event", "void", "free-3", "--customer", "customer-3", "--org", seller.organization)
    assert (told["number"], told["after"]) == (2, "0")
    voided, amended = -(CUSTOMERS // 2 + 1), 2 * (CUSTOMERS // 2)
    by_command = 2 - 3
    assert await counted(api, "free") == before + voided + amended + by_command


async def test_lanes_move_and_nobody_notices_but_the_clock(standing_cluster, proof):
    """Killed, stopped, joined: the lanes are somebody's again, and every answer stays true."""
    async with left_whole(standing_cluster):
        await moves(standing_cluster, proof)


async def moves(cluster, proof):
    lanes = await all_lanes(cluster)
    shared = [lanes // 2, lanes // 2]
    seller = Seller(cluster)
    async with Api(seller) as api:
        await prepare(api)
        assert await settled(cluster, lanes) == shared
        for number in range(2 * CUSTOMERS):  # the gateways learn that `free` has no limit
            await api.call("POST", "/usage/events", event("free", number))

        # SIGKILL: another one gives verdicts within five seconds; what has no limit is taken all the while.
        cluster.aggregators[0].kill()
        died = time.monotonic()
        pending = await asyncio.gather(*(until_verdict(api, 2 * CUSTOMERS + n) for n in range(CUSTOMERS)))
        slowest = time.monotonic() - died
        assert slowest < VERDICT_SECONDS
        assert await settled(cluster, lanes) == [lanes]

        # SIGSTOP of the only one left: nobody can judge, and what has no limit is pending, however fast the machine is.
        first = (3 + max(pending)) * CUSTOMERS
        cluster.aggregators[1].freeze()
        try:
            answers = await asyncio.gather(
                *(api.call("POST", "/usage/events", event("free", first + n)) for n in range(CUSTOMERS))
            )
        finally:
            cluster.aggregators[1].thaw()
        assert [answer.get("pending") for answer in answers] == [True] * CUSTOMERS
        assert await settled(cluster, lanes) == [lanes]
        await folded(api, 4 * CUSTOMERS + sum(pending))

        # It joins again, and takes its share.
        await started(cluster.aggregators[0])
        assert await settled(cluster, lanes) == shared

        # Each aggregator folds lanes that the other does not; the gateways and the command fold none.
        await correct(cluster, seller, api)

        # In order: the lanes change hands while limited usage goes on, and no client sees an error that lasts.
        running, taken, longest = True, 0, 0.0

        async def writer(name):
            nonlocal taken, longest
            while running:
                taken += 1
                began = time.monotonic()
                body = event("capped", taken)
                answer = await api.until_definite("/usage/events", body, body["eventId"], seconds=10)
                assert answer.status_code == 200, answer.text
                longest = max(longest, time.monotonic() - began)

        writers = [asyncio.create_task(writer(n)) for n in range(8)]
        await asyncio.sleep(0.5)
        began = time.monotonic()
        await asyncio.to_thread(cluster.aggregators[1].stop)
        assert await settled(cluster, lanes) == [lanes]
        handed = time.monotonic() - began
        await asyncio.sleep(0.5)
        running = False
        await asyncio.gather(*writers)
        assert cluster.aggregators[1].returncode == 0
        assert await counted(api, "capped") == taken
        proof(
            f"killed: verdicts again after {slowest:.1f} s, {sum(pending)} pending meanwhile; nobody folds: "
            f"{len(answers)} of {CUSTOMERS} pending; stopped: handed over in {handed:.1f} s, {taken} limited events "
            f"under way, longest answer {longest:.1f} s"
        )
    assert cluster.command("audit")[1]["differences"] == []


async def test_a_rolling_restart_under_load(standing_cluster, proof):
    """Process after process restarts; a client that retries sees no error, and each event counts once.

    At full count every process does, in the short form one of each role.
    """
    cluster = standing_cluster
    one_each = (cluster.aggregators[0], cluster.gateways[0], cluster.billings[0])
    restarted = list(cluster.processes) if SOAK else one_each
    async with Api(Seller(cluster)) as api:
        await prepare(api)
        running, taken = True, 0

        async def writer():
            nonlocal taken
            while running:
                taken += 1
                body = event(("free", "capped")[taken % 2], taken)
                answer = await api.until_definite("/usage/events", body, body["eventId"], seconds=30)
                assert answer.status_code == 200, answer.text

        writers = [asyncio.create_task(writer()) for _ in range(8)]
        for process in restarted:
            await asyncio.sleep(0.3)
            await asyncio.to_thread(process.stop)
            assert process.returncode == 0, process.last_words()
            await started(process)
        running = False
        await asyncio.gather(*writers)
        assert await counted(api, "free") + await counted(api, "capped") == taken
        proof(f"{len(restarted)} processes restarted one by one: {taken} events, each counted once")
    assert cluster.command("audit")[1]["differences"] == []


def test_each_role_that_starts_before_migrate_says_so(unmade_cluster):
    one_each = {process.role: process for process in unmade_cluster.processes}
    assert one_each.keys() == {"gateway", "aggregator", "billing"}
    for process in one_each.values():
        process.spawn()
    until = time.monotonic() + 60
    for process in one_each.values():
        while process.runs and time.monotonic() < until:
            time.sleep(0.1)
        assert process.returncode == 3, process.last_words()
        assert "meterline migrate" in process.last_words()
