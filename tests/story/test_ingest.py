"""Usage from HTTP to the log and back with a verdict: the real gateway and catalog, on the memory log and LIVE.

The fold is played by `Judge`, a task of a few lines that counts by key, so that these stories are about the gateway.
"""

import asyncio
import json
import time

import msgspec
import pytest

from catalog.definition import Customer, Feature, FeatureKind, ModelPrice
from catalog.gateway import Catalog
from catalog.store import (
    create_customer,
    create_feature,
    create_key,
    create_organization,
    ensure_deployment,
    read_version,
    revoke_key,
    set_clock,
)
from catalog.store.model_price import add_model_prices
from ingest.event import decode_usage
from ingest.gateway import Admission, VerdictHub
from ingest.key_entry import EntryKind, KeyEntry, encode_entry, filtered
from ingest.routes import UsageRoutes
from ingest.verdict import Outcome, Verdict, encode_outcomes
from kernel import ids, limits
from kernel.clock import ManualClock, SystemClock
from kernel.engine.live.base import READY, FoldWrite, KeyWrite, LaneHeader, Written
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.sql.base import metadata
from kernel.engine.sql.sqlite import Sqlite
from kernel.errors import Unavailable, Unknown
from kernel.lane import lane_of
from kernel.position import Position
from kernel.record import decode_record
from kernel.telemetry import Telemetry

LANES = 4
WAIT_MS = 300
KEY = "ck_test_story"
TOKEN = b"t" * 16
COUNTED = Outcome(verdict=Verdict.COUNTED, limited=False)


