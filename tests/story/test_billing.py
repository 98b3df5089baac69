"""Billing on real SQLite, real chDB, the fold and the sink: periods become invoices, once, whatever dies or races."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, update

from aggregator.account import decode_account, encode_account
from aggregator.store import UsageStore
from aggregator.worker.lane import LaneWorker
from aggregator.worker.rebuild import rebuild_lane
from aggregator.worker.sink import Sink
from billing import tables
from billing.gateway import simulated_time
from billing.gateway.addon_sync import AddonSync
from billing.gateway.explain import Explainer
from billing.gateway.following import Following
from billing.gateway.plan_sync import PlanSync
from billing.routes import ROUTES
from billing.store import subscription as subscriptions
from billing.store.addon import addon_in_use
from billing.store.subscription import currency_in_use, plan_in_use
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog import store as catalog_store
from catalog.gateway import Catalog
from catalog.routes import ROUTES as CATALOG_ROUTES
from catalog.tables import organizations
from catalog.terms import decode_snapshot
from ingest.event import NO_DIGEST, NO_REQUEST, TokenUse, UsageEvent, content_digest, encode_usage
from kernel import ids
from kernel.clock import SystemClock
from kernel.engine.live.base import READY
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.engine.raw.clickhouse import ClickHouse
from kernel.engine.sql.base import Sql, metadata
from kernel.errors import MeterlineError
from kernel.lane import lane_of
from kernel.period import parse_instant_us
from kernel.settings import Settings
from kernel.telemetry import CounterName, Telemetry
from tests.raw_adapter import opened_with_tables
from tests.surface import surface

SECRET = "ck_sandbox_test"
LANES = 2
# 10 calls included, each further one 0.015; 49.00 a month
OVERAGE = {"enabled": True, "unitPriceDecimal": "0.015"}


class World:
    """One deployment on stores that outlive its workers, and an API client before it."""

    def __init__(self, sql: Sql, raw: ClickHouse) -> None:
        self.clock = SystemClock()
        self.sql, self.raw = sql, raw
        self.log = MemoryLog(epoch=1, lanes=LANES, clock=self.clock)
        self.live = MemoryLive(self.clock)
        self.store = UsageStore(raw)
        self.telemetry = Telemetry()
        self.settings = Settings()
        self.catalog = Catalog(sql, self.live, self.clock)
        self.sink = Sink(
            log=self.log,
            live=self.live,
            store=self.store,
            clock=self.clock,
            telemetry=self.telemetry,
            retain_ms=600_000,
            retain_bytes=2**24,
        )
        self.relay = self.new_relay()
        self.closer = self.new_closer()
        self.http: httpx.AsyncClient

    def new_relay(self) -> Relay:
        return Relay(self.sql, self.log, self.live, self.catalog, self.clock, "gw_test")

    def new_closer(self) -> Closer:
        return Closer(
            self.sql,
            self.live,
            self.store,
            self.sink.flush,
            self.relay,
            self.catalog,
            self.clock,
            self.telemetry,
            self.settings,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run fold and sink; relay and closer loops are the tests' to start."""
        tasks = [asyncio.create_task(self.sink.run())]
        for lane in range(LANES):
            worker = LaneWorker(
                lane,
                log=self.log,
                live=self.live,
                store=self.store,
                sink=self.sink,
                publish=lambda *_: None,
                clock=self.clock,
                telemetry=self.telemetry,
            )
            tasks.append(asyncio.create_task(worker.run()))
        routes = [*CATALOG_ROUTES, *ROUTES]
        dependencies = {
            "catalog": self.catalog,
            "sql": self.sql,
            "live": self.live,
            "usage_store": self.store,
            "relay": self.relay,
            "closer": self.closer,
            "access": None,
        }
        try:
            with surface(routes, dependencies) as app:
                transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://test/api/v1", headers={"x-api-key": SECRET}, timeout=60
                ) as self.http:
                    yield
        finally:
            await self.closer.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @contextmanager
    def closing_dies(self) -> Iterator[pytest.MonkeyPatch]:
        """Let the process die, as it were, before it closes what a request opened."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(
                self.closer, "close_customer_in_background", lambda _: asyncio.create_task(asyncio.sleep(0))
            )
            yield patched

    async def call(self, method: str, path: str, body: Any = None, *, expect: int = 200, **query: Any) -> Any:
        answer = await self.http.request(method, path, json=body, params=query or None)
        assert answer.status_code == expect, (method, path, answer.status_code, answer.text)
        self.headers = answer.headers
        return msgspec.json.decode(answer.content)

    async def now(self, instant: str, *, bill: bool = True) -> Any:
        return await self.call("POST", "/test-clock", {"frozenTime": instant, "bill": bill}, expect=202)

    async def plans(self) -> None:
        calls = await self.call("POST", "/features", {"name": "Calls", "code": "calls", "type": "usage"})
        self.calls = ids.id_bytes(calls["id"])
        self.starter = await self.plan("starter", 4900, calls["id"], {"includedAmount": 10, "overage": OVERAGE})
        self.free = await self.plan("free", None, calls["id"], {"includedAmount": 2})

    async def plan(self, code: str, price: int | None, feature: str, granted: dict[str, Any]) -> str:
        plan = await self.call("POST", "/plans", {"name": code, "code": code, "isFree": price is None})
        if price is not None:
            await self.call("POST", f"/plans/{plan['id']}/prices", {"billingInterval": "monthly", "price": price})
        await self.call("POST", f"/plans/{plan['id']}/features", {"featureId": feature, **granted})
        return plan["id"]

    async def group(self, *plans: str) -> None:
        """Put plans in one group, the lowest first."""
        group = await self.call("POST", "/plan-groups", {"name": "all", "isPublic": True})
        for place, plan in enumerate(plans):
            await self.call("POST", f"/plan-groups/{group['id']}/plans", {"planId": plan, "sortOrder": place})

    async def customer(self, reference: str) -> str:
        made = await self.call("POST", "/customers", {"id": reference, "email": f"{reference}@example.com"})
        return made["id"]

    async def subscribe(self, reference: str, plan: str = "starter") -> Any:
        return await self.call("POST", "/subscriptions", {"customerId": reference, "planCode": plan})

    async def track(
        self,
        customer_id: str,
        quantity: str,
        instant: str,
        *,
        accepted: str | None = None,
        tokens: TokenUse | None = None,
    ) -> None:
        """Append an event as a gateway would: `instant` is its time, `accepted` the test clock."""
        customer = ids.id_bytes(customer_id)
        organization = self.catalog.organizations()[0]
        event = UsageEvent(
            organization=organization.id,
            customer=customer,
            feature=self.calls,
            event_time_us=parse_instant_us(instant),
            at_ms=self.clock.now_ms(),
            clock_ms=parse_instant_us(accepted or instant) // 1000,
            quantity=quantity,
            key="",
            digest=NO_DIGEST,
            content=content_digest(self.calls, quantity),
            request=NO_REQUEST,
            tokens=tokens,
        )
        lane = lane_of(customer, LANES)
        offset = await self.log.append(lane, encode_usage("gw_test", [event]))
        async with asyncio.timeout(10):
            while (header := (await self.live.view(lane, [])).header) is None or header.next <= offset:
                await asyncio.sleep(0.001)

    async def invoices(self, reference: str) -> list[Any]:
        page = await self.call("GET", "/invoices", customerId=reference)
        return [await self.call("GET", f"/invoices/{item['id']}") for item in reversed(page["data"])]

    async def lines(self, reference: str) -> list[list[tuple[str, int]]]:
        return [[(line["kind"], line["amount"]) for line in one["lineItems"]] for one in await self.invoices(reference)]

    async def other_organization(self) -> str:
        """Make a second sandbox, and return its key."""
        secret = "ck_sandbox_other"
        async with self.sql.transaction() as connection:
            made = await catalog_store.create_organization(connection, "Other", "sandbox", self.clock.now_ms())
            now_ms = self.clock.now_ms()
            await catalog_store.create_key(connection, made, name="other", now_ms=now_ms, secret=secret)
        await self.catalog.refresh()
        return secret

    async def rows(self, table: Any) -> list[Any]:
        async with self.sql.snapshot() as connection:
            return list(await connection.execute(select(table)))

    async def snapshot(self, customer_id: str) -> Any:
        customer = ids.id_bytes(customer_id)
        [state] = (await self.live.view(lane_of(customer, LANES), [customer])).accounts
        return None if state.snapshot is None else decode_snapshot(state.snapshot)


class Template:
    """SQL as a story finds it, with its organization and plans: made by the first story, copied by the others."""

    def __init__(self, world: World, path: Path) -> None:
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._copy(sqlite3.connect(path), self._database)
        self._names = {name: getattr(world, name) for name in ("organization", "calls", "starter", "free")}

    def put_into(self, world: World, path: Path) -> None:
        """Fill the empty SQLite store at `path`, which may be open already."""
        self._copy(self._database, sqlite3.connect(path))
        vars(world).update(self._names)

    def _copy(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        source.backup(target)
        for one in (source, target):
            if one is not self._database:
                one.close()


TEMPLATES: list[Template] = []


@pytest.fixture
async def world(sql_at_full_count: Sql, tmp_path: Path) -> AsyncIterator[World]:
    sql, path = sql_at_full_count, tmp_path / "test.sqlite"
    raw = await opened_with_tables(tmp_path / "raw")
    world = World(sql, raw)
    copied = path.exists() and bool(TEMPLATES)
    if copied:
        TEMPLATES[0].put_into(world, path)
    else:
        async with sql.transaction() as connection:
            await connection.run_sync(metadata.create_all)
            await catalog_store.ensure_deployment(connection, LANES)
            organization = await catalog_store.create_organization(connection, "Test", "sandbox", world.clock.now_ms())
            await catalog_store.create_key(
                connection, organization, name="test", now_ms=world.clock.now_ms(), secret=SECRET
            )
        world.organization = organization.id_text
    await world.log.create()
    await world.catalog.start()
    plans = PlanSync(sql, world.relay, world.clock)
    world.catalog.on_plan_changed = plans.plan_changed
    addons = AddonSync(sql, world.relay, world.clock)
    world.catalog.on_addon_changed = addons.addon_changed
    world.catalog.on_customer_archived = plans.customer_archived
    world.catalog.end_customer = plans.end_customer
    world.catalog.plan_in_use = plan_in_use
    world.catalog.currency_in_use = currency_in_use
    world.catalog.addon_in_use = addon_in_use
    world.following = Following(sql, plans, addons)
    async with world.running():
        if not copied:
            await world.plans()
            if path.exists():
                TEMPLATES.append(Template(world, path))
        yield world
    await world.live.close()
    await world.log.close()
    await raw.close()


async def test_usage_becomes_an_invoice_at_the_month_end_and_late_usage_the_next_one(world: World) -> None:
    """R-INV-2, R-METER-1, R-TRACK-20."""
    await world.now("2026-01-31T12:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    assert (made["status"], made["object"], made["billingDayOfMonth"]) == ("active", "subscription", 31)
    assert made["currentPeriod"]["end"] == "2026-02-28T00:00:00.000Z"
    assert "x-meterline-visible" not in world.headers
    await world.track(acme, "12.5", "2026-02-03T00:00:00Z")
    await world.track(acme, "3", "2026-02-27T23:59:59.999999Z")
    active = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert active["features"][0]["usage"]["current"] == 15.5
    assert active["features"][0]["usage"]["overageQuantity"] == 5.5
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert (upcoming["id"], upcoming["invoiceNumber"], upcoming["status"]) == (None, None, "draft")

    run = await world.now("2026-02-28T00:00:00Z")
    assert (run["status"], run["completedDeadlineCount"]) == ("completed", 1)
    # 5.5 x 0.015 = 0.0825 is 8 cents
    assert await world.lines("acme") == [[("plan_base", 4900)], [("plan_base", 4900), ("overage", 8)]]
    closing = (await world.invoices("acme"))[1]
    assert (closing["invoiceNumber"], closing["total"], closing["status"]) == ("INV-000002", 4908, "outstanding")
    assert (closing["periodStart"], closing["periodEnd"]) == ("2026-02-28T00:00:00.000Z", "2026-03-31T00:00:00.000Z")
    assert closing["issueDate"] == "2026-02-28T00:00:00.000Z"
    for number in range(2):
        assert upcoming["lineItems"][number] | {"id": None} == closing["lineItems"][number] | {"id": None}

    # Late: within the closed window. 5.5 + 10 over is 0.2325, 23 cents in all.
    await world.track(acme, "10", "2026-02-10T00:00:00Z", accepted="2026-03-01T00:00:00Z")
    await world.track(acme, "1", "2026-03-01T00:00:00Z")
    upcoming = await world.call("GET", "/customers/acme/upcoming-invoice")
    assert [line["kind"] for line in upcoming["lineItems"]] == ["plan_base", "late_usage"]
    await world.now("2026-03-31T00:00:00Z")
    assert (await world.lines("acme"))[2] == [("plan_base", 4900), ("late_usage", 15)]
    third = (await world.invoices("acme"))[2]
    late = third["lineItems"][1]
    assert (late["quantityDecimal"], late["unitPriceDecimal"], late["usedDecimal"]) == ("10", "0.015", "25.5")
    behind = await world.call("GET", f"/invoices/{third['id']}/lines/{late['id']}/events")
    assert [(item["value"], item["cut"]) for item in behind["data"]] == [(10, 2)]
    first = closing["lineItems"][1]
    page = await world.call("GET", f"/invoices/{closing['id']}/lines/{first['id']}/events", limit=1)
    assert [item["value"] for item in page["data"]] == [12.5]
    rest = await world.call(
        "GET", f"/invoices/{closing['id']}/lines/{first['id']}/events", cursor=page["nextCursor"], limit=1
    )
    assert [item["value"] for item in rest["data"]] == [3]
    assert rest["hasMore"] is False
    base = await world.call("GET", f"/invoices/{third['id']}/lines/{third['lineItems'][0]['id']}/events")
    assert base["data"] == []


async def test_missed_boundaries_are_closed_in_order(world: World) -> None:
    """R-INV-11, R-CLOCK-3."""
    await world.now("2026-01-31T00:00:00Z")
    acme = await world.customer("acme")
    await world.subscribe("acme")
    await world.track(acme, "110", "2026-02-01T00:00:00Z")
    await world.now("2026-03-01T00:00:00Z", bill=False)
    await world.track(acme, "210", "2026-02-28T00:00:00Z", accepted="2026-03-01T00:00:00Z")
    run = await world.now("2026-05-01T00:00:00Z")
    assert [item["dueAt"][:10] for item in run["items"]] == ["2026-02-28", "2026-03-31", "2026-04-30"]
    base = ("plan_base", 4900)
    assert await world.lines("acme") == [[base], [base, ("overage", 150)], [base, ("overage", 300)], [base]]
    assert (await world.call("GET", "/test-clock"))["latestRun"]["status"] == "completed"


async def test_a_run_goes_on_while_a_close_that_it_does_not_list_does(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-CLOCK-3: of many closes the answer lists the first; the run is over when all are."""
    monkeypatch.setattr(simulated_time, "ITEMS_MAX", 1)
    await world.now("2026-01-05T00:00:00Z")
    for name in ("acme", "other"):
        await world.customer(name)
        await world.subscribe(name)
    run = await world.now("2026-02-05T00:00:00Z")
    assert (run["status"], len(run["items"])) == ("completed", 1)
    async with world.sql.transaction() as connection:
        await connection.execute(update(tables.clock_runs).values(status="running"))
        last = max(row.id for row in await connection.execute(select(tables.closes.c.id)))
        await connection.execute(update(tables.closes).where(tables.closes.c.id == last).values(state="cut"))
    assert (await world.call("GET", "/test-clock"))["latestRun"]["status"] == "running"


