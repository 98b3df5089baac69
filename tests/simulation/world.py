"""The simulated deployment: shared stores in memory, and the nodes on them.

Real: everything between HTTP and the ports (routes, admission, fold, sink, rebuild, ownership, relay, closer, catalog,
SQL). Simulated: time, the stores, the network between them, the processes' lives.
"""

import asyncio
import gc
import logging
import random
import sys
import types
import warnings

import msgspec
import structlog

from kernel import ids
from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.errors import MeterlineError
from kernel.settings import Settings
from meterline.role import Role
from tests.simulation.await_point import Coverage, Point, suspended
from tests.simulation.fault import Weather
from tests.simulation.loop import OUTSIDE, Process, SimulatedClock, SimulatedLoop, WallTime, context_of
from tests.simulation.node import HungUpError, Node
from tests.simulation.raw import MemoryUsageStore, Tables
from tests.simulation.sql import SimulatedSql
from tests.simulation.town import LANES, MONTH_END_MS, database, town

STEPS_MAX = 600_000
# Words of the product for what it did not expect; in a simulation each is a finding.
SURPRISES = {
    "a group failed",
    "a record's verdicts failed",
    "a pass of the closer failed",
    "a step stops: it raised; mend the cause, then close",
    "an invoice stops: writing it raised; mend the cause, then close",
    "an invoice stops: it is refused; mend the cause, then close",
    "a pass of the relay failed",
    "a usage request failed",
}
# The closer's word for a difference that RAW may bring about by losing what it had, and nothing else.
DOUBT = "LIVE and RAW differ at a cut: looking again"


class KeptLog(MemoryLog):
    """The log; `history` keeps what trimming removes, for the auditor."""

    def __init__(self, **parts) -> None:
        super().__init__(**parts)
        self.history: dict[int, list] = {lane: [] for lane in range(self.lanes)}

    async def append(self, lane: int, data: bytes) -> int:
        offset = await super().append(lane, data)
        self.history[lane].append(self._lanes[lane].records[-1])
        return offset


