"""The composition root: opens the stores, wires the parts that a role runs, starts them, and ends them in order.

Owns nothing but the wiring. Order of the start: stores, catalog, fold and sink, relay and closer, gateway; the end is
the same way back, so that nothing is told to a part that is gone. Source: DESIGN 2, 7; ADR 5.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from aggregator.fold import RULES
from aggregator.store import UsageStore
from aggregator.worker.backlog import Backlog
from aggregator.worker.books import BooksWorker
from aggregator.worker.lane import LaneWorker
from aggregator.worker.lanes import Lanes
from aggregator.worker.ownership import Ownership
from aggregator.worker.presence import Presence
from aggregator.worker.raw_wait import RawWait
from aggregator.worker.refusal_sink import RefusalSink
from aggregator.worker.sink import Sink
from billing.gateway.addon_sync import AddonSync
from billing.gateway.following import Following
from billing.gateway.plan_sync import PlanSync
from billing.store.addon import addon_in_use
from billing.store.subscription import currency_in_use, plan_in_use
from billing.worker.closer import Closer
from billing.worker.prices import PriceWorker
from billing.worker.relay import Relay
from catalog.gateway import Catalog
from ingest.gateway import Admission, VerdictHub, VerdictListener
from kernel import ids
from kernel.clock import Clock, SystemClock
from kernel.engine.live.base import Live
from kernel.engine.log.base import Log
from kernel.engine.opening import log_retention
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from kernel.errors import Misconfigured, Unavailable
from kernel.settings import Settings
from kernel.telemetry import GaugeName, HistogramName, Telemetry, configure_logs
from meterline.role import COMMANDS_LOG, Role
from meterline.stores import opened_stores

if TYPE_CHECKING:
    from aggregator.gateway import AccessGateway

_STALL_LOOK_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 5
_ANSWER_SECONDS: Final = 2


class App:
    """One process's opened parts, by name. Which there are follows from `role`; the rest is absent."""

    role: Role
    settings: Settings
    clock: Clock
    telemetry: Telemetry
    rules: int = RULES  # by which the epoch is folded
    process_id: str  # names this process in records, among members and in logs
    sql: Sql
    live: Live
    log: Log
    raw: Raw
    usage_store: UsageStore
    catalog: Catalog
    sink: Sink | None = None
    lanes: Lanes | None = None
    ownership: Ownership | None = None
    relay: Relay
    closer: Closer
    hub: VerdictHub | None = None
    listener: VerdictListener | None = None
    refusals: RefusalSink
    admission: Admission
    access: "AccessGateway"

    @property
    def member(self) -> str:
        """Tell how this process is named among those that work on the deployment."""
        kind = Role.AGGREGATOR if self.role.folds else self.role
        return f"{kind}:{self.process_id}"

    async def flush(self) -> None:
        """Wait until RAW has everything that is folded now. Raises Fatal once the sink has stopped."""
        if self.settings.embedded and self.sink is not None:
            await self.sink.flush()
        else:
            await RawWait(self.log, self.live, self.usage_store).flush()

    async def not_ready(self) -> str | None:
        """Say why the process cannot do its work now; None: it can."""
        if self.sink is not None and self.sink.stopped is not None:
            return f"the sink is stopped: {self.sink.stopped}"
        if self.ownership is not None and not self.ownership.joined:
            return "it has not joined the aggregators yet"
        if self.lanes is not None and (reason := self.lanes.not_ready()) is not None:
            return reason
        if self.listener is not None and not self.listener.listening:
            return "it does not hear verdicts"
        for name, question in (("log", self.log.bounds(0)), ("live store", self.live.now_ms())):
            try:
                await asyncio.wait_for(question, _ANSWER_SECONDS)
            except Exception as error:  # noqa: BLE001 - whatever keeps a store from answering is the reason
                return f"the {name} does not answer: {error}"
        return await self.admission.probe() if self.role.serves else None


@asynccontextmanager
async def opened(
    settings: Settings,
    role: Role = Role.ALL,
    *,
    make: bool | None = None,
    ending: bool = False,
    logs: str | None = None,
) -> AsyncIterator[App]:
    """Open everything on `settings` and run what `role` runs; `make` (default: embedded) makes what is missing.

    `ending` is for who ends the epoch (see `opened_stores`), and appends nothing by itself; `logs` the level to log
    from, if not the role's own.
    Raises OlderRules, Misconfigured for a setting that is wrong, NotReachable when another process holds the data
    folder or the deployment was not made, Unavailable when a store is away.
    """
    if settings.embedded and role not in (Role.ALL, Role.OPERATOR):
        raise Misconfigured(f"the embedded engine is one process: set --role all, or all four URLs ({settings.urls()})")
    configure_logs(logs or (settings.log_level if role is not Role.OPERATOR else COMMANDS_LOG))
    app = App()
    app.role, app.settings, app.clock, app.telemetry = role, settings, SystemClock(), Telemetry()
    app.process_id = ids.new_id("gw_", app.clock.now_ms())
    async with AsyncExitStack() as stack:
        making = settings.embedded if make is None else make
        stores = await stack.enter_async_context(opened_stores(settings, app.clock, make=making, ending=ending))
        app.sql, app.raw, app.live, app.log = stores.sql, stores.raw, stores.live, stores.log
        app.usage_store, app.rules = stores.usage_store, stores.deployment.rules
        if role is not Role.AGGREGATOR:
            app.catalog = Catalog(app.sql, app.live, app.clock)
            await app.catalog.start()
        if role.serves:
            app.hub = VerdictHub(app.log.epoch)
        if role.folds or settings.embedded:
            await _start_fold(app, stack)
        elif role is not Role.OPERATOR:
            presence = Presence(app.member, app.live)
            stack.push_async_callback(presence.leave)
            _run(stack, "presence", presence.run())
        if role is not Role.AGGREGATOR:
            _start_billing(app, stack, relays=not ending)
            await _start_prices(app, stack)
            _start_gateway(app, stack)
        yield app