async def test_a_free_plan_has_no_invoice_and_no_cut(world: World) -> None:
    """R-FREE-1, R-FREE-8: its limits are whole again every month from the day of its activation."""
    await world.now("2026-01-10T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme", "free")
    assert (made["status"], made["billingInterval"], made["nextBillingDate"]) == ("active", None, None)
    await world.track(acme, "1", "2026-01-11T00:00:00Z")
    for instant, used in (("2026-02-09T23:59:59Z", 1), ("2026-02-10T00:00:00Z", 0)):
        await world.now(instant)
        active = await world.call("GET", "/subscriptions/active", customerId="acme")
        assert active["features"][0]["usage"]["current"] == used
    run = await world.now("2026-04-10T00:00:00Z")
    assert run["items"] == []
    assert await world.invoices("acme") == []
    await world.call("GET", "/customers/acme/upcoming-invoice", expect=404)
    ended = await world.call("POST", f"/subscriptions/{made['id']}/cancel")
    assert ended["status"] == "canceled"
    assert await world.call("GET", "/subscriptions/active", customerId="acme") is None
    assert (await world.snapshot(acme)).status == "canceled"
    assert [row.cut for row in await world.rows(tables.accounts)] == [0]


async def test_one_live_subscription_even_when_many_ask_at_once(world: World) -> None:
    """R-CUST-7, R-SUB-3."""
    await world.customer("acme")
    body = {"customerId": "acme", "planCode": "starter"}
    answers = await asyncio.gather(*(world.http.post("/subscriptions", json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 7
    codes = {msgspec.json.decode(answer.content).get("code") for answer in answers}
    assert codes == {None, "already_has_active_subscription"}
    assert len(await world.rows(tables.invoices)) == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"planId": "pln_x"}, 400, "validation_error"),
        ({"planCode": None}, 400, "validation_error"),
        ({"planCode": "nothing"}, 404, "plan_not_found"),
        ({"customerId": "nobody"}, 404, "customer_not_found"),
        ({"billingInterval": "yearly"}, 404, "price_not_found"),
        ({"billingInterval": "hourly"}, 400, "validation_error"),
        ({"startDate": "2020-01-01T00:00:00Z"}, 400, "validation_error"),
        ({"startDate": "soon"}, 400, "validation_error"),
        ({"initialSeats": {"team": 2}}, 404, "feature_not_found"),
    ],
)
async def test_what_cannot_be_subscribed_is_refused(world: World, change: Any, status: int, code: str) -> None:
    await world.customer("acme")
    body = {"customerId": "acme", "planCode": "starter", **change}
    answer = await world.call("POST", "/subscriptions", body, expect=status)
    assert answer["code"] == code
    assert await world.rows(tables.subscriptions) == []