class Judge:
    """Folds by key alone; `decide` may say something else of an event; `mute` writes LIVE without telling the hub."""

    def __init__(self, log, live, hub):
        self.log, self.live, self.hub = log, live, hub
        self.decide = lambda event: COUNTED
        self.mute = False
        self.going = asyncio.Event()
        self.going.set()
        self.keys = {}
        self.counted = []

    async def fold(self, lane):
        header = LaneHeader(epoch=1, token=TOKEN, rules=1, next=0, sunk=0, clock_ms=0, seen_ms=0, state=READY)
        while True:
            await self.going.wait()
            try:
                records = await self.log.read(lane, header.next, records_max=10, wait_ms=50)
            except Unavailable:
                await asyncio.sleep(0.01)
                continue
            for record in records:
                await self.going.wait()
                header = await self.judge(lane, record, header)

    async def judge(self, lane, record, header):
        writes, outcomes = [], []
        clock_ms = header.clock_ms
        for index, event in enumerate(decode_usage(decode_record(record.data))):
            at_ms = min(event.at_ms, record.time_ms)
            clock_ms = max(clock_ms, at_ms)
            outcome = filtered(self.keys.get(event.digest), event.content, event.request) or self.decide(event)
            if outcome.verdict is Verdict.COUNTED:
                self.counted.append(event)
                if event.digest:
                    entry = encode_entry(
                        KeyEntry(
                            kind=EntryKind.COUNTED,
                            position=Position(1, lane, record.offset, index),
                            at_ms=at_ms,
                            content=event.content,
                            request=event.request,
                        )
                    )
                    self.keys[event.digest] = entry
                    writes.append(
                        KeyWrite(generation=clock_ms // limits.GENERATION_MS, digest=event.digest, entry=entry)
                    )
            outcomes.append(outcome)
        change = FoldWrite(
            expected=header,
            next=record.offset + 1,
            clock_ms=clock_ms,
            seen_ms=0,
            generations=[],
            fresh=[],
            drop_generations=[],
            keys=writes,
            snapshots={},
            accounts={},
            outcomes={record.offset: encode_outcomes(outcomes)},
        )
        if not self.live.away:
            assert isinstance(await self.live.write(lane, change), Written)
        if not self.mute:
            self.hub.publish(1, lane, record.offset, outcomes)
        return msgspec.structs.replace(header, next=record.offset + 1, clock_ms=clock_ms)


class PartlyAwayLog(MemoryLog):
    """A log whose lanes in `lost` take records and never say so."""

    lost = frozenset()
    lose_next = 0

    async def append(self, lane, data):
        if self.lose_next:
            self.lose_next -= 1
            raise Unknown("no answer")
        if lane in self.lost:
            raise Unknown("no answer")
        return await super().append(lane, data)


class World:
    """A gateway with everything around it."""

    def __init__(self, sql, clock):
        self.sql, self.clock = sql, clock
        self.log = PartlyAwayLog(epoch=1, lanes=LANES, clock=clock)
        self.live = MemoryLive(clock)
        self.catalog = Catalog(sql, self.live, clock)
        self.hub = VerdictHub(epoch=1)
        self.telemetry = Telemetry()
        self.judge = Judge(self.log, self.live, self.hub)
        self.kept = []
        self.overloaded = set()
        self.tasks = []

    async def start(self):
        async with self.sql.transaction() as conn:
            await conn.run_sync(metadata.create_all)
            await ensure_deployment(conn, LANES)
            self.organization = await create_organization(conn, "Acme", "sandbox", self.clock.now_ms())
            await create_key(conn, self.organization, name="k", now_ms=self.clock.now_ms(), secret=KEY)
        await self.log.create()
        for lane in range(LANES):
            await self.ready(lane)
        await self.catalog.start()
        self.gateway()
        self.calls = await self.feature("api_calls")
        self.tasks = [asyncio.create_task(self.judge.fold(lane)) for lane in range(LANES)]
        return self

    def gateway(self, clock=None, hub=None):
        self.admission = Admission(
            self.log,
            self.live,
            self.catalog,
            hub or self.hub,
            clock or self.clock,
            self.telemetry,
            "gw1",
            overloaded=self.overloaded.__contains__,
            verdict_wait_ms=WAIT_MS,
        )
        self.routes = UsageRoutes(self.admission, self.catalog, clock or self.clock, self.telemetry, self.kept.append)

    async def ready(self, lane):
        await self.live.begin_rebuild(lane, token=TOKEN, expected_token=None)
        header = LaneHeader(epoch=1, token=TOKEN, rules=1, next=0, sunk=0, clock_ms=0, seen_ms=0, state=READY)
        assert await self.live.finish_rebuild(lane, step=0, header=header)

    async def stop(self):
        self.judge.going.set()
        await self.admission.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.sql.close()

    async def commit(self, work):
        """Change the catalog as a management call does: commit, then tell LIVE."""
        async with self.sql.transaction() as conn:
            result = await work(conn)
            version = await read_version(conn)
        if not self.live.away:
            await self.live.raise_catalog(version)
        return result

    async def feature(self, code, kind=FeatureKind.METERED):
        made = Feature(
            id=ids.new_bytes(self.clock.now_ms()),
            organization=self.organization.id,
            code=code,
            event_code=code,
            name=code,
            kind=kind,
        )
        return await self.commit(lambda conn: create_feature(conn, made))

    async def customer(self, name, *, archived=False, lane=None):
        raw = ids.new_bytes(self.clock.now_ms())
        while lane is not None and lane_of(raw, LANES) != lane:
            raw = ids.new_bytes(self.clock.now_ms())
        made = Customer(id=raw, organization=self.organization.id, external_id=name, email="a@b.c", archived=archived)
        return await self.commit(lambda conn: create_customer(conn, made))

    async def send(self, body, *, path="/api/v1/usage/events", headers=None, key=KEY, kind="application/json"):
        """Post and return (status, headers, body)."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-type": kind, "x-api-key": key, "content-length": str(len(raw)), **(headers or {})}
        scope = {"type": "http", "path": path, "headers": [(n.encode(), v.encode()) for n, v in named.items() if v]}
        parts = [raw[n : n + 65_536] for n in range(0, len(raw), 65_536)] or [b""]
        incoming = iter(
            {"type": "http.request", "body": part, "more_body": n + 1 < len(parts)} for n, part in enumerate(parts)
        )
        sent = []

        async def receive():
            return next(incoming)

        async def send(message):
            sent.append(message)

        route = self.routes.batch if path.endswith("/batch") else self.routes.event
        await route(scope, receive, send)
        start, end = sent
        answer = {name.decode(): value.decode() for name, value in start["headers"]}
        assert answer["content-type"] == "application/json"
        assert answer["x-request-id"].startswith("req_")
        assert int(answer["content-length"]) == len(end["body"])
        return start["status"], answer, json.loads(end["body"])

    async def track(self, customer="anna", feature="api_calls", headers=None, **members):
        body = {"featureCode": feature, "customerId": customer, **members}
        status, _, answer = await self.send(body, headers=headers)
        return status, answer

    async def batch(self, *events, headers=None):
        return await self.send({"events": list(events)}, path="/api/v1/usage/events/batch", headers=headers)

    async def ends(self):
        return [(await self.log.bounds(lane)).end for lane in range(LANES)]

    async def in_log(self, lane):
        records = await self.log.read(lane, 0, records_max=10_000, wait_ms=0)
        return [decode_usage(decode_record(record.data)) for record in records]


def event(customer="anna", feature="api_calls", **members):
    return {"featureCode": feature, "customerId": customer, **members}


@pytest.fixture
async def world(tmp_path):
    sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    made = await World(sql, SystemClock()).start()
    await made.customer("anna")
    yield made
    await made.stop()


# One event


async def test_an_event_is_durable_counted_and_answered(world):
    status, answer = await world.track(value=2.5, properties={"region": "eu"})
    assert status == 200
    place = Position.from_event_id(answer["id"])
    assert answer["position"] == place.record()
    assert answer["customerId"].startswith("cus_")
    assert (answer["featureCode"], answer["value"], answer["eventId"]) == ("api_calls", 2.5, None)
    assert answer["ts"] == answer["createdAt"]
    assert "pending" not in answer
    stored = (await world.in_log(place.lane))[place.offset][place.index]
    assert world.judge.counted == [stored]
    assert (stored.quantity, stored.properties, stored.has_timestamp) == ("2.5", (("region", "eu"),), False)


async def test_the_documented_era_wraps_and_names_as_its_clients_read(world):
    status, _, answer = await world.send(
        {"feature": "api_calls", "customerId": "anna", "idempotencyKey": "k"}, path="/api/usage/events"
    )
    assert (status, answer["success"]) == (200, True)
    assert (answer["data"]["feature"], answer["data"]["idempotencyKey"]) == ("api_calls", "k")
    assert answer["data"]["organizationId"] == world.organization.id_text


@pytest.mark.parametrize(
    ("outcome", "status", "code"),
    [
        (Outcome(verdict=Verdict.BLOCKED, code="included_limit_reached"), 402, "included_limit_reached"),
        (Outcome(verdict=Verdict.REFUSED, code="feature_not_in_plan"), 403, "feature_not_in_plan"),
        (Outcome(verdict=Verdict.REFUSED, code="no_active_subscription"), 404, "no_active_subscription"),
        (Outcome(verdict=Verdict.DEAD, code="event_unprocessable"), 422, "event_unprocessable"),
        (Outcome(verdict=Verdict.SUPERSEDED), 503, "service_unavailable"),
    ],
)
async def test_the_folds_verdict_is_the_answer(world, outcome, status, code):
    world.judge.decide = lambda event: outcome
    answered, answer = await world.track()
    assert (answered, answer["code"]) == (status, code)


@pytest.mark.parametrize(
    ("members", "status", "code"),
    [
        ({"customer": "nobody"}, 404, "customer_not_found"),
        ({"customer": "cus_" + "0" * 26}, 404, "customer_not_found"),
        ({"feature": "nope"}, 404, "feature_not_found"),
        ({"customer": "gone"}, 404, "no_active_subscription"),
        ({"feature": "sso"}, 400, "validation_error"),
        ({"value": -1}, 400, "validation_error"),
        ({"timestamp": "2020-01-01T00:00:00Z"}, 400, "validation_error"),
        ({"timestamp": "2999-01-01T00:00:00Z"}, 400, "validation_error"),
        ({"model": "m", "inputTokens": 1, "outputTokens": 1}, 404, "model_not_found"),
    ],
)
async def test_what_the_catalog_alone_refuses_never_reaches_the_log_and_is_kept(world, members, status, code):
    """R-TRACK-7, R-CUST-8."""
    await world.customer("gone", archived=True)
    await world.feature("sso", FeatureKind.BOOLEAN)
    before = await world.ends()
    answered, answer = await world.track(**members)
    assert (answered, answer["code"], answer["error"]["code"]) == (status, code, code)
    assert await world.ends() == before
    (kept,) = world.kept
    assert (kept.organization, kept.code) == (world.organization.id, code)
    assert kept.customer == ("" if "value" in members else members.get("customer", "anna"))


async def test_refusals_beyond_the_quota_are_only_counted(world):
    bad = [event(customer="nobody")] * 100
    began = world.clock.now_ms() // 1000
    for _ in range(3):
        status, _, answer = await world.batch(*bad)
        assert (status, len(answer["failed"])) == (200, 100)
    seconds = world.clock.now_ms() // 1000 - began + 1
    assert 100 <= len(world.kept) <= 100 * seconds
    dropped = world.telemetry.registry.get_sample_value("meterline_refusals_dropped_total")
    assert len(world.kept) + dropped == 300


# Keys


async def test_a_key_counts_once_and_the_second_is_told_the_first(world):
    """R-TRACK-11, R-TRACK-13."""
    _, first = await world.track(eventId="k", value=2)
    before = await world.ends()
    status, again = await world.track(eventId="k", value=2)
    assert (status, again["code"]) == (409, "duplicate")
    assert again["details"] == {"eventId": first["id"], "conflict": False}
    await world.feature("storage")
    for changed in ({"value": 3}, {"value": 2, "feature": "storage"}):
        status, other = await world.track(eventId="k", **changed)
        assert (status, other["details"]["conflict"]) == (409, True)
    assert await world.ends() == before  # the filter spared the log
    await world.customer("bert")
    assert (await world.track("bert", eventId="k"))[0] == 200
    assert len(world.judge.counted) == 2


async def test_an_identical_http_retry_replays_the_first_answer(world):
    """R-TRACK-13."""
    body = event(eventId="k", value=2, timestamp=_now_text())
    headers = {"idempotency-key": "k"}
    first = await world.send(body, headers=headers)
    again = await world.send(body, headers=headers)
    assert (first[0], again[0], again[2]) == (200, 200, first[2])
    fresh = {**body, "timestamp": _now_text(-1000)}
    status, _, answer = await world.send(fresh, headers=headers)
    assert (status, answer["details"]["conflict"]) == (409, False)
    assert len(world.judge.counted) == 1


async def test_the_header_names_an_event_that_has_no_key_and_never_meets_body_keys(world):
    first = await world.send(event(), headers={"idempotency-key": "h"})
    again = await world.send(event(), headers={"idempotency-key": "h"})
    assert (first[0], first[2]["id"]) == (200, again[2]["id"])
    assert first[2]["eventId"] is None
    assert (await world.track(eventId="h"))[0] == 200
    assert len(world.judge.counted) == 2


async def test_a_batch_retried_with_its_header_repeats_every_answer(world):
    """R-TRACK-13."""
    await world.customer("bert")
    events = [event(), event("bert", value=2), event("nobody"), event(eventId="k")]
    first = await world.batch(*events, headers={"idempotency-key": "h"})
    again = await world.batch(*events, headers={"idempotency-key": "h"})
    assert first[2] == again[2]
    assert [each["status"] for each in again[2]["results"]] == ["accepted", "accepted", "rejected", "accepted"]
    assert len(world.judge.counted) == 3


async def test_a_key_twice_in_one_request_counts_once(world):
    """R-TRACK-15, R-TRACK-13."""
    status, _, answer = await world.batch(event(eventId="k"), event(eventId="k"), event(eventId="k", value=9))
    assert status == 200
    assert [each["status"] for each in answer["results"]] == ["accepted", "duplicate", "duplicate"]
    first = answer["successful"][0]["id"]
    assert [each["error"]["details"] for each in answer["results"][1:]] == [
        {"eventId": first, "conflict": False},
        {"eventId": first, "conflict": True},
    ]
    assert len(world.judge.counted) == 1


async def test_one_key_in_many_requests_at_once_counts_once(world):
    """R-TRACK-15."""
    answers = await asyncio.gather(*(world.track(eventId="k") for _ in range(50)))
    assert sorted(status for status, _ in answers) == [200] + [409] * 49
    assert len(world.judge.counted) == 1


# Groups


async def test_requests_that_wait_together_share_records(world):
    customers = [f"c{n}" for n in range(20)]
    for name in customers:
        await world.customer(name)
        assert (await world.track(name))[0] == 200
    before = sum(await world.ends())
    answers = await asyncio.gather(*(world.track(name, eventId=str(n)) for n in range(10) for name in customers))
    assert {status for status, _ in answers} == {200}
    assert len({answer["id"] for _, answer in answers}) == 200
    assert sum(await world.ends()) - before <= 3 * LANES  # of 200 requests


async def test_one_customers_events_keep_their_order_over_many_records(world):
    await world.customer("bert")
    wide = {str(n): "x" * 500 for n in range(50)}
    events = [event(("anna", "bert")[n % 2], eventId=str(n), properties=wide) for n in range(100)]
    status, _, answer = await world.batch(*events)
    assert status == 200
    assert len(answer["successful"]) == 100
    assert max(await world.ends()) > 3
    for half in (0, 1):
        sent = [str(n) for n in range(half, 100, 2)]
        found = [[each.key for record in await world.in_log(lane) for each in record] for lane in range(LANES)]
        assert [key for keys in found for key in keys if int(key) % 2 == half] == sent


async def test_a_batch_mixes_customers_and_bad_events_and_keeps_the_index(world):
    """R-TRACK-17."""
    for name in "abcdefgh":
        await world.customer(name)
    events = [event(name, value=n) for n, name in enumerate("abcdefgh")]
    events[3] = event("nobody")
    events[5] = {"featureCode": 5}
    await world.track("a", eventId="k")
    events[1] = event("a", eventId="k")
    blocked = Outcome(verdict=Verdict.BLOCKED, code="included_limit_reached")
    world.judge.decide = lambda sent: blocked if sent.quantity == "6" else Outcome(verdict=Verdict.COUNTED)
    status, _, answer = await world.batch(*events)
    assert (status, answer["object"]) == (200, "usage_event_batch")
    assert [each["value"] for each in answer["successful"]] == [0, 2, 4, 7]
    failed = [1, 3, 5, 6]
    assert [(each["index"], each["data"]) for each in answer["failed"]] == [(index, events[index]) for index in failed]
    assert [each["index"] for each in answer["results"]] == list(range(8))
    statuses = [each["status"] for each in answer["results"]]
    assert [statuses[index] for index in failed] == ["duplicate", "rejected", "rejected", "blocked"]
    assert [statuses[index] for index in (0, 2, 4, 7)] == ["accepted"] * 4


# Without a verdict


async def test_no_verdict_in_time_is_pending_only_where_no_limit_applies(world):
    await world.track()  # teaches that no hard limit applies
    await world.customer("bert")
    world.judge.going.clear()
    (known, pending), (unknown, refused) = await asyncio.gather(world.track(eventId="k"), world.track("bert"))
    assert (known, pending["pending"]) == (200, True)
    assert (unknown, refused["code"]) == (503, "service_unavailable")
    world.judge.going.set()
    status, _, again = await world.send(event(eventId="k"))
    assert (status, again["details"]["eventId"]) == (409, pending["id"])
    assert len(world.judge.counted) == 3


async def test_a_limit_that_began_to_apply_is_heeded(world):
    await world.track()
    world.judge.decide = lambda event: Outcome(verdict=Verdict.COUNTED, limited=True)
    await world.track()
    world.judge.going.clear()
    assert (await world.track())[0] == 503


async def test_who_asks_not_to_wait_is_answered_when_the_event_is_durable(world):
    """R-TRACK-21."""
    world.judge.going.clear()
    prefer = {"prefer": "respond-async"}
    began = time.monotonic()
    status, headers, answer = await world.send(event(), headers=prefer)
    assert (status, headers["preference-applied"], answer["pending"]) == (202, "respond-async", True)
    status, headers, answer = await world.batch(event(), event("nobody"), headers=prefer)
    assert (status, [each["status"] for each in answer["results"]]) == (202, ["accepted", "rejected"])
    assert time.monotonic() - began < WAIT_MS / 1000
    assert sum(await world.ends()) == 2
    status, _, answer = await world.send(event("nobody"), headers=prefer)
    assert (status, answer["code"]) == (404, "customer_not_found")


async def test_what_the_ai_sdks_wrapper_reports_counts_once_and_a_failure_is_an_answer(world):
    """R-AI-13, the server's part: a report that is sent again is the same event, and what fails fails alone."""
    price = ModelPrice(
        model="openai/gpt-4o", since_ms=0, input="2.5", output="10", cache_read="1.25", version="genai-prices 1"
    )
    await world.commit(lambda conn: add_model_prices(conn, [price]))
    counts = {"inputTokens": 1500, "outputTokens": 300, "cacheReadTokens": 100}
    report = {"feature": "api_calls", "customerId": "anna", "model": "openai/gpt-4o", **counts}
    one, other = {"idempotency-key": "generation-1"}, {"idempotency-key": "generation-2"}
    first = await world.send(report, path="/api/usage/events", headers=one)
    again = await world.send(report, path="/api/usage/events", headers=one)
    assert (first[0], again[0], first[2]["data"]["id"]) == (200, 200, again[2]["data"]["id"])
    streamed = await world.send(report, path="/api/usage/events", headers={**other, "prefer": "respond-async"})
    assert streamed[0] == 202
    while len(world.judge.counted) < 2:
        await asyncio.sleep(0.01)
    assert [(each.tokens.input, each.tokens.cache_read) for each in world.judge.counted] == [(1500, 100)] * 2
    status, _, answer = await world.send({**report, "model": "nobody/knows"}, path="/api/usage/events")
    assert (status, answer["success"], answer["error"]["code"]) == (404, False, "model_not_found")


async def test_a_verdict_that_was_told_to_nobody_is_read_from_live(world):
    world.judge.mute = True
    status, answer = await world.track()
    assert (status, "pending" in answer) == (200, False)


@pytest.mark.parametrize("how", ["away", "wiped"])
async def test_without_live_nobody_waits_and_the_catalog_comes_from_sql(world, how):
    await world.track()
    if how == "away":
        world.live.away = True
    else:
        world.live.wipe()
        for task in world.tasks:
            task.cancel()
    await world.customer("bert")
    await asyncio.sleep(limits.CATALOG_STALE_MS_MAX / 1000)
    began = time.monotonic()
    status, answer = await world.track()
    assert (status, answer["pending"]) == (200, True)
    assert (await world.track("bert"))[0] == 503
    status, _, answer = await world.batch(event(), event("bert"), event("nobody"))
    assert (status, [each["status"] for each in answer["results"]]) == (200, ["accepted", "failed", "rejected"])
    assert time.monotonic() - began < WAIT_MS / 1000


async def test_an_append_without_an_answer_is_503_and_may_be_repeated(world):
    """R-TRACK-21."""
    world.log.away = True
    status, headers, answer = await world.send(event(eventId="k"))
    assert (status, headers["retry-after"], answer["code"]) == (503, "1", "service_unavailable")
    assert (await world.batch(event(), event()))[0] == 503
    assert world.telemetry.registry.get_sample_value("meterline_appends_unknown_total") == 2
    world.log.away = False
    assert (await world.track(eventId="k"))[0] == 200
    assert len(world.judge.counted) == 1


async def test_one_lost_lane_does_not_void_the_others(world):
    await world.customer("zero", lane=0)
    await world.customer("one", lane=1)
    world.log.lost = frozenset({0})
    status, _, answer = await world.batch(event("zero"), event("one"), event("nobody"))
    assert status == 200
    assert [each["status"] for each in answer["results"]] == ["failed", "accepted", "rejected"]
    assert answer["results"][0]["error"]["code"] == "service_unavailable"


async def test_after_an_unknown_end_the_rest_of_the_lane_is_not_sent_so_that_order_holds(world):
    wide = {str(n): "x" * 500 for n in range(50)}
    events = [event(eventId=str(n), properties=wide) for n in range(100)]
    world.log.lose_next = 1
    status, headers, _ = await world.batch(*events)
    assert (status, headers["retry-after"]) == (503, "1")
    assert sum(await world.ends()) == 0  # later records of the customer did not overtake the lost one
    status, _, answer = await world.batch(*events)
    assert (status, len(answer["successful"])) == (200, 100)


# Pressure and hang-ups


async def test_more_than_the_limit_in_flight_is_429(world):
    await world.track()
    world.judge.going.clear()
    count = limits.IN_FLIGHT_REQUESTS_MAX + 5
    answers = await asyncio.gather(*(world.send(event()) for _ in range(count)))
    refused = [(headers, body) for status, headers, body in answers if status == 429]
    assert len(refused) == 5
    for headers, body in refused:
        assert body["code"] == "rate_limited"
        assert int(headers["retry-after"]) >= 1
        assert {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"} <= headers.keys()
    assert {status for status, _, _ in answers} == {200, 429}
    world.judge.going.set()
    assert (await world.track())[0] == 200


async def test_a_lane_with_a_long_backlog_sheds(world):
    await world.customer("zero", lane=0)
    await world.customer("one", lane=1)
    world.overloaded.add(0)
    assert (await world.track("zero"))[1]["code"] == "rate_limited"
    assert (await world.track("one"))[0] == 200
    assert await world.ends() == [0, 1, 0, 0]


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_that_is_too_large_is_413(world, declared):
    headers = {} if declared else {"content-length": ""}
    status, _, answer = await world.send(b" " * (10 * 1024 * 1024), headers=headers)
    assert (status, answer["code"]) == (413, "payload_too_large")
    status, _, answer = await world.send(b"", headers={"content-length": str(10**12)})
    assert (status, answer["code"]) == (413, "payload_too_large")
    assert (await world.track())[0] == 200


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{}", "text/plain", 400, "validation_error"),
        (b"{}", "", 400, "validation_error"),
        (b"", "", 400, "validation_error"),
        (b"{", "application/json", 400, "invalid_json"),
        (b"<xml/>", "application/json", 400, "invalid_json"),
    ],
)
async def test_what_is_no_json_request_is_told_so(world, body, kind, status, code):
    for path in ("/api/v1/usage/events", "/api/usage/events/batch"):
        answered, _, answer = await world.send(body, kind=kind, path=path)
        assert (answered, answer["code"]) == (status, code)


