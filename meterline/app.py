"""The composition root: opens the engine, wires the parts, starts what a process runs, and ends it in order.

Owns nothing but the wiring. Order of the start: data lock, stores, schema, log, catalog, fold and sink, relay, gateway;
the end is the same way back, so that nothing is told to a part that is gone. Source: DESIGN 2, 7.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aggregator.gateway import AccessGateway
from billing.gateway.hook import BillingHooks
from kernel.engine.opening import DataLock, open_live, open_log, open_raw, open_sql

from aggregator.store import UsageStore
from aggregator.worker import LaneWorker, Sink
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.gateway import Catalog
from catalog.store.deployment import ensure_deployment
from ingest.gateway import Admission, VerdictHub
from kernel import ids
from kernel.clock import Clock, SystemClock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from kernel.settings import Settings
from kernel.telemetry import HistogramName, Telemetry, configure_logs
from meterline.schema import migrate

_STALL_LOOK_SECONDS: Final = 0.05


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
    hooks: BillingHooks
    admission: Admission
    access: AccessGateway
    gateway_id: str

    async def not_ready(self) -> str | None:
        """Say why the process cannot take events now; None: it can."""
        for lane in self.lanes:
            if (reason := lane.not_ready()) is not None:
                return reason
        try:
            await asyncio.wait_for(self.log.bounds(0), 2)
        except Exception as error:  # noqa: BLE001 - whatever keeps the log from answering is the reason
            return f"the log does not answer: {error}"
        return await self.admission.probe()


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
    app.live = await open_live(settings, app.clock)
    stack.push_async_callback(app.live.close)
    app.log = await open_log(settings, epoch=deployment.epoch, lanes=deployment.lanes, clock=app.clock)
    stack.push_async_callback(app.log.close)
    await app.log.create()


async def _start_parts(app: App, stack: AsyncExitStack, *, offline: bool) -> None:
    app.catalog = Catalog(app.sql, app.live, app.clock)
    await app.catalog.start()
    app.hub = VerdictHub()
    app.sink = Sink(app.log, app.live, app.usage_store, app.clock, app.telemetry, app.settings)
    app.lanes = [
        LaneWorker(lane, app.log, app.live, app.usage_store, app.sink, app.hub.publish, app.clock, app.telemetry)
        for lane in range(app.log.lanes)
    ]
    await app.sink.start()
    stack.push_async_callback(app.sink.stop)
    for lane in app.lanes:
        lane.start()
        stack.push_async_callback(lane.stop)
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
    app.access = AccessGateway(app.live, app.catalog, app.clock)
    app.admission = Admission(app.log, app.live, app.catalog, app.hub, app.clock, app.telemetry, app.gateway_id)
    stack.push_async_callback(app.admission.close)
    if not offline:
        app.closer.start()
        stack.push_async_callback(app.closer.stop)


async def watch_loop(telemetry: Telemetry, clock: Clock) -> None:
    """Measure how late the event loop wakes a sleeper, for ever."""
    while True:
        before_ms = clock.monotonic_ms()
        await asyncio.sleep(_STALL_LOOK_SECONDS)
        late_ms = clock.monotonic_ms() - before_ms - _STALL_LOOK_SECONDS * 1000
        telemetry.observe(HistogramName.LOOP_STALL_SECONDS, max(0.0, late_ms) / 1000)