async def test_sixteen_closers_at_once_write_one_invoice(world: World) -> None:
    """R-INV-11, R-INV-10."""
    await world.now("2026-01-05T00:00:00Z")
    customers = [await world.customer(f"customer-{number}") for number in range(6)]
    for number, customer in enumerate(customers):
        await world.subscribe(f"customer-{number}")
        await world.track(customer, str(100 + number), "2026-01-06T00:00:00Z")
    await world.now("2026-03-05T00:00:00Z", bill=False)
    summaries = await asyncio.gather(*(world.new_closer().close_due() for _ in range(16)))
    assert sum(summary.invoices for summary in summaries) == 12
    invoices = await world.rows(tables.invoices)
    assert sorted(row.number for row in invoices) == list(range(1, 6 + 12 + 1))
    assert len({row.source for row in invoices}) == 18
    assert {row.state for row in await world.rows(tables.closes)} == {"settled"}
    assert len(await world.rows(tables.outbox)) == 18
    for number in range(6):
        overage = -(-(90 + number) * 15 // 10) if (90 + number) * 15 % 10 >= 5 else (90 + number) * 15 // 10
        assert (await world.lines(f"customer-{number}"))[1:] == [
            [("plan_base", 4900), ("overage", overage)],
            [("plan_base", 4900)],
        ]


async def test_calls_in_one_process_share_the_closes(world: World) -> None:
    """DESIGN 3.8: what one call has under way another one waits for, and writes nothing of its own."""
    await world.now("2026-01-05T00:00:00Z")
    customers = [await world.customer(f"customer-{number}") for number in range(6)]
    for number, customer in enumerate(customers):
        await world.subscribe(f"customer-{number}")
        await world.track(customer, "20", "2026-01-06T00:00:00Z")
    await world.now("2026-03-05T00:00:00Z", bill=False)
    before = [(await world.log.bounds(lane)).end for lane in range(LANES)]
    summaries = await asyncio.gather(*(world.closer.close_due() for _ in range(8)))
    assert sum(summary.invoices for summary in summaries) == 12
    assert {row.state for row in await world.rows(tables.closes)} == {"settled"}
    after = [(await world.log.bounds(lane)).end for lane in range(LANES)]
    assert sum(after) - sum(before) == 2 * len(customers)  # a snapshot a cut


async def test_a_closer_that_dies_anywhere_is_resumed(world: World) -> None:
    await world.now("2026-01-05T00:00:00Z")
    customers = [await world.customer(f"customer-{number}") for number in range(4)]
    for number, customer in enumerate(customers):
        await world.subscribe(f"customer-{number}")
        await world.track(customer, "20", "2026-01-06T00:00:00Z")
    await world.now("2026-04-05T00:00:00Z", bill=False)
    deaths = random.Random(7)
    for _ in range(25):
        dying = asyncio.create_task(world.new_closer().close_due())
        await asyncio.sleep(deaths.uniform(0, 0.05))
        dying.cancel()
        with suppress(asyncio.CancelledError, MeterlineError):
            await dying
    await settled(world)
    assert (await world.new_closer().close_due()).settled == 0
    rows = await world.rows(tables.invoices)
    assert sorted(row.number for row in rows) == list(range(1, 4 * 4 + 1))
    for number in range(4):
        base = ("plan_base", 4900)
        assert await world.lines(f"customer-{number}") == [[base], [base, ("overage", 15)], [base], [base]]
    assert [row.open_cut for row in await world.rows(tables.accounts)] == [None] * 4


async def settled(world: World) -> None:
    """Close until it works, as the closer's loop does: a store that is away for a moment ends a pass, not the work."""
    async with asyncio.timeout(60):
        while True:
            with suppress(MeterlineError):
                await world.new_closer().close_due()
                return


async def test_an_invoice_stops_when_live_and_raw_differ_and_goes_on_after_a_rebuild(world: World) -> None:
    await world.now("2026-01-05T00:00:00Z")
    acme, other = await world.customer("acme"), await world.customer("other")
    subscription = await world.subscribe("acme")
    await world.subscribe("other")
    await world.track(acme, "12", "2026-01-06T00:00:00Z")
    await world.track(other, "12", "2026-01-06T00:00:00Z")
    lane, customer = lane_of(ids.id_bytes(acme), LANES), ids.id_bytes(acme)
    await spoil(world, lane, customer)
    await world.call("POST", "/test-clock", {"advanceDays": 31}, expect=202)
    run = (await world.call("GET", "/test-clock"))["latestRun"]
    assert (run["status"], run["failedDeadlineCount"], run["completedDeadlineCount"]) == ("failed", 1, 1)
    assert len(await world.lines("acme")) == 1
    assert len(await world.lines("other")) == 2
    [stopped] = [row for row in await world.rows(tables.closes) if row.state == "stopped"]
    assert (list(stopped.live.values()), list(stopped.raw.values())) == (["13"], ["12"])
    assert f"{CounterName.CLOSE_STOPPED.value.split('|')[0]}_total 1.0" in world.telemetry.render().decode()
    told = await Explainer(world.sql, world.live, world.store, world.catalog).explain_close(subscription["id"])
    assert [one["state"] for one in told["closes"]] == ["stopped"]
    assert (list(told["closes"][0]["liveNow"].values()), list(told["closes"][0]["rawNow"].values())) == (
        ["13"],
        ["12"],
    )
    assert (await world.new_closer().close_due()).settled == 0  # it stays stopped until it is asked for

    header = (await world.live.view(lane, [])).header
    await world.sink.flush()
    assert await rebuild_lane(
        lane,
        log=world.log,
        live=world.live,
        store=world.store,
        clock=world.clock,
        telemetry=world.telemetry,
        expected_token=header.token,
    )
    assert (await world.new_closer().close_due(resume=True)).settled == 1
    assert (await world.lines("acme"))[1] == [("plan_base", 4900), ("overage", 3)]


async def spoil(world: World, lane: int, customer: bytes) -> None:
    """Make the lane again with one unit more in the customer's totals, as a rebuild with a fault would."""
    header = (await world.live.view(lane, [])).header
    dump = await world.live.dump(lane)
    account = decode_account(dump["accounts"][customer])
    totals = {key: msgspec.structs.replace(total, now=total.now + 10**9) for key, total in account.totals.items()}
    spoiled = encode_account(msgspec.structs.replace(account, totals=totals))
    token = b"spoiled spoiled "
    assert await world.live.begin_rebuild(lane, token=token, expected_token=header.token)
    accounts = {**dump["accounts"], customer: spoiled}
    assert await world.live.fill(lane, token=token, step=0, keys=[], snapshots=dump["snapshots"], accounts=accounts)
    assert await world.live.finish_rebuild(lane, step=1, header=msgspec.structs.replace(header, token=token))


async def test_cancel_at_the_period_end_bills_what_is_left_and_no_base(world: World) -> None:
    """R-SUB-6, R-SUB-7."""
    await world.now("2026-01-05T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await world.track(acme, "12", "2026-01-06T00:00:00Z")
    ending = await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"reason": "too dear"})
    assert (ending["status"], ending["cancelAtPeriodEnd"]) == ("active", True)
    assert ending["endDate"] == "2026-02-05T00:00:00.000Z"
    assert ending["cancellation"]["reason"] == "too dear"
    again = await world.call("POST", f"/subscriptions/{made['id']}/cancel")
    assert again["endDate"] == ending["endDate"]
    seen = await world.snapshot(acme)
    assert (seen.status, seen.end_us, seen.next) == ("active", parse_instant_us("2026-02-05T00:00:00Z"), None)
    await world.now("2026-03-05T00:00:00Z")
    assert await world.lines("acme") == [[("plan_base", 4900)], [("overage", 3)]]
    ended = await world.call("GET", f"/subscriptions/{made['id']}")
    assert ended["status"] == "canceled"
    refusal = await world.call("POST", f"/subscriptions/{made['id']}/cancel", expect=409)
    assert refusal["code"] == "subscription_already_canceled"
    assert (await world.subscribe("acme"))["status"] == "active"
    assert (await world.snapshot(acme)).terms.number == 2