async def test_an_empty_or_too_large_batch_records_nothing(world):
    """R-TRACK-16."""
    for events in ([], [event()] * 101):
        status, _, answer = await world.batch(*events)
        assert (status, answer["code"], answer["error"]["param"]) == (400, "validation_error", "events")
    assert sum(await world.ends()) == 0


async def test_a_client_that_hangs_up_does_not_cancel_its_event(world):
    """R-TRACK-21."""
    world.judge.going.clear()
    waiting = asyncio.create_task(world.track(eventId="k"))
    while not sum(await world.ends()):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    world.judge.going.set()
    await world.admission.close()
    while not world.judge.counted:
        await asyncio.sleep(0.01)
    assert (await world.track(eventId="k"))[0] == 409


async def test_who_hangs_up_while_sending_has_sent_nothing(world):
    async def receive():
        return {"type": "http.disconnect"}

    sent = []
    scope = {"type": "http", "path": "/api/v1/usage/events", "headers": [(b"x-api-key", KEY.encode())]}
    await world.routes.event(scope, receive, sent.append)
    assert sent == []
    assert sum(await world.ends()) == 0


async def test_a_bug_is_answered_in_the_envelope(world):
    class WrongHub(VerdictHub):
        def publish(self, epoch, lane, offset, outcomes):
            super().publish(epoch, lane, offset, [*outcomes, *outcomes])

    world.judge.hub = WrongHub()
    world.gateway(hub=world.judge.hub)
    status, answer = await world.track()
    assert (status, answer["code"], answer["success"]) == (500, "internal_error", False)


