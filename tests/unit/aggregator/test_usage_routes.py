"""The usage routes over a real catalog, RAW and log: an event is found at every stage, and only by its organization."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from aggregator.routes.usage import ROUTES
from aggregator.row import EventColumns, EventRow, rows_of
from aggregator.store import UsageStore
from catalog.definition import SANDBOX, Customer, Feature, FeatureKind, Organization
from catalog.gateway.catalog import Catalog
from catalog.store import customer as customer_store
from catalog.store import feature as feature_store
from catalog.store.deployment import ensure_deployment
from catalog.store.key import create_key
from catalog.store.organization import create_organization
from ingest.event import UsageEvent, encode_usage
from ingest.refusal import RefusedRequest
from ingest.verdict import Outcome, Verdict, encode_outcomes
from kernel import ids
from kernel.clock import ManualClock
from kernel.engine.live.base import READY, FoldWrite, LaneHeader, Written
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.sql.base import metadata
from kernel.engine.sql.sqlite import Sqlite
from kernel.lane import lane_of
from kernel.period import instant_text
from kernel.position import Position
from tests.raw_adapter import RawOpener
from tests.surface import surface

NOW_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z
LANES = 2
WINDOW, WINDOW_END = 20_362, 20_393


class Bench:
    """What the routes stand on, with two organizations that each have a customer `acme` and a feature `calls`."""

    def __init__(self, catalog: Catalog, store: UsageStore, log: MemoryLog, live: MemoryLive) -> None:
        self.catalog, self.store, self.log, self.live = catalog, store, log, live
        self.organizations: list[Organization] = []
        self.keys: list[str] = []
        self.customers: list[bytes] = []
        self.features: list[bytes] = []
        self.on_invoice: dict[str, str] = {}

    @property
    def epoch(self) -> int:
        return self.catalog.deployment.epoch

    async def invoice_of(self, row: EventRow) -> str | None:
        return self.on_invoice.get(Position(row.epoch, row.lane, row.offset, row.index).event_id())

    async def get(self, path: str, *, who: int = 0, prefix: str = "/api/v1", **query: str) -> httpx.Response:
        dependencies = {
            "catalog": self.catalog,
            "usage_store": self.store,
            "log": self.log,
            "live": self.live,
            "invoice_of": self.invoice_of,
        }
        with surface(ROUTES, dependencies) as app:
            transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type] # an ASGI application by another name
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.get(f"{prefix}/usage/{path}", params=query, headers={"x-api-key": self.keys[who]})

    async def told(self, path: str, **query: str) -> dict[str, Any]:
        answer = await self.get(path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json(parse_float=Decimal)

    def event(self, who: int = 0, quantity: str = "1", *, time_ms: int = NOW_MS, **changes: Any) -> UsageEvent:
        values: dict[str, Any] = {
            "organization": self.organizations[who].id,
            "customer": self.customers[who],
            "feature": self.features[who],
            "event_time_us": time_ms * 1_000,
            "at_ms": NOW_MS,
            "clock_ms": None,
            "quantity": quantity,
            "key": "",
            "digest": b"",
            "content": bytes(8),
            "request": bytes(8),
        }
        return UsageEvent(**{**values, **changes})

    def lane(self, who: int = 0) -> int:
        return lane_of(self.customers[who], LANES)

    async def append(self, *events: UsageEvent) -> int:
        return await self.log.append(lane_of(events[0].customer, LANES), encode_usage("gw", list(events)))

    async def fold(self, lane: int, offset: int, *outcomes: Outcome) -> None:
        header = (await self.live.view(lane, [])).header
        assert header is not None
        written = await self.live.write(
            lane,
            FoldWrite(
                expected=header,
                next=offset + 1,
                clock_ms=NOW_MS,
                seen_ms=NOW_MS + 5,
                generations=[],
                fresh=[],
                drop_generations=[],
                keys=[],
                snapshots={},
                accounts={},
                outcomes={offset: encode_outcomes(list(outcomes))},
            ),
        )
        assert isinstance(written, Written)

    async def sink(self, lane: int, offset: int, events: list[UsageEvent], outcomes: list[Outcome]) -> None:
        columns = EventColumns()
        columns.extend(rows_of(self.epoch, lane, offset, NOW_MS, "gw", events, outcomes))
        await self.store.insert_events(columns)

    async def sank(self, lane: int, sunk: int) -> None:
        await self.store.write_progress(self.epoch, {lane: (sunk, NOW_MS)})
        header = (await self.live.view(lane, [])).header
        assert header is not None
        assert await self.live.sank(
            lane, token=header.token, begun=header.sunk, sunk=sunk, drop=list(range(header.sunk, sunk))
        )


COUNTED = Outcome(verdict=Verdict.COUNTED, term=1, window=WINDOW, window_end=WINDOW_END, cut=1)


@pytest.fixture
async def bench(raw_opener: RawOpener, tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock(NOW_MS)
    sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    raw = await raw_opener(tmp_path)
    live = MemoryLive(clock)
    async with sql.transaction() as connection:
        await connection.run_sync(metadata.create_all)
        deployment = await ensure_deployment(connection, LANES)
    log = MemoryLog(epoch=deployment.epoch, lanes=LANES, clock=clock)
    await log.create()
    bench = Bench(Catalog(sql, live, clock), UsageStore(raw), log, live)
    async with sql.transaction() as connection:
        for number in range(2):
            organization = await create_organization(connection, f"org {number}", SANDBOX, NOW_MS)
            _, secret = await create_key(connection, organization, name="k", now_ms=NOW_MS)
            shared = {"organization": organization.id, "created_ms": NOW_MS, "updated_ms": NOW_MS}
            customer = Customer(id=ids.new_bytes(NOW_MS), external_id="acme", email="a@example.com", **shared)
            feature = Feature(
                id=ids.new_bytes(NOW_MS),
                code="calls",
                event_code="api_call",
                name="Calls",
                kind=FeatureKind.METERED,
                **shared,
            )
            await customer_store.create_customer(connection, customer)
            await feature_store.create_feature(connection, feature)
            bench.organizations.append(organization)
            bench.keys.append(secret)
            bench.customers.append(customer.id)
            bench.features.append(feature.id)
        _, restricted = await create_key(
            connection, bench.organizations[0], name="r", now_ms=NOW_MS, permissions={"customer": ("read",)}
        )
        bench.keys.append(restricted)
    await bench.store.create()
    await bench.catalog.start()
    for lane in range(LANES):
        token = bytes([lane]) * 16
        header = LaneHeader(
            epoch=bench.epoch, token=token, rules=1, next=0, sunk=0, clock_ms=0, seen_ms=NOW_MS, state=READY
        )
        assert await live.begin_rebuild(lane, token=token, expected_token=None)
        assert await live.finish_rebuild(lane, step=0, header=header)
    yield bench
    await raw.close()
    await sql.close()


async def test_an_event_is_told_at_every_stage(bench: Bench) -> None:
    lane = bench.lane()
    events = [bench.event(quantity="2.5", key="k", properties=(("a", "b"),)), bench.event(quantity="7")]
    outcomes = [COUNTED, Outcome(verdict=Verdict.BLOCKED, code="included_limit_reached")]
    offset = await bench.append(*events)
    first, second = (Position(bench.epoch, lane, offset, index).event_id() for index in (0, 1))

    durable = await bench.told(f"events/{first}")
    assert (durable["stage"], durable["verdict"], durable["value"]) == ("log", None, Decimal("2.5"))
    assert "not judged" in durable["reason"]
    assert "billed" not in durable

    await bench.fold(lane, offset, *outcomes)
    judged = await bench.told(f"events/{first}")
    assert (judged["stage"], judged["verdict"], judged["cut"], judged["billed"]) == ("live", "counted", 1, False)
    blocked = await bench.told(f"events/{second}")
    assert (blocked["verdict"], blocked["code"], blocked["window"]) == ("blocked", "included_limit_reached", None)

    await bench.sink(lane, offset, events, outcomes)
    await bench.sank(lane, offset + 1)
    bench.on_invoice[first] = "inv_1"
    stored = await bench.told(f"events/{first}")
    assert stored == {**judged, "stage": "raw", "billed": True, "invoiceId": "inv_1"}
    assert stored["customerId"] == ids.id_text(ids.CUSTOMER, bench.customers[0])
    assert (stored["featureCode"], stored["eventId"]) == ("calls", "k")
    assert await bench.told(f"events/{second}") == {**blocked, "stage": "raw"}


async def test_an_event_of_another_organization_is_found_at_no_stage(bench: Bench) -> None:
    lane = bench.lane()
    event = bench.event()
    offset = await bench.append(event)
    path = f"events/{Position(bench.epoch, lane, offset, 0).event_id()}"
    for _ in range(3):
        assert (await bench.get(path)).status_code == 200
        strange = await bench.get(path, who=1)
        assert (strange.status_code, strange.json()["code"]) == (404, "event_not_found")
        if (await bench.live.outcomes(lane, [offset], epoch=bench.epoch)) == [None]:
            await bench.fold(lane, offset, COUNTED)
        else:
            await bench.sink(lane, offset, [event], [COUNTED])


async def test_what_is_no_event_is_not_found(bench: Bench) -> None:
    offset = await bench.append(bench.event())
    lane = bench.lane()
    places = [(0, 1), (5, 0)]
    absent = [Position(bench.epoch, lane, offset + o, i).event_id() for o, i in places]
    others = [Position(bench.epoch + 1, lane, offset, 0).event_id(), Position(bench.epoch, LANES, 0, 0).event_id()]
    strange = [ids.new_id(ids.REFUSAL, NOW_MS), "evt_x", "x"]
    for event in absent + others + strange:
        answer = await bench.get(f"events/{event}")
        assert (answer.status_code, answer.json()["code"]) == (404, "event_not_found"), event


def refused(bench: Bench, number: int, who: int = 0, **changes: Any) -> RefusedRequest:
    row = RefusedRequest(
        id=ids.id_text(ids.REFUSAL, bytes([number]) * 16),
        organization=bench.organizations[who].id,
        customer="nobody",
        feature="calls",
        quantity="1",
        key="k",
        at_ms=NOW_MS,
        code="customer_not_found",
        message="No customer nobody.",
        body="{}",
    )
    return msgspec.structs.replace(row, **changes)


async def test_the_list_is_of_one_organization_filtered_and_paged(bench: Bench) -> None:
    lane = bench.lane()
    events = [bench.event(quantity=str(n), time_ms=NOW_MS + n) for n in range(5)]
    outcomes = [COUNTED] * 4 + [Outcome(verdict=Verdict.REFUSED, code="feature_not_in_plan")]
    await bench.sink(lane, 0, events, outcomes)
    await bench.sink(lane, 1, [bench.event(1, "99")], [COUNTED])
    await bench.store.insert_refusals([refused(bench, 1), refused(bench, 2, 1), refused(bench, 3, customer="acme")])

    page = await bench.told("events", limit="3")
    assert [item["value"] for item in page["data"]] == [3, 2, 1]
    assert (page["object"], page["hasMore"]) == ("list", True)
    rest = await bench.told("events", limit="3", cursor=page["nextCursor"])
    assert ([item["value"] for item in rest["data"]], rest["hasMore"]) == ([0], False)
    assert "nextCursor" not in rest

    def found(page: dict[str, Any]) -> list[str]:
        return [item["code"] or item["verdict"] for item in page["data"]]

    refusals = ["customer_not_found", "customer_not_found"]
    assert found(await bench.told("events", verdict="refused")) == ["feature_not_in_plan", *refusals]
    assert found(await bench.told("events", verdict="refused", customerId="acme")) == [
        "feature_not_in_plan",
        refusals[0],
    ]
    assert found(await bench.told("events", verdict="refused", customerId="nobody")) == [refusals[0]]
    everything = await bench.told("events", verdict="all", feature="api_call")
    assert found(everything) == ["feature_not_in_plan", *["counted"] * 4, *refusals]
    assert len((await bench.told("events", verdict="all"))["data"]) == 7
    one = await bench.told(f"events/{refused(bench, 1).id}")
    assert (one["object"], one["customerId"], one["reason"]) == ("usage_refusal", "nobody", "No customer nobody.")
    assert (await bench.get(f"events/{refused(bench, 2).id}")).status_code == 404


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"customerId": "nobody"}, 404, "customer_not_found"),
        ({"feature": "nothing"}, 404, "feature_not_found"),
        ({"verdict": "maybe"}, 400, "validation_error"),
        ({"cursor": "zzz"}, 400, "validation_error"),
        ({"limit": "1000"}, 400, "validation_error"),
    ],
)
async def test_a_list_of_what_does_not_exist_is_refused(
    bench: Bench, query: dict[str, str], status: int, code: str
) -> None:
    answer = await bench.get("events", **query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_series_sums_exactly_and_says_how_fresh_it_is(bench: Bench) -> None:
    lane = bench.lane()
    events = [bench.event(quantity="0.1"), bench.event(quantity="0.2"), bench.event(quantity="5")]
    outcomes = [COUNTED, COUNTED, Outcome(verdict=Verdict.BLOCKED)]
    offset = await bench.append(*events)
    await bench.fold(lane, offset, *outcomes)
    await bench.sink(lane, offset, events, outcomes)
    window = {"from": "2025-10-08", "to": "2025-10-10"}
    behind = await bench.told("query", feature="calls", customerId="acme", **window)
    assert (behind["total"], behind["asOf"]) == (Decimal("0.3"), None)
    await bench.sank(lane, offset + 1)
    series = await bench.told("query", feature="calls", customerId="acme", **window)
    assert [(bucket["start"], bucket["value"]) for bucket in series["buckets"]] == [
        ("2025-10-08T00:00:00.000Z", 0),
        ("2025-10-09T00:00:00.000Z", Decimal("0.3")),
    ]
    assert series["asOf"] == instant_text(NOW_MS + 5)
    assert series["customerId"] == ids.id_text(ids.CUSTOMER, bench.customers[0])
    everybody = await bench.told("query", feature="api_call", granularity="hour")
    assert (everybody["total"], everybody["customerId"]) == (Decimal("0.3"), None)
    assert len(everybody["buckets"]) == 24
    assert (await bench.told("query", feature="calls", who=1))["total"] == 0


async def test_older_eras_get_their_envelope_and_names(bench: Bench) -> None:
    await bench.sink(bench.lane(), 0, [bench.event(key="k")], [COUNTED])
    listed = (await bench.get("events", prefix="/api")).json()
    assert (listed["success"], listed["hasMore"]) == (True, False)
    assert (listed["data"][0]["feature"], listed["data"][0]["idempotencyKey"]) == ("calls", "k")
    series = (await bench.get("query", prefix="/api", feature="calls")).json()
    assert (series["success"], series["data"]["feature"]) == (True, "calls")


@pytest.mark.parametrize("path", ["query?feature=calls", "events", "events/evt_x"])
async def test_a_key_that_may_not_read_usage_is_refused(bench: Bench, path: str) -> None:
    answer = await bench.get(path, who=2)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