async def _start_fold(app: App, stack: AsyncExitStack) -> None:
    """Fold and sink: all lanes in one process, or a share of them among the members."""
    retain_ms, retain_bytes = log_retention(app.settings)
    sink = app.sink = Sink(
        log=app.log,
        live=app.live,
        store=app.usage_store,
        clock=app.clock,
        telemetry=app.telemetry,
        retain_ms=retain_ms,
        retain_bytes=retain_bytes,
    )

    def worker(lane: int) -> LaneWorker:
        return LaneWorker(
            lane,
            log=app.log,
            live=app.live,
            store=app.usage_store,
            sink=sink,
            gateway=app.process_id if app.hub is not None else None,
            exact_days=app.settings.keys_exact_days,
            publish=app.hub.publish if app.hub is not None else _nobody,
            clock=app.clock,
            telemetry=app.telemetry,
            rules=app.rules,
        )

    lanes = app.lanes = Lanes(worker, sink)
    _run(stack, "sink", sink.run())
    stack.push_async_callback(_flushed, sink)
    stack.push_async_callback(lanes.stop)
    if app.settings.embedded:
        await lanes.hold(range(app.log.lanes))
        app.telemetry.set(GaugeName.LANES_OWNED, app.log.lanes)
    else:
        app.ownership = Ownership(app.member, app.log.lanes, lanes, app.live, app.telemetry)
        stack.push_async_callback(app.ownership.leave)
        _run(stack, "ownership", app.ownership.run())


def _start_billing(app: App, stack: AsyncExitStack, *, relays: bool = True) -> None:
    """Relay and closer: their loops where the role bills, and for all others what they do on request.

    Without `relays` nothing is appended by itself.
    """
    app.relay = Relay(app.sql, app.log, app.live, app.catalog, app.clock, app.process_id)
    if relays and (app.role.bills or app.settings.embedded):
        app.relay.start()
    else:
        app.relay.start_noting()
    stack.push_async_callback(app.relay.stop)
    app.closer = Closer(
        app.sql,
        app.live,
        app.usage_store,
        app.flush,
        app.relay,
        app.catalog,
        app.clock,
        app.telemetry,
        app.settings,
    )
    plans = PlanSync(app.sql, app.relay, app.clock)
    app.catalog.on_plan_changed = plans.plan_changed
    addons = AddonSync(app.sql, app.relay, app.clock)
    app.catalog.on_addon_changed = addons.addon_changed
    app.catalog.on_customer_archived = plans.customer_archived
    app.catalog.end_customer = plans.end_customer
    app.catalog.plan_in_use = plan_in_use
    app.catalog.addon_in_use = addon_in_use
    app.catalog.currency_in_use = currency_in_use
    if app.role.bills:
        books = BooksWorker(log=app.log, live=app.live, store=app.usage_store, clock=app.clock, telemetry=app.telemetry)
        _run(stack, "books", books.run())
        _run(stack, "following", Following(app.sql, plans, addons).run())
        app.closer.start()
    stack.push_async_callback(app.closer.stop)


async def _start_prices(app: App, stack: AsyncExitStack) -> None:
    """Where the role bills: the prices of AI models, there before the first request and refreshed day by day."""
    if app.role.bills:
        prices = PriceWorker(app.catalog, app.clock, app.settings.prices_refresh_ms, app.settings.prices_url)
        await prices.begin()
        _run(stack, "prices", prices.run())


def _start_gateway(app: App, stack: AsyncExitStack) -> None:
    """Where the role serves: reads and admission, with what it hears and what it refuses."""
    if not app.role.serves or app.hub is None:
        return
    from aggregator.gateway import AccessGateway  # noqa: PLC0415 - answers in Litestar's terms, for who serves

    app.access = AccessGateway(app.live, app.catalog, app.clock)
    app.refusals = RefusalSink(app.usage_store, app.telemetry)
    _run(stack, "refusals", app.refusals.run())
    stack.push_async_callback(_kept, app.refusals)
    if not app.settings.embedded:
        app.listener = VerdictListener(app.process_id, app.log.lanes, app.live, app.hub, app.log.epoch)
        _run(stack, "listener", app.listener.run())
    backlog = Backlog(app.log, app.live, app.telemetry)
    _run(stack, "backlog", backlog.run())
    app.admission = Admission(
        app.log,
        app.live,
        app.catalog,
        app.hub,
        app.clock,
        app.telemetry,
        app.process_id,
        overloaded=backlog.overloaded,
    )
    stack.push_async_callback(app.admission.close)


def _nobody(_epoch: int, _lane: int, _offset: int, _outcomes: object) -> None:
    """Tell verdicts to nobody in this process: the fold's write publishes them to the gateways."""


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


async def _kept(refusals: RefusalSink) -> None:
    """Write the last refusals, if RAW takes them."""
    with suppress(TimeoutError, Unavailable):
        await asyncio.wait_for(refusals.flush(), _FLUSH_SECONDS)


async def watch_loop(telemetry: Telemetry, clock: Clock) -> None:
    """Measure how late the event loop wakes a sleeper, for ever."""
    while True:
        before_ms = clock.monotonic_ms()
        await asyncio.sleep(_STALL_LOOK_SECONDS)
        late_ms = clock.monotonic_ms() - before_ms - _STALL_LOOK_SECONDS * 1000
        telemetry.observe(HistogramName.LOOP_STALL_SECONDS, max(0.0, late_ms) / 1000)
