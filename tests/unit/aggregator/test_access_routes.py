"""Feature access over HTTP on a real catalog and LIVE in memory: fresh, shared looks, and 503 rather than a guess."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from aggregator.account import Account, WindowTotal, encode_account
from aggregator.gateway import AccessGateway
from aggregator.routes.access import ROUTES, AccessRoutes
from catalog.definition import SANDBOX, Customer, Feature, FeatureKind
from catalog.gateway.catalog import Catalog
from catalog.routes import ROUTES as CATALOG_ROUTES
from catalog.store import customer as customer_store
from catalog.store import feature as feature_store
from catalog.store.deployment import ensure_deployment
from catalog.store.key import create_key
from catalog.store.organization import create_organization
from catalog.store.version import read_version
from catalog.terms import ConsumptionModel, FeatureTerms, Snapshot, SubscriptionStatus, Terms, encode_snapshot
from kernel import ids
from kernel.clock import ManualClock
from kernel.engine.live.base import READY, FoldWrite, LaneHeader, LaneView, Written
from kernel.engine.live.memory import MemoryLive
from kernel.engine.sql.base import metadata
from kernel.engine.sql.sqlite import Sqlite
from kernel.lane import lane_of
from kernel.period import DAY_MS, Interval, period_of
from kernel.quantity import UNITS_PER_ONE
from kernel.telemetry import Telemetry
from meterline.front import Front
from meterline.http import litestar_app

NOW_MS = 1_760_000_000_000
TODAY = NOW_MS // DAY_MS
LANES = 2


class CountingLive(MemoryLive):
    """LIVE in memory that counts its looks, which take a turn of the loop."""

    looks = 0

    async def view(self, lane: int, customers: Sequence[bytes]) -> LaneView:
        type(self).looks += 1
        view = await super().view(lane, customers)
        await asyncio.sleep(0)
        return view


class Bench:
    """One organization with the customer `acme`, the feature `calls` and its usage in LIVE."""

    def __init__(self, live: MemoryLive, catalog: Catalog, clock: ManualClock) -> None:
        self.live, self.catalog, self.clock = live, catalog, clock
        self.customer = ids.new_bytes(NOW_MS)
        self.feature = ids.new_bytes(NOW_MS)
        self.key = self.restricted = ""
        self.gateway = AccessGateway(live, catalog, clock)
        routes = AccessRoutes(self.gateway, catalog, clock)
        dependencies = {"catalog": catalog, "access": self.gateway, "sql": catalog.sql, "live": live, "clock": clock}
        front = Front(
            hot={},
            cool=litestar_app([*ROUTES, *CATALOG_ROUTES], dependencies),
            telemetry=Telemetry(),
            ready=self.not_ready,
            clock=clock,
            hot_match=routes.match,
        )
        self.match = routes.match
        transport = httpx.ASGITransport(app=front)  # type: ignore[arg-type] # an ASGI application by another name
        self.http = httpx.AsyncClient(transport=transport, base_url="http://test")

    async def not_ready(self) -> str | None:
        return None

    @property
    def lane(self) -> int:
        return lane_of(self.customer, LANES)

    async def get(
        self, path: str, *, key: str | None = None, version: str | None = None, **query: str
    ) -> httpx.Response:
        headers = {"x-api-key": self.key if key is None else key}
        if version is not None:
            headers["commet-version"] = version
        return await self.http.get(path, params=query, headers=headers)

    async def told(self, path: str, **query: str) -> dict[str, Any]:
        answer = await self.get("/api/v1" + path, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def use(self, units: int, *, next_offset: int = 1, rev: int = 1, included: int = 10, **of_terms: Any) -> None:
        """Write what the fold would: the snapshot and so many units in the window of now."""
        window = period_of(TODAY, TODAY, Interval.MONTHLY)
        terms = Terms(
            number=1,
            subscription="sub_1",
            plan="pln_1",
            start_us=TODAY * DAY_MS * 1_000,
            anchor=TODAY,
            since=TODAY,
            free=False,
            features=(
                FeatureTerms(feature=self.feature, code="calls", kind="metered", included=included * UNITS_PER_ONE),
            ),
            **of_terms,
        )
        snapshot = Snapshot(
            organization=b"o" * 16,
            customer=self.customer,
            rev=rev,
            status=SubscriptionStatus.ACTIVE,
            end_us=None,
            terms=terms,
            next=None,
            cut=0,
        )
        total = WindowTotal(end=window.end, now=units * UNITS_PER_ONE, at_cut=0)
        account = Account(rev=rev, clock_ms=NOW_MS, totals={(self.feature, 1, window.start): total})
        header = (await self.live.view(self.lane, ())).header
        assert header is not None
        change = FoldWrite(
            expected=header,
            next=next_offset,
            clock_ms=NOW_MS,
            seen_ms=self.clock.now_ms(),
            generations=[],
            fresh=[],
            drop_generations=[],
            keys=[],
            snapshots={self.customer: encode_snapshot(snapshot)},
            accounts={self.customer: encode_account(account)},
            outcomes={},
        )
        assert isinstance(await self.live.write(self.lane, change), Written)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = ManualClock(NOW_MS)
    sql = await Sqlite.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    live = CountingLive(clock)
    async with sql.transaction() as connection:
        await connection.run_sync(metadata.create_all)
        deployment = await ensure_deployment(connection, LANES)
    bench = Bench(live, Catalog(sql, live, clock), clock)
    async with sql.transaction() as connection:
        organization = await create_organization(connection, "one", SANDBOX, NOW_MS)
        _, bench.key = await create_key(connection, organization, name="k", now_ms=NOW_MS)
        _, bench.restricted = await create_key(
            connection, organization, name="r", now_ms=NOW_MS, permissions={"customer": ("read",)}
        )
        shared = {"organization": organization.id, "created_ms": NOW_MS, "updated_ms": NOW_MS}
        customer = Customer(id=bench.customer, external_id="acme", email="a@example.com", **shared)
        await customer_store.create_customer(connection, customer)
        kind = FeatureKind.METERED
        feature = Feature(id=bench.feature, code="calls", event_code="calls", name="Calls", kind=kind, **shared)
        await feature_store.create_feature(connection, feature)
    await bench.catalog.start()
    for lane in range(LANES):
        header = LaneHeader(
            epoch=deployment.epoch, token=b"t", rules=1, next=0, sunk=0, clock_ms=0, seen_ms=NOW_MS, state=READY
        )
        assert await live.begin_rebuild(lane, token=b"t", expected_token=None)
        assert await live.finish_rebuild(lane, step=0, header=header)
    yield bench
    await bench.http.aclose()
    await sql.close()


async def test_one_feature_and_all_in_every_era(bench: Bench) -> None:
    await bench.use(4)
    one = await bench.told("/feature-access/calls", customerId="acme")
    assert (one["object"], one["livemode"], one["allowed"], one["consumption"]["remainingUnits"]) == (
        "feature_access",
        False,
        True,
        6,
    )
    listed = await bench.told("/feature-access", customerId=ids.id_text(ids.CUSTOMER, bench.customer))
    assert listed == {"object": "list", "data": [one], "hasMore": False}
    old = (await bench.get("/api/features/calls", customerId="acme")).json()
    assert (old["success"], old["data"]["current"], old["data"]["overage"]) == (True, 4, 0)
    assert (await bench.get("/api/features", customerId="acme")).json()["data"] == [old["data"]]
    middle = (await bench.get("/api/v1/feature-access/calls", version="2026-07-11", customerId="acme")).json()
    assert (middle["data"]["overageQuantity"], middle["data"]["type"]) == (0, "usage")


async def test_can_use_on_both_paths(bench: Bench) -> None:
    await bench.use(9)
    may = await bench.told("/feature-access/calls", customerId="acme", action="canUse")
    assert (may["allowed"], may["willBeCharged"]) == (True, False)
    await bench.use(10, next_offset=2)
    old = (await bench.get("/api/features/calls", customerId="acme", action="canUse")).json()["data"]
    assert (old["allowed"], old["willBeCharged"], old["reason"]) == (False, False, "included_limit_reached")


async def test_the_raw_route_and_its_twin_give_the_same_answer(bench: Bench) -> None:
    await bench.use(4)
    query = {"customerId": "acme"}
    hot = await bench.told("/feature-access/calls", **query)
    cool = await bench.told("/feature-access/calls/", **query)
    assert hot == cool


def test_which_requests_are_hot(bench: Bench) -> None:
    hot = [
        ("/api/v1/feature-access/calls", b""),
        ("/api/feature-access/calls", b"customerId=a"),
        ("/api/features/calls", b"action=canUse&customerId=a"),
        ("/api/v1/features/calls", b"externalId=a"),
    ]
    cool = [
        ("/api/v1/features/calls", b""),
        ("/api/v1/features", b"customerId=a"),
        ("/api/v1/feature-access", b"customerId=a"),
        ("/api/v1/feature-access/", b"customerId=a"),
        ("/api/v1/feature-access/a/b", b"customerId=a"),
        ("/feature-access/calls", b"customerId=a"),
    ]
    assert all(bench.match("GET", *asked) is not None for asked in hot)
    assert all(bench.match("GET", *asked) is None for asked in cool)
    assert bench.match("POST", *hot[0]) is None


REFUSED = [
    ({}, 400, "validation_error"),
    ({"customerId": "nobody"}, 404, "customer_not_found"),
    ({"customerId": "acme", "action": "other"}, 400, "validation_error"),
    ({"customerId": "acme", "minPosition": "1.0"}, 400, "validation_error"),
    ({"customerId": "acme", "minPosition": "1.9.0"}, 400, "validation_error"),
    ({"customerId": "acme", "minPosition": "1.-1.0"}, 400, "validation_error"),
]


@pytest.mark.parametrize(("query", "status", "code"), REFUSED)
async def test_refusals(bench: Bench, query: dict[str, str], status: int, code: str) -> None:
    for path in ("/feature-access/calls", "/feature-access"):
        answer = await bench.get("/api/v1" + path, **query)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["x-request-id"].startswith("req_")


async def test_who_may_ask_and_of_what(bench: Bench) -> None:
    path, query = "/api/v1/feature-access/calls", {"customerId": "acme"}
    assert (await bench.get(path, key="ck_wrong", **query)).status_code == 401
    assert (await bench.get(path, key=bench.restricted, **query)).json()["code"] == "forbidden"
    unknown = await bench.get("/api/v1/feature-access/nothing", **query)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "feature_not_found")


async def test_a_customer_without_a_subscription_gets_a_value(bench: Bench) -> None:
    told = await bench.told("/feature-access/calls", customerId="acme")
    assert (told["allowed"], told["reason"]) == (False, "no_subscription")
    assert (await bench.told("/feature-access", customerId="acme"))["data"] == []


async def test_what_the_catalog_gained_is_seen_at_once(bench: Bench) -> None:
    """Another process commits and raises the version: the look shows it, and the answer rests on the newer catalog."""
    await bench.use(1)
    await bench.told("/feature-access/calls", customerId="acme")
    async with bench.catalog.sql.transaction() as connection:
        feature = await feature_store.load_feature(connection, bench.catalog.organizations()[0].id, "calls")
        await feature_store.save_feature(connection, replace(feature, name="Requests"))
        version = await read_version(connection)
    await bench.live.raise_catalog(version)
    assert (await bench.told("/feature-access/calls", customerId="acme"))["name"] == "Requests"


async def test_live_away_or_being_rebuilt_is_503(bench: Bench) -> None:
    await bench.use(1)
    await bench.told("/feature-access/calls", customerId="acme")
    bench.live.away = True  # type: ignore[attr-defined] # the memory adapter's switch
    away = await bench.get("/api/v1/feature-access/calls", customerId="acme")
    assert (away.status_code, away.json()["code"], away.headers["retry-after"]) == (503, "service_unavailable", "1")
    bench.live.away = False
    assert await bench.live.begin_rebuild(bench.lane, token=b"u", expected_token=b"t")
    listed = await bench.get("/api/v1/feature-access", customerId="acme")
    assert (listed.status_code, listed.headers["retry-after"]) == (503, "1")


async def test_it_says_how_new_it_is(bench: Bench) -> None:
    await bench.use(1)
    told = await bench.told("/feature-access/calls", customerId="acme")
    assert (told["asOf"], told["lagMs"]) == ("2025-10-09T08:53:20.000Z", 0)
    bench.clock.advance(199)
    assert (await bench.told("/feature-access/calls", customerId="acme"))["lagMs"] == 0
    bench.clock.advance(1)
    assert (await bench.told("/feature-access/calls", customerId="acme"))["lagMs"] == 200


async def test_a_position_is_waited_for(bench: Bench) -> None:
    await bench.use(1, next_offset=5)
    epoch, lane = bench.catalog.deployment.epoch, bench.lane
    query = {"customerId": "acme"}
    for reached in (f"{epoch}.{lane}.4", f"{epoch - 1}.{lane}.900"):
        told = await bench.told("/feature-access/calls", minPosition=reached, **query)
        assert told["positionReached"] is True
    waiting = asyncio.create_task(bench.told("/feature-access/calls", minPosition=f"{epoch}.{lane}.5", **query))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await bench.use(2, next_offset=6)
    told = await waiting
    assert (told["positionReached"], told["consumption"]["unitsUsed"]) == (True, 2)
    waiting = asyncio.create_task(bench.told("/feature-access/calls", minPosition=f"{epoch}.{lane}.6", **query))
    await asyncio.sleep(0.05)
    bench.clock.advance(1_000)
    told = await waiting
    assert (told["positionReached"], told["consumption"]["unitsUsed"]) == (False, 2)


async def test_reads_that_wait_together_share_a_look(bench: Bench) -> None:
    await bench.use(1)
    await bench.told("/feature-access/calls", customerId="acme")
    CountingLive.looks = 0
    answers = await asyncio.gather(*[bench.told("/feature-access/calls", customerId="acme") for _ in range(50)])
    assert all(answer == answers[0] for answer in answers)
    assert CountingLive.looks < 10


@pytest.mark.parametrize(("terms", "currency"), [("eur", "eur"), ("", "usd")])
async def test_money_is_told_in_the_subscriptions_currency(bench: Bench, terms: str, currency: str) -> None:
    """R-REG-5; terms that say none are older than local currencies."""
    await bench.use(1, model=ConsumptionModel.BALANCE, pool=10 * UNITS_PER_ONE, currency=terms)
    told = await bench.told("/feature-access/calls", customerId="acme")
    assert (told["pool"]["currency"], told["consumption"]["spent"]["currency"]) == (currency, currency)


async def test_a_new_snapshot_is_decoded(bench: Bench) -> None:
    await bench.use(1)
    assert (await bench.told("/feature-access/calls", customerId="acme"))["consumption"]["includedUnits"] == 10
    await bench.use(1, next_offset=2, rev=2, included=20)
    assert (await bench.told("/feature-access/calls", customerId="acme"))["consumption"]["includedUnits"] == 20


async def test_a_dry_run(bench: Bench) -> None:
    await bench.use(8)
    body = {"customerId": "acme", "featureCode": "calls", "quantity": 3}
    headers = {"x-api-key": bench.key}
    answer = await bench.http.post("/api/v1/usage/check", json=body, headers=headers)
    told = answer.json()
    assert (answer.status_code, told["object"], told["allowed"], told["remaining"]) == (200, "usage_check", False, 2)
    body = {"customerId": "acme", "feature": "calls"}
    wrapped = await bench.http.post("/api/usage/check", json=body, headers=headers)
    assert (wrapped.json()["data"]["allowed"], wrapped.json()["data"]["quantity"]) == (True, 1)
    for wrong in ({"customerId": "acme"}, {**body, "quantity": -1}, {**body, "quantity": "x"}, {"feature": "calls"}):
        refused = await bench.http.post("/api/v1/usage/check", json=wrong, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (400, "validation_error")


async def test_a_catalog_that_never_rests_delays_nobody(bench: Bench) -> None:
    """One look tells how new the catalog has to be: what changes after it was not answered before the question."""
    await bench.use(1)
    view = bench.live.view

    async def busy(lane: int, customers: Sequence[bytes]) -> LaneView:
        await bench.live.raise_catalog(bench.catalog.version + 1)
        return await view(lane, customers)

    bench.live.view = busy  # type: ignore[method-assign] # other processes change the catalog before each look
    assert (await bench.told("/feature-access/calls", customerId="acme"))["allowed"] is True