class World:
    """One seed's deployment."""

    def __init__(
        self, seed: int, *, start_ms: int = MONTH_END_MS - 5_000, retain_ms: int = 0, exact_days: int = 35
    ) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.coverage = Coverage()
        self.weather = Weather(random.Random(self.chance.random()), self.coverage)
        self.loop = SimulatedLoop(random.Random(self.chance.random()), STEPS_MAX)
        self.loop.set_exception_handler(self._on_exception)
        self.wall = WallTime(start_ms)
        self.clock = SimulatedClock(self.loop, self.wall)
        self.trace = self.weather.trace
        self.weather.note = self.note
        self.violations: list[str] = []
        self.graveyard: list[Process] = []
        self.town = town()
        database().restore(self.town.state)
        database().statement = self.weather.statement
        self.sql = SimulatedSql(database())
        self.log = KeptLog(epoch=1, lanes=LANES, clock=self.clock)
        self.live = MemoryLive(self.clock)
        self.tables = Tables()
        self.store = MemoryUsageStore(self.tables)
        self.settings = Settings(
            log_url="kafka://simulated",
            live_url="redis://simulated",
            raw_url="http://simulated",
            sql_url="postgresql://simulated",
            close_every_ms=700,
            log_retain_ms=retain_ms,
            keys_exact_days=exact_days,
        )
        self.skew_ms_max = 0
        # When LIVE last lost something: what was told before may not be shown until it is folded again.
        self.live_fell_s = -1.0
        self.nodes: list[Node] = []
        self.loop.after_step = self._after_step
        self.struck: dict[Process, tuple] = {}
        # Awaits at which a process has to die once a task of it stands there: (after how many times, steps later).
        self.doomed: dict[Point, tuple[int, int]] = {}
        self.dozing: dict[Point, float] = {}  # at which one stops for so many seconds

    # --- life

    def node(self, name: str, role: Role) -> Node:
        node = Node(self, name, role)
        self.nodes.append(node)
        return node

    def deploy(self, *, gateways: int = 2, aggregators: int = 2, billings: int = 1) -> None:
        for role, count in ((Role.GATEWAY, gateways), (Role.AGGREGATOR, aggregators), (Role.BILLING, billings)):
            for number in range(count):
                self.node(f"{role.value}{number}", role)

    def of(self, role: Role) -> list[Node]:
        return [node for node in self.nodes if node.role is role]

    def skew(self, node: Node) -> int:
        if not self.skew_ms_max:
            return 0
        return self.chance.randint(-self.skew_ms_max, self.skew_ms_max)

    def after_steps(self, node: Node, steps: int, work, *args) -> None:
        """Do something to a node after some more steps of its process: at whatever await it then stands."""
        if node.process is not None:
            self.struck[node.process] = (node.process.steps + steps, work, args)

    def doom(self, node: Node, steps: int, back_seconds: float) -> None:
        """Kill a node's process after some more steps of its own."""
        self.after_steps(node, steps, node.kill, back_seconds)

    def _stands(self, process: Process, task: asyncio.Task) -> None:
        """Kill a process, at once or some steps later, whose task stands where the seed wants it to die."""
        here = suspended(task)
        for point in sorted(here & self.dozing.keys()):
            for node in self.nodes:
                if node.process is process:
                    node.pause(self.dozing.pop(point))
        for point in sorted(here & self.doomed.keys()):
            left, steps = self.doomed.pop(point)
            if left:
                self.doomed[point] = left - 1, steps
                continue
            for node in self.nodes:
                if node.process is process:
                    self.note(f"{process} dies at {point}")
                    self.struck[process] = process.steps + steps, node.kill, (self.chance.choice((0.05, 1)),)

    def _after_step(self, process: Process, handle: asyncio.Handle) -> None:
        if (self.doomed or self.dozing) and process is not OUTSIDE:
            task = getattr(handle._callback, "__self__", None)
            if isinstance(task, asyncio.Task) and not task.done():
                self._stands(process, task)
        if process in self.struck and process.steps >= self.struck[process][0]:
            _, work, args = self.struck.pop(process)
            work(*args)

    def later(self, seconds: float, work, *args) -> None:
        self.loop.call_later(seconds, work, *args, context=context_of(OUTSIDE))

    # --- notes

    def note(self, text: str) -> None:
        self.trace.append(f"{self.loop.time():.6f} {text}")

    def violate(self, text: str) -> None:
        self.violations.append(text)
        self.note(f"VIOLATION {text}")

    def _on_exception(self, _loop, context) -> None:
        error = context.get("exception")
        if isinstance(error, HungUpError):
            return
        if error is not None and not isinstance(error, MeterlineError):
            self.violate(f"an exception nobody took: {type(error).__name__}: {error}")

    def _log(self, _logger, method: str, event: dict) -> dict:
        word = event.get("event")
        if word in SURPRISES and not isinstance(event.get("exc_info"), MeterlineError):
            self.violate(f"{word}: {event.get('exc_info')!r}")
        elif word == DOUBT and not self.tables.lost:
            self.violate(f"{word}: {event['close']}, and RAW lost nothing")
        elif method in ("error", "warning") and self.weather.coverage is not None:
            self.note(f"log {word} {event.get('lane', '')} {event.get('reason', event.get('error', ''))}")
        raise structlog.DropEvent

    # --- LIVE and RAW lose what they had

    def photograph(self):
        """Remember LIVE as it is now, for `fall_back`."""
        live = self.live
        return (
            dict(live._members),
            live._catalog,
            {
                lane: msgspec.structs.replace(
                    held,
                    snapshots=dict(held.snapshots),
                    accounts=dict(held.accounts),
                    keys={generation: dict(entries) for generation, entries in held.keys.items()},
                    filters={generation: set(prints) for generation, prints in held.filters.items()},
                    outcomes=dict(held.outcomes),
                )
                for lane, held in live._lanes.items()
            },
        )

    def fall_back(self, photograph) -> None:
        """Restart LIVE as it was when the photograph was taken."""
        self.note("LIVE falls back")
        self.live._members, self.live._catalog, self.live._lanes = photograph
        self.live.restart()
        self.live_fell_s = self.loop.time()

    def wipe(self) -> None:
        self.note("LIVE is wiped")
        self.live.wipe()
        self.live_fell_s = self.loop.time()

    def lose_lanes(self) -> None:
        """Lose all lanes of LIVE; the members stay, so that their owners are those who rebuild."""
        self.note("LIVE loses its lanes")
        self.live._lanes.clear()
        self.live_fell_s = self.loop.time()

    def run(self, work) -> None:
        """Run a coroutine to its end in the deployment, with ids made from the seed."""
        before = ids.os
        ids.os = types.SimpleNamespace(urandom=random.Random(self.chance.random()).randbytes)
        structlog.configure(
            processors=[self._log],
            wrapper_class=structlog.make_filtering_bound_logger(0),
            cache_logger_on_first_use=False,
        )
        collecting = gc.isenabled()
        gc.disable()
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        asyncio._set_running_loop(None)
        try:
            task = self.loop.create_task(self._started(work), context=context_of(OUTSIDE))
            self.loop.run_until_complete(task)
        finally:
            self._bury_all()
            ids.os = before
            if collecting:
                gc.enable()

    async def _started(self, work) -> None:
        await self.log.create()
        for node in self.nodes:
            node.boot()
        await work

    def _bury_all(self) -> None:
        """End what is left of all processes, silently: nothing of it can reach a store any more."""
        self.loop.after_step = None
        self.loop.set_exception_handler(lambda *_: None)
        self.trace, self.weather.trace = list(self.trace), []
        self.note = self.weather.note = self.violate = lambda _: None
        database().cut_off()
        processes = [*self.graveyard, *(node.process for node in self.nodes if node.process is not None), OUTSIDE]
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for process in processes:
                    process.dead = process is not OUTSIDE
                    for task in process.tasks:
                        task._log_destroy_pending = False
                    process.tasks.clear()
                    process.ready.clear()
                self.loop.bury()
                self.graveyard.clear()
                for node in self.nodes:
                    node.forget()
                # Nothing that lives by now is garbage of this seed's but its own.
                gc.collect()
        finally:
            sys.unraisablehook = hook
