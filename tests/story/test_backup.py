"""A backup taken under load, everything deleted, restored: keys, balances and invoices go on as if nothing had been."""

import asyncio
import collections
import gzip
import itertools
import json
import os
import secrets
import subprocess
from datetime import UTC, datetime

import pytest

from tests.story.cluster import Cluster
from tests.story.harness import METERLINE, SOAK, Api, Server

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
WORKERS = 4
BEFORE = 200


async def clock(api, instant):
    await api.call("POST", "/test-clock", {"frozenTime": instant.isoformat()}, expect=202)


class Life:
    """What one deployment was sent, and which answers it gave."""

    def __init__(self, api):
        self.api = api
        self.numbers = itertools.count()
        self.counted = []
        self.ended = False

    async def track(self, customer="bob"):
        key = f"key-{next(self.numbers)}"
        body = {"customerId": customer, "featureCode": "calls", "eventId": key, "value": 1}
        answer = await self.api.until_definite("/usage/events", body, f"request-{key}")
        assert answer.status_code == 200, answer.text
        self.counted.append(body)

    async def load(self):
        while not self.ended:
            await self.track()

    async def subscribe(self):
        """Change accounts, for ever: what RAW knows of one, SQL's part of the backup has to know too."""
        for number in itertools.count():
            if self.ended:
                return
            await self.api.customer(f"new-{number}")
            await self.api.subscribe(f"new-{number}", "pro")


async def begin(api):
    """Sell, use, and bill a month."""
    calls, capped = await api.feature("calls"), await api.feature("capped")
    settings = {
        calls["id"]: {"includedAmount": 10, "overage": {"enabled": True, "unitPriceDecimal": "0.5"}},
        capped["id"]: {"includedAmount": 3, "overage": {"enabled": False}},
    }
    await api.plan("pro", settings, price=2_000)
    await clock(api, JANUARY)
    for customer in ("ann", "bob"):
        await api.customer(customer)
        await api.subscribe(customer, "pro")
    life = Life(api)
    for _ in range(30):
        await life.track("ann")
    await clock(api, FEBRUARY)
    for number in range(2):
        await api.call(
            "POST",
            "/usage/events",
            {"customerId": "ann", "featureCode": "capped", "eventId": f"capped-{number}", "value": 1},
        )
    for _ in range(12):
        await life.track("ann")
    return life


async def state(api):
    """What a customer without load shows."""
    found = [await api.access("ann", code) for code in ("calls", "capped")]
    page = await api.call("GET", "/invoices", customerId="ann")
    invoices = [await api.call("GET", f"/invoices/{item['id']}") for item in page["data"]]
    return [{k: v for k, v in one.items() if k not in ("asOf", "lagMs")} for one in found], invoices


async def back_up(server, life, folder):
    """Take a backup under load; tells the manifest and the events that were acknowledged before."""
    load = [asyncio.create_task(work) for work in (life.subscribe(), *(life.load() for _ in range(WORKERS)))]
    while len(life.counted) < BEFORE:
        await asyncio.sleep(0.01)
    acknowledged = list(life.counted)
    _, manifest = await asyncio.to_thread(server.command, "backup", str(folder))
    life.ended = True
    await asyncio.gather(*load)
    assert len(life.counted) > len(acknowledged), "there was no load"
    return manifest, acknowledged


def rows(kept, manifest, store, table):
    entry = next(one for one in manifest[store] if one["table"] == table)
    lines = gzip.decompress((kept / entry["file"]).read_bytes()).splitlines()
    return [dict(zip(entry["columns"], json.loads(line), strict=True)) for line in lines]


def check_one_moment(kept, manifest):
    """RAW holds no account change that SQL does not know, and no record above what the manifest covers."""
    revs = {row["customer_id"]: row["rev"] for row in rows(kept, manifest, "sql", "accounts")}
    records = rows(kept, manifest, "raw", "account_records")
    assert len(records) > 2
    assert len(revs) > 2
    assert all(row["rev"] <= revs[row["customer"]] for row in records)
    covered = {one["lane"]: one["next"] for one in manifest["covered"]}
    assert all(one["next"] >= one["asked"] for one in manifest["covered"])
    assert all(row["offset"] < covered[row["lane"]] for row in records + rows(kept, manifest, "raw", "events"))


