"""Faults at the ports: every call of a process to a shared store passes a gate, which may delay, fail or hang it.

`Gate` is a process's; `Weather` says what happens now, by the seed and by what a trace forces. Views wrap the shared
stores with the gate and give each process a connection of its own.
"""

import asyncio
import random
from collections.abc import Callable, Iterator
from enum import Enum

from kernel.engine.live.memory import MemoryLive
from kernel.engine.log.memory import MemoryLog
from kernel.errors import Unavailable, Unknown
from kernel.limits import APPEND_WAIT_MS
from tests.simulation.await_point import Coverage, here
from tests.simulation.loop import CURRENT, OUTSIDE, Process, context_of
from tests.simulation.raw import MemoryUsageStore

HANG_SECONDS = 12
LATE_SECONDS_MAX = 6


class Fault(Enum):
    """What becomes of a call."""

    BEFORE = "fails before it took effect"
    AFTER = "took effect, and fails for the caller"
    LATER = "fails for the caller, and takes effect later"
    CUT = "cut off at the commit"
    HANG = "hangs, then fails"


_KINDS = {
    "log.append": (Fault.BEFORE, Fault.AFTER, Fault.LATER, Fault.LATER, Fault.HANG),
    "sql.transaction": (Fault.BEFORE, Fault.CUT, Fault.AFTER),
    "sql.snapshot": (Fault.BEFORE, Fault.HANG),
}
_REBUILDS = {"fill", "finish_rebuild"}
_ALL = (Fault.BEFORE, Fault.AFTER, Fault.HANG)


class Weather:
    """The seed's will: how often calls fail and how long they take; `force` is a trace's."""

    def __init__(self, chance: random.Random, coverage: Coverage) -> None:
        self._chance = chance
        self.coverage = coverage
        self.fail = 0.0
        self.lose = 0.0  # how often an append's end is unknown, beyond `fail`
        self.late_seconds = 0.0  # a trace says how late; 0: the seed does
        self.late = 0  # appends that are still on their way
        self.delay = 0.0
        self.refused: set[str] = set()  # calls that fail before they take effect
        # Seconds that the next parts of its rebuilds take, while nobody hears its beats.
        self.slow: dict[Process, Iterator[float]] = {}
        # Awaits under which the seed wants a store to fail once.
        self.targets: set[tuple] = set()
        self.trace: list[str] = []
        self.note: Callable[[str], None] = self.trace.append
        # A trace's own faults: asked first, with process, store and name of the call.
        self.force: Callable[[Process, str, str], Fault | None] | None = None
        # A trace holds calls here: a future to wait for before the call takes effect, and one for after.
        self.hold: Callable[[Process, str, str], asyncio.Future[None] | None] | None = None

    def fault(self, process: Process, store: str, name: str) -> Fault | None:
        if self.targets and process is not OUTSIDE and self._aimed():
            return self._chance.choice(_KINDS.get(f"{store}.{name}", _ALL))
        if self.force is not None and (forced := self.force(process, store, name)) is not None:
            return forced
        if name in self.refused or (name == "beat" and process in self.slow):
            return Fault.BEFORE
        if self.lose and name == "append" and self._chance.random() < self.lose:
            return self._chance.choice((Fault.LATER, Fault.LATER, Fault.AFTER))
        if not self.fail or process is OUTSIDE or self._chance.random() >= self.fail:
            return None
        return self._chance.choice(_KINDS.get(f"{store}.{name}", _ALL))

    def _aimed(self) -> bool:
        """Tell whether this call has to fail, because it is made under an await that the seed aims at."""
        hit = self.targets & here()
        self.targets -= hit
        return bool(hit)

    async def statement(self) -> None:
        """Take the way of one SQL statement; it may fail or be the process's last."""
        process = CURRENT.get()
        if self.targets and process is not OUTSIDE and self._aimed():
            self.coverage.failed.update(here())
            raise Unavailable("SQL went away in a transaction")
        await asyncio.sleep(0)

    def seconds(self) -> float:
        """How long one way to a store takes."""
        if not self.delay:
            return 0.0
        found = self._chance.random()
        if found < 0.5:
            return 0.0
        if found < 1 - self.delay:
            return found * 0.004
        return self._chance.choice((0.02, 0.1, 0.6, 1.5))


class Gate:
    """One process's passage to the stores."""

    def __init__(self, process: Process, weather: Weather) -> None:
        self.process = process
        self.weather = weather

    async def turn(self) -> None:
        """Take one way to or from a store: others may run meanwhile, and the process may die here."""
        await asyncio.sleep(self.weather.seconds())

    async def enter(self, store: str, name: str) -> Fault | None:
        """Go to a store; raises or hangs here for what fails before it took effect, tells the other faults."""
        weather = self.weather
        fault = weather.fault(self.process, store, name)
        if fault is not None:
            weather.coverage.failed.update(here())
            weather.note(f"{self.process} {store}.{name} {fault.name}")
        if weather.hold is not None and (held := weather.hold(self.process, store, name)) is not None:
            await held
        if name in _REBUILDS and self.process in weather.slow:
            await asyncio.sleep(next(weather.slow[self.process]))
        await self.turn()
        if fault is Fault.HANG:
            await asyncio.sleep(HANG_SECONDS if store != "log" or name != "append" else APPEND_WAIT_MS / 1_000)
        if fault is Fault.BEFORE or fault is Fault.HANG:
            raise (Unknown if (store, name) == ("log", "append") else Unavailable)(f"{store}.{name} failed")
        return fault

    async def call(self, store: str, name: str, work):
        """Make one call that is one step of the store."""
        fault = await self.enter(store, name)
        result = await work()
        await self.turn()
        if fault is not None:
            raise Unavailable(f"{store}.{name} went away")
        return result


