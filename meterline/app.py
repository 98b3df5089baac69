"""The composition root: opens the engine, wires the parts, starts what a process runs, and ends it in order.

Owns nothing but the wiring. Order of the start: data lock, stores, schema, log, catalog, fold and sink, relay, gateway;
the end is the same way back, so that nothing is told to a part that is gone. Source: DESIGN 2, 7.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

from aggregator.gateway import AccessGateway
from aggregator.store import UsageStore
from aggregator.worker.backlog import Backlog
from aggregator.worker.lane import LaneWorker
from aggregator.worker.rebuild import rebuild_lane
from aggregator.worker.sink import Sink
from billing.gateway.plan_sync import PlanSync
from billing.store.subscription import plan_in_use
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.gateway import Catalog
from catalog.store.deployment import ensure_deployment
from ingest.gateway import Admission, VerdictHub
from kernel import ids
from kernel.clock import Clock, SystemClock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.engine.opening import DataLock, open_live, open_log, open_raw, open_sql
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from kernel.settings import Settings
from kernel.telemetry import HistogramName, Telemetry, configure_logs
from meterline.schema import migrate

_STALL_LOOK_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 5


class App:
    """One process's opened parts, by name."""

    settings: Settings
    clock: Clock
    telemetry: Telemetry
    sql: Sql
    live: Live
    log: Log
    raw: Raw
    usage_store: UsageStore
    catalog: Catalog
    hub: VerdictHub
    sink: Sink
    lanes: list[LaneWorker]
    relay: Relay
    closer: Closer
    admission: Admission
    access: AccessGateway
    gateway_id: str

    async def not_ready(self) -> str | None:
        """Say why the process cannot take events now; None: it can."""
        if self.sink.stopped is not None:
            return f"the sink is stopped: {self.sink.stopped}"
        for worker in self.lanes:
            if worker.stopped is not None:
                return f"lane {worker.lane} is stopped: {worker.stopped}"
            if not worker.ready:
                return f"lane {worker.lane} is not folded yet"
        try:
            await asyncio.wait_for(self.log.bounds(0), 2)
        except Exception as error:  # noqa: BLE001 - whatever keeps the log from answering is the reason
            return f"the log does not answer: {error}"
        return await self.admission.probe()

    async def rebuild(self, lane: int) -> dict[str, Any]:
        """Empty a lane of LIVE and make it again, while usage goes on; tells how far RAW brought it."""
        await self.sink.flush()
        view = await self.live.view(lane, [])
        done = await rebuild_lane(
            lane,
            log=self.log,
            live=self.live,
            store=self.usage_store,
            clock=self.clock,
            telemetry=self.telemetry,
            expected_token=None if view.header is None else view.header.token,
        )
        header = (await self.live.view(lane, [])).header
        return {"lane": lane, "rebuilt": done, "next": None if header is None else header.next}


@asynccontextmanager
async def opened(settings: Settings, *, offline: bool = False) -> AsyncIterator[App]:
    """Open everything on `settings`; `offline` leaves out what only a server needs (the closer's loop).

    Raises Misconfigured for a setting that is wrong, NotReachable when another process holds the data folder.
    """
    configure_logs(settings.log_level)
    app = App()
    app.settings, app.clock, app.telemetry = settings, SystemClock(), Telemetry()
    app.gateway_id = ids.new_id("gw_", app.clock.now_ms())
    async with AsyncExitStack() as stack:
        lock = DataLock()
        lock.hold(settings.data_dir)
        stack.callback(lock.release)
        await _open_stores(app, stack)
        await _start_parts(app, stack, offline=offline)
        yield app


async def _open_stores(app: App, stack: AsyncExitStack) -> None:
    settings = app.settings
    app.sql = await open_sql(settings)
    stack.push_async_callback(app.sql.close)
    await migrate(app.sql)
    async with app.sql.transaction() as connection:
        deployment = await ensure_deployment(connection, settings.lanes)
    app.raw = await open_raw(settings)
    stack.push_async_callback(app.raw.close)
    app.usage_store = UsageStore(app.raw)
    await app.usage_store.create()
    app.live = await open_live(settings, app.clock, lanes=deployment.lanes)
    stack.push_async_callback(app.live.close)
    app.log = await open_log(settings, epoch=deployment.epoch, lanes=deployment.lanes, clock=app.clock)
    stack.push_async_callback(app.log.close)
    await app.log.create()


async def _start_parts(app: App, stack: AsyncExitStack, *, offline: bool) -> None:
    app.catalog = Catalog(app.sql, app.live, app.clock)
    await app.catalog.start()
    app.hub = VerdictHub()
    app.sink = Sink(
        log=app.log,
        live=app.live,
        store=app.usage_store,
        clock=app.clock,
        telemetry=app.telemetry,
        retain_bytes=app.settings.log_retain_bytes,
    )
    app.lanes = [
        LaneWorker(
            lane,
            log=app.log,
            live=app.live,
            store=app.usage_store,
            sink=app.sink,
            publish=app.hub.publish,
            clock=app.clock,
            telemetry=app.telemetry,
        )
        for lane in range(app.log.lanes)
    ]
    _run(stack, "sink", app.sink.run())
    stack.push_async_callback(_flushed, app.sink)
    for worker in app.lanes:
        _run(stack, f"lane-{worker.lane}", worker.run())
    app.relay = Relay(app.sql, app.log, app.live, app.catalog, app.clock, app.gateway_id)
    app.relay.start()
    stack.push_async_callback(app.relay.stop)
    app.closer = Closer(
        app.sql,
        app.live,
        app.usage_store,
        app.sink.flush,
        app.relay,
        app.catalog,
        app.clock,
        app.telemetry,
        app.settings,
    )
    plans = PlanSync(app.sql, app.relay, app.clock)
    app.catalog.on_plan_changed = plans.plan_changed
    app.catalog.on_customer_archived = plans.customer_archived
    app.catalog.plan_in_use = plan_in_use
    app.access = AccessGateway(app.live, app.catalog, app.clock)
    backlog = Backlog(app.log, app.live, app.telemetry)
    _run(stack, "backlog", backlog.run())
    app.admission = Admission(
        app.log,
        app.live,
        app.catalog,
        app.hub,
        app.clock,
        app.telemetry,
        app.gateway_id,
        overloaded=backlog.overloaded,
    )
    stack.push_async_callback(app.admission.close)
    if not offline:
        _run(stack, "plans", plans.follow_all())
        app.closer.start()
        stack.push_async_callback(app.closer.stop)


def _run(stack: AsyncExitStack, name: str, work: Coroutine[Any, Any, None]) -> None:
    """Run a worker until the stack unwinds, then cancel it and wait for its end."""
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)


async def _flushed(sink: Sink) -> None:
    """Bring RAW up to what is folded, for a quick next start; what does not get there stays in the log."""
    with suppress(TimeoutError):
        await asyncio.wait_for(sink.flush(), _FLUSH_SECONDS)


async def watch_loop(telemetry: Telemetry, clock: Clock) -> None:
    """Measure how late the event loop wakes a sleeper, for ever."""
    while True:
        before_ms = clock.monotonic_ms()
        await asyncio.sleep(_STALL_LOOK_SECONDS)
        late_ms = clock.monotonic_ms() - before_ms - _STALL_LOOK_SECONDS * 1000
        telemetry.observe(HistogramName.LOOP_STALL_SECONDS, max(0.0, late_ms) / 1000)