async def check_restored(api, life, acknowledged, before):
    """Old keys are taken, balances and invoices stand, usage goes on, the next month is billed over both."""
    life.api = api
    assert await state(api) == before
    step = max(1, len(acknowledged) // 40)
    for body in acknowledged[::step]:
        again = await api.call("POST", "/usage/events", body, expect=409)
        assert (again["code"], again["details"]["conflict"]) == ("duplicate", False)
    conflict = await api.call("POST", "/usage/events", {**acknowledged[0], "value": 2}, expect=409)
    assert conflict["details"]["conflict"] is True
    # What came while the backup was written is in it or not; sent again, it counts once either way.
    answers = collections.Counter()
    for body in life.counted:
        answers[(await api.until_definite("/usage/events", body, f"again-{body['eventId']}")).status_code] += 1
    assert set(answers) <= {200, 409}
    assert answers[409] >= len(acknowledged)
    bob = sum(body["customerId"] == "bob" for body in life.counted)
    assert (await api.access("bob", "calls"))["consumption"]["unitsUsed"] == bob
    for number, status in ((2, 200), (3, 402)):  # the limit knows what was used before
        body = {"customerId": "ann", "featureCode": "capped", "eventId": f"capped-{number}", "value": 1}
        await api.call("POST", "/usage/events", body, expect=status)
    for _ in range(8):
        await life.track("ann")
    await clock(api, MARCH)
    invoice = (await api.call("GET", "/invoices", customerId="ann"))["data"][0]
    lines = (await api.call("GET", f"/invoices/{invoice['id']}"))["lineItems"]
    assert [line["amount"] for line in lines if line["kind"] == "overage"] == [(12 + 8 - 10) * 50]
    return answers


def refused(server, code, words, *arguments):
    """Run a command beside the server that has to end with `code` and say `words`."""
    embedded = server.engine == "embedded"
    done = subprocess.run(
        [METERLINE, *arguments, *(("--data-dir", str(server.folder / "data")) if embedded else ())],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ if embedded else {**os.environ, **server.stores},
    )
    assert done.returncode == code, done.stderr
    assert words in " ".join(done.stderr.split()), done.stderr


def empty(engine, request, folder):
    """A deployment of that engine with nothing in it, on stores of its own."""
    if engine == "embedded":
        made = Server(folder)
    else:
        room = request.getfixturevalue("servers").fresh(f"second_{secrets.token_hex(4)}")
        request.addfinalizer(room.live.stop)
        made = Cluster(folder, room.variables)
    request.addfinalizer(made.stop)
    return made


EMBEDDED_ALONE = [("embedded", "embedded")]
ALL = [*EMBEDDED_ALONE, ("embedded", "distributed"), ("distributed", "distributed"), ("distributed", "embedded")]


@pytest.mark.parametrize(("source", "target"), ALL if SOAK else EMBEDDED_ALONE)
async def test_backup_under_load_and_restored(source, target, request, tmp_path, proof):
    kept = tmp_path / "kept"
    first = request.getfixturevalue("server" if source == "embedded" else "cluster")
    async with Api(first) as api:
        life = await begin(api)
        before = await state(api)
        manifest, acknowledged = await back_up(first, life, kept)
    check_one_moment(kept, manifest)
    refused(first, 2, "is not empty", "backup", str(kept))
    if source == "embedded":
        refused(first, 3, "held by", "restore", str(kept))
    first.kill()
    refused(first, 2, "restore into stores that are empty", "restore", str(kept))

    second = empty(target, request, tmp_path / "second")
    _, done = second.command("restore", str(kept))
    assert (done["epoch"], done["lanes"]) == (manifest["epoch"] + 1, manifest["lanes"])
    if target == "distributed":
        second.migrate()
    second.start()
    async with Api(second, first.key) as api:
        answers = await check_restored(api, life, acknowledged, before)
    _, rebuilt = second.command("rebuild")
    assert [one["identical"] for one in rebuilt["lanes"]] == [True] * manifest["lanes"]
    _, verdict = second.command("audit")
    assert verdict["differences"] == []
    counted = len(life.counted) + 3
    assert (verdict["keysCounted"], verdict["rowsCounted"]) == (counted, counted)
    held = manifest["raw"][0]["rows"]
    moved = f"{source} to {target}"
    proof(f"{moved}: {len(acknowledged)} events before the backup, {held} rows in it, sent again {dict(answers)}")