class LogView:
    """One process's connection to the log."""

    def __init__(self, log: MemoryLog, gate: Gate, loop) -> None:
        self._log = log
        self._gate = gate
        self._loop = loop
        self.epoch, self.lanes = log.epoch, log.lanes

    async def create(self) -> None:
        await self._log.create()

    async def append(self, lane: int, data: bytes) -> int:
        fault = await self._gate.enter("log", "append")
        if fault is Fault.LATER:
            weather = self._gate.weather
            seconds = weather.late_seconds or weather._chance.random() * LATE_SECONDS_MAX
            weather.late += 1
            self._loop.call_later(seconds, self._land, lane, data, context=context_of(OUTSIDE))
            await asyncio.sleep(min(seconds, APPEND_WAIT_MS / 1_000))
            raise Unknown("no answer")
        offset = await self._log.append(lane, data)
        self._gate.weather.note(f"{self._gate.process} appended {lane}.{offset}")
        await self._gate.turn()
        if fault is Fault.AFTER:
            raise Unknown("the connection was lost")
        return offset

    def _land(self, lane: int, data: bytes) -> None:
        """Let a record appear that its sender believes lost."""
        self._gate.weather.late -= 1
        step = self._log.append(lane, data)
        try:
            step.send(None)
        except StopIteration as done:
            self._gate.weather.note(f"late record {lane}.{done.value}")
        except Unknown:
            pass
        finally:
            step.close()

    async def read(self, lane: int, start: int, *, records_max: int, wait_ms: int):
        return await self._gate.call(
            "log", "read", lambda: self._log.read(lane, start, records_max=records_max, wait_ms=wait_ms)
        )

    async def bounds(self, lane: int):
        return await self._gate.call("log", "bounds", lambda: self._log.bounds(lane))

    async def volume(self):
        return await self._gate.call("log", "volume", self._log.volume)

    async def trim(self, lane: int, before: int, *, keep_ms: int, keep_bytes: int) -> int:
        return await self._gate.call(
            "log", "trim", lambda: self._log.trim(lane, before, keep_ms=keep_ms, keep_bytes=keep_bytes)
        )

    async def close(self) -> None:
        """Nothing of its own to release."""


def _through(store: str, target: Callable[[], object], gate: Gate, name: str):
    async def call(*args, **kwargs):
        return await gate.call(store, name, lambda: getattr(target(), name)(*args, **kwargs))

    return call


class LiveView:
    """One process's connection to LIVE."""

    def __init__(self, live: MemoryLive, gate: Gate, loop) -> None:
        self.live = live  # a trace of a split brain puts another one here
        self._gate = gate
        self._loop = loop
        names = ("view", "look", "write", "beat", "outcomes", "oldest_outcome", "sank", "begin_rebuild", "fill")
        for name in (
            *names,
            "condense",
            "finish_rebuild",
            "rebuild_step",
            "catalog",
            "raise_catalog",
            "dump",
            "now_ms",
        ):
            setattr(self, name, _through("live", lambda: self.live, gate, name))

    async def listen(self, gateway, lanes, told, listening) -> None:
        """Listen; what is told reaches the process in its own turn, in order, and is lost with its connection."""
        await self._gate.enter("live", "listen")
        process, weather = self._gate.process, self._gate.weather

        def tell(*outcomes) -> None:
            if not process.dead and weather.fault(process, "live", "told") is None:
                self._loop.call_soon(told, *outcomes, context=context)

        context = context_of(process)
        await self.live.listen(gateway, lanes, tell, listening)

    async def close(self) -> None:
        """Nothing of its own to release."""


class RawView:
    """One process's connection to RAW."""

    def __init__(self, store: MemoryUsageStore, gate: Gate) -> None:
        self._store = store
        self._gate = gate
        names = ("create", "insert_events", "insert_account_records", "insert_refusals", "write_progress", "progress")
        cuts = ("totals_at_cut", "draws_at_cut", "first_cut_positions", "first_cut_position")
        for name in (*names, "carry", "ruling_rows", "event", "keyed_events", "corrections_of", *cuts):
            setattr(self, name, _through("raw", lambda: store, gate, name))

    async def _pages(self, name: str, pages):
        await self._gate.enter("raw", name)
        async for page in pages:
            yield page
            await self._gate.turn()

    def carried_key_rows(self, *args, **kwargs):
        return self._pages("carried_key_rows", self._store.carried_key_rows(*args, **kwargs))

    def key_rows(self, *args, **kwargs):
        return self._pages("key_rows", self._store.key_rows(*args, **kwargs))

    def account_rows(self, *args, **kwargs):
        return self._pages("account_rows", self._store.account_rows(*args, **kwargs))

    def snapshots(self, *args, **kwargs):
        return self._pages("snapshots", self._store.snapshots(*args, **kwargs))