# The catalog, always the newest


async def test_who_may_send(world):
    async def restricted(conn, **permissions):
        made = await create_key(conn, world.organization, name="r", now_ms=1, permissions=permissions)
        return made[1]

    writer = await world.commit(lambda conn: restricted(conn, usage=("write",)))
    reader = await world.commit(lambda conn: restricted(conn, usage=("read",), customer=("write",)))
    assert (await world.send(event(), key=writer))[0] == 200
    assert (await world.send(event(), key=reader))[2]["code"] == "forbidden"
    for wrong in ("", "ck_wrong", "x"):
        status, _, answer = await world.send(b"{", key=wrong)
        assert (status, answer["code"]) == (401, "unauthorized")
    assert (await world.send(event(), key="", headers={"authorization": f"Bearer {KEY}"}))[0] == 200


async def test_a_change_of_the_catalog_holds_from_its_answer_on(world):
    assert (await world.track("bert"))[1]["code"] == "customer_not_found"
    await world.customer("bert")
    assert (await world.track("bert"))[0] == 200
    assert (await world.track(feature="storage"))[1]["code"] == "feature_not_found"
    await world.feature("storage")
    assert (await world.track(feature="storage"))[0] == 200
    made, secret = await world.commit(lambda conn: create_key(conn, world.organization, name="n", now_ms=1))
    assert (await world.send(event(), key=secret))[0] == 200
    await world.commit(lambda conn: revoke_key(conn, world.organization.id, made.id, 2))
    assert (await world.send(event(), key=secret))[0] == 401