async def test_cancel_now_bills_the_usage_so_far(world: World) -> None:
    """R-SUB-6."""
    await world.now("2026-01-05T10:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await world.track(acme, "110", "2026-01-06T00:00:00Z")
    await world.now("2026-01-20T09:30:00Z")
    ended = await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    assert (ended["status"], ended["endDate"]) == ("canceled", "2026-01-20T09:30:00.000Z")
    assert await world.lines("acme") == [[("plan_base", 4900)], [("overage", 150)]]
    final = (await world.invoices("acme"))[1]
    assert (final["periodStart"][:10], final["periodEnd"]) == ("2026-01-05", "2026-01-20T09:30:00.000Z")
    quiet = await world.customer("quiet")
    made = await world.subscribe("quiet")
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    assert await world.lines("quiet") == [[("plan_base", 4900)]]
    assert (await world.snapshot(quiet)).status == "canceled"


async def test_terms_are_frozen_for_the_period_and_only_widen_within_it(world: World) -> None:
    """R-PRICE-1, R-BH-3, R-ACC-7: the highest value since the period began holds until its end."""
    await world.now("2026-01-05T00:00:00Z")
    acme = await world.customer("acme")
    await world.subscribe("acme")
    feature = f"/plans/{world.starter}/features/{ids.id_text(ids.FEATURE, world.calls)}"
    price = (await world.call("GET", "/plans/starter"))["prices"][0]["id"]
    # Raised included: at once. Price and base: from the next period on.
    dearer = {"enabled": True, "unitPriceDecimal": "0.03"}
    await world.call("PATCH", feature, {"includedAmount": 20, "overage": dearer})
    await world.call("PATCH", f"/plans/{world.starter}/prices/{price}", {"price": 5900})
    seen = await world.snapshot(acme)
    now, then = seen.terms.features[0], seen.next.features[0]
    assert (now.included, now.unit_price) == (20 * 10**9, "0.015")
    assert (then.included, then.unit_price) == (20 * 10**9, "0.03")
    # Lowered: from the next period on; the highest value holds until then.
    await world.call("PATCH", feature, {"includedAmount": 5, "overage": dearer})
    seen = await world.snapshot(acme)
    assert (seen.terms.features[0].included, seen.next.features[0].included) == (20 * 10**9, 5 * 10**9)
    active = await world.call("GET", "/subscriptions/active", customerId="acme")
    assert active["features"][0]["usage"]["included"] == 20
    await world.track(acme, "120", "2026-01-06T00:00:00Z")
    await world.now("2026-02-05T00:00:00Z")
    await world.track(acme, "105", "2026-02-06T00:00:00Z")
    await world.now("2026-03-05T00:00:00Z")
    assert await world.lines("acme") == [
        [("plan_base", 4900)],
        [("plan_base", 5900), ("overage", 150)],
        [("plan_base", 5900), ("overage", 300)],
    ]


async def test_a_feature_that_is_added_reaches_subscribers_at_once_and_a_removed_one_at_renewal(world: World) -> None:
    await world.now("2026-01-05T00:00:00Z")
    acme, tiny = await world.customer("acme"), await world.customer("tiny")
    await world.subscribe("acme")
    await world.subscribe("tiny", "free")
    sso = await world.call("POST", "/features", {"name": "SSO", "code": "sso", "type": "boolean"})
    for plan in (world.starter, world.free):
        await world.call("POST", f"/plans/{plan}/features", {"featureId": sso["id"], "enabled": True})
        calls = ids.id_text(ids.FEATURE, world.calls)
        await world.call("DELETE", f"/plans/{plan}/features/{calls}")
    for customer in (acme, tiny):
        seen = await world.snapshot(customer)
        assert [one.code for one in seen.terms.features] == ["calls", "sso"]
        assert [one.code for one in seen.next.features] == ["sso"]
        assert seen.next.since == parse_instant_us("2026-02-05T00:00:00Z") // 86_400_000_000
    await world.now("2026-02-10T00:00:00Z")
    await world.call("POST", f"/plans/{world.free}/features", {"featureId": calls, "includedAmount": 7})
    seen = await world.snapshot(tiny)
    assert seen.next is None
    assert [(one.code, one.included) for one in seen.terms.features] == [("sso", 0), ("calls", 7 * 10**9)]


async def test_archiving_a_customer_ends_its_subscription(world: World) -> None:
    """R-CUST-8, R-CUST-9."""
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    answer = await world.http.put("/customers/acme", json={"isActive": False}, headers={"commet-version": "2026-05-01"})
    assert answer.status_code == 200, answer.text
    assert (await world.call("GET", f"/subscriptions/{made['id']}"))["status"] == "canceled"
    assert (await world.snapshot(acme)).status == "canceled"
    refusal = await world.call("POST", "/subscriptions", {"customerId": "acme", "planCode": "free"}, expect=400)
    assert refusal["code"] == "validation_error"


async def test_a_regional_price_in_use_stays(world: World) -> None:
    """R-REG-4, R-REG-7: contract row 62; another price is set, none is dropped, until the subscription is over."""
    path = f"/plans/{world.starter}"
    price = (await world.call("GET", path))["prices"][0]["id"]
    by_hand = {"overrides": [{"currency": "eur", "price": 4500}, {"currency": "jpy", "price": 700_000}]}
    await world.call("PUT", f"{path}/prices/{price}/regional", by_hand)
    await world.customer("acme")
    made = await world.subscribe("acme")
    async with world.sql.transaction() as connection:
        await connection.execute(update(tables.subscriptions).values(currency="eur"))
    less = {"overrides": by_hand["overrides"][1:]}
    for method, where, body in (
        ("DELETE", f"{path}/prices/{price}/regional", None),
        ("DELETE", f"{path}/regional/EUR", None),
        ("PUT", f"{path}/prices/{price}/regional", less),
    ):
        assert (await world.call(method, where, body, expect=409))["code"] == "price_in_use"
    await world.call("DELETE", f"{path}/regional/jpy")
    dearer = {"overrides": [{"currency": "eur", "price": 5500}]}
    await world.call("PUT", f"{path}/prices/{price}/regional", dearer)
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    assert (await world.call("DELETE", f"{path}/prices/{price}/regional"))["deleted"] is True


async def test_a_plan_in_use_cannot_be_removed(world: World) -> None:
    await world.customer("acme")
    await world.subscribe("acme")
    assert (await world.call("DELETE", f"/plans/{world.starter}", expect=409))["code"] == "plan_in_use"
    await world.call("DELETE", f"/plans/{world.free}")


async def test_the_relay_shows_what_a_dead_process_left(world: World) -> None:
    acme = await world.customer("acme")
    await world.subscribe("acme")
    async with world.sql.transaction() as connection:
        await connection.execute(update(tables.accounts).values(rev=tables.accounts.c.rev + 3))
    await world.relay.pass_once()
    assert (await world.snapshot(acme)).rev == 4
    assert [(row.rev, row.shown_rev) for row in await world.rows(tables.accounts)] == [(4, 4)]


async def test_after_a_rebuild_without_the_account_the_relay_sends_it_again(world: World) -> None:
    acme = await world.customer("acme")
    await world.subscribe("acme")
    await world.relay.pass_once()
    lane, customer = lane_of(ids.id_bytes(acme), LANES), ids.id_bytes(acme)
    header = (await world.live.view(lane, [])).header
    # LIVE comes back without the customer: a new token, and nothing of it in the lane.
    token = b"t" * 16
    assert await world.live.begin_rebuild(lane, token=token, expected_token=header.token)
    assert await world.live.finish_rebuild(
        lane, step=0, header=msgspec.structs.replace(header, token=token, state=READY)
    )
    assert await world.snapshot(acme) is None
    async with asyncio.timeout(10):
        while await world.snapshot(acme) is None:
            await world.relay.pass_once()
            await asyncio.sleep(0.01)
    assert (await world.live.view(lane, [customer])).accounts[0].account is not None


async def test_two_subscriptions_of_a_customer_never_mix_their_windows(world: World) -> None:
    await world.now("2026-01-05T00:00:00Z")
    acme = await world.customer("acme")
    made = await world.subscribe("acme")
    await world.track(acme, "12", "2026-01-05T01:00:00Z")
    await world.call("POST", f"/subscriptions/{made['id']}/cancel", {"immediate": True})
    await world.closer.close_due()  # the final invoice, before the next subscription's first
    await world.subscribe("acme")
    await world.track(acme, "11", "2026-01-05T02:00:00Z")
    await world.now("2026-02-05T00:00:00Z")
    base = ("plan_base", 4900)
    # 2 x 0.015 = 0.03; 1 x 0.015 = 0.015, two cents
    assert await world.lines("acme") == [[base], [("overage", 3)], [base], [base, ("overage", 2)]]


async def test_the_clock_is_set_anywhere_once_then_only_forward(world: World) -> None:
    """R-CLOCK-1."""
    assert (await world.call("GET", "/test-clock"))["simulatedTime"] is None
    await world.now("2019-06-01T00:00:00Z")
    shown = await world.call("GET", "/test-clock")
    assert (shown["simulatedTime"], shown["isActive"]) == ("2019-06-01T00:00:00.000Z", True)
    back = await world.call("POST", "/test-clock", {"frozenTime": "2019-05-31T00:00:00Z"}, expect=400)
    assert back["code"] == "validation_error"
    moved = await world.call("POST", "/test-clock", {"advanceDays": 2}, expect=202)
    assert (moved["startedAtTime"][:10], moved["targetTime"][:10]) == ("2019-06-01", "2019-06-03")
    beyond = ({"frozenTime": "2300-01-01T00:00:00Z"}, {"frozenTime": "1969-12-31T23:59:59Z"})
    both = {"advanceDays": 1, "frozenTime": "2020-01-01"}
    for body in ({}, both, {"advanceDays": 0}, {"frozenTime": "later"}, *beyond):
        assert (await world.call("POST", "/test-clock", body, expect=400))["code"] == "validation_error"


async def test_a_clock_that_is_moved_again_under_its_key_is_told_its_run(world: World) -> None:
    """R-CLOCK-3, contract 1.5.4: with what it billed, and the clock moves once."""
    await world.now("2026-01-01T00:00:00Z")
    await world.customer("acme")
    await world.subscribe("acme")
    body, key = {"advanceDays": 31}, {"idempotency-key": "once"}
    first = await world.http.post("/test-clock", json=body, headers=key)
    assert [item["outcome"] for item in first.json()["items"]] == ["invoiced"]
    again = await world.http.post("/test-clock", json=body, headers=key)
    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (202, first.content, "true")
    assert (await world.call("GET", "/test-clock"))["simulatedTime"] == "2026-02-01T00:00:00.000Z"


async def test_the_first_setting_does_not_go_back_once_there_are_subscriptions(world: World) -> None:
    """R-CLOCK-1."""
    await world.customer("acme")
    await world.subscribe("acme", "free")
    await world.call("POST", "/test-clock", {"frozenTime": "2020-01-01T00:00:00Z"}, expect=400)


async def test_a_retry_of_a_clock_move_moves_once(world: World) -> None:
    await world.now("2026-01-01T00:00:00Z")
    headers = {"Idempotency-Key": "one"}
    for _ in range(2):
        answer = await world.http.post("/test-clock", json={"advanceDays": 1}, headers=headers)
        assert answer.status_code == 202
    assert (await world.call("GET", "/test-clock"))["simulatedTime"][:10] == "2026-01-02"


async def test_production_has_no_test_clock_and_settles_before_it_closes(world: World) -> None:
    """R-CLOCK-1, R-INV-11."""
    real_ms = world.clock.now_ms()
    async with world.sql.transaction() as connection:
        production = await catalog_store.create_organization(connection, "Live", "production", real_ms)
        await catalog_store.create_key(connection, production, name="live", now_ms=real_ms, secret="ck_live_test")
    await world.catalog.refresh()
    world.http.headers["x-api-key"] = "ck_live_test"
    assert (await world.call("GET", "/test-clock", expect=403))["code"] == "sandbox_only"
    refusal = await world.call("POST", "/test-clock", {"advanceDays": 1}, expect=403)
    assert refusal["code"] == "sandbox_only"
    await world.plans()
    await world.customer("acme")
    made = await world.subscribe("acme")
    assert made["livemode"] is True
    ends_ms = parse_instant_us(made["currentPeriod"]["end"]) // 1000
    hour_ms = 3_600_000

    async def due(now_ms: int) -> int:
        async with world.sql.snapshot() as connection:
            found = await subscriptions.due(
                connection, real_now_ms=now_ms, settle_ms=hour_ms, organization_id=None, limit=10
            )
        return len(found)

    assert [await due(ends_ms + after) for after in (0, hour_ms - 1, hour_ms)] == [0, 0, 1]
    async with world.sql.transaction() as connection:
        await connection.execute(update(organizations).values(settle_ms=0))
    assert [await due(ends_ms + after) for after in (-1, 0)] == [0, 1]


async def test_era_a_bills_by_a_call_of_its_own(world: World) -> None:
    """R-CLOCK-3."""
    await world.now("2026-01-05T00:00:00Z")
    await world.customer("acme")
    await world.subscribe("acme")
    await world.now("2026-02-05T00:00:00Z", bill=False)
    assert len(await world.lines("acme")) == 1
    answer = await world.http.post("http://test/api/test-clock/process-billing")
    assert (answer.status_code, answer.json()["data"]["customersFound"]) == (200, 1)
    assert len(await world.lines("acme")) == 2
    assert (await world.call("POST", "/test-clock/process-billing", expect=410))["code"] == "endpoint_deprecated"


async def test_lists_filter_and_page(world: World) -> None:
    for number in range(3):
        await world.customer(f"customer-{number}")
        await world.subscribe(f"customer-{number}")
    first = await world.call("GET", "/invoices", limit=2)
    assert [one["invoiceNumber"] for one in first["data"]] == ["INV-000003", "INV-000002"]
    second = await world.call("GET", "/invoices", limit=2, cursor=first["nextCursor"])
    assert ([one["invoiceNumber"] for one in second["data"]], second["hasMore"]) == (["INV-000001"], False)
    assert (await world.call("GET", "/invoices", status="paid"))["data"] == []
    one = await world.call("GET", "/subscriptions", customerId="customer-1", status="active")
    assert len(one["data"]) == 1
    assert (await world.call("GET", "/subscriptions", status="canceled"))["data"] == []
    named = one["data"][0]["id"]
    assert len((await world.call("GET", "/invoices", subscriptionId=named))["data"]) == 1
    await world.call("GET", "/invoices/inv_nothing", expect=404)
    await world.call("GET", "/subscriptions/sub_nothing", expect=404)
    await world.call("POST", "/subscriptions/sub_nothing/cancel", expect=404)
    pages = [await world.call("GET", "/subscriptions", limit=2)]
    pages.append(await world.call("GET", "/subscriptions", limit=2, cursor=pages[0]["nextCursor"]))
    assert len({item["id"] for page in pages for item in page["data"]}) == 3


async def test_openapi_shows_bodies_and_queries(world: World) -> None:
    schema = (await world.http.get("http://test/schema/openapi.json")).json()
    create = schema["paths"]["/api/v1/subscriptions"]["post"]
    assert "customerId" in create["requestBody"]["content"]["application/json"]["schema"]["properties"]
    listed = {one["name"] for one in schema["paths"]["/api/v1/invoices"]["get"]["parameters"]}
    assert {"limit", "cursor", "customerId", "subscriptionId", "status"} <= listed