async def test_on_a_test_clock_a_client_stamp_of_real_now_means_simulated_now(world):
    await world.commit(lambda conn: set_clock(conn, world.organization.id, 1_900_000_000_000))
    simulated = "2030-03-17T17:46:40.000Z"
    assert (await world.track())[1]["ts"] == simulated
    status, answer = await world.track(timestamp=_now_text())
    assert (status, answer["ts"]) == (200, simulated)
    assert answer["createdAt"] != simulated
    assert (await world.track(timestamp="2030-03-17T17:00:00Z"))[1]["ts"] == "2030-03-17T17:00:00.000Z"
    assert {each.clock_ms for each in world.judge.counted} == {1_900_000_000_000}


async def test_a_clock_that_is_off_takes_no_usage(world):
    clock = ManualClock(world.clock.now_ms() + 5_000)
    world.gateway(clock=clock)
    assert await world.admission.probe() is not None
    status, answer = await world.track()
    assert (status, answer["code"]) == (503, "service_unavailable")
    assert sum(await world.ends()) == 0
    world.gateway()
    assert await world.admission.probe() is None
    assert (await world.track())[0] == 200


async def test_at_never_falls_within_a_process(world):
    clock = ManualClock(world.clock.now_ms())
    world.gateway(clock=clock)
    first = world.admission.stamp()
    clock.advance(10)
    assert world.admission.stamp() == first + 10
    clock._now_us -= 500_000  # a clock that is set back
    assert world.admission.stamp() == first + 10


def _now_text(by_ms=0):
    seconds = time.time() + by_ms / 1000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds * 1000) % 1000:03d}Z"
