"""A deterministic event loop: simulated time, and a seeded choice of which process runs next.

Within a process callbacks keep their order, as asyncio promises; between processes any order is possible, so the seed
chooses. A process that is paused runs nothing while time passes (SIGSTOP); one that is dead never runs again (SIGKILL).
Nothing sleeps, no thread runs, no descriptor is read.
"""

import asyncio
import heapq
import random
from collections import deque
from contextvars import Context, ContextVar, copy_context


class StuckError(AssertionError):
    """Nothing will ever run again, or too much ran without coming to rest."""


class Process:
    """One incarnation of a process: its callbacks that are ready, and whether it may run."""

    def __init__(self, name: str, skew_ms: int = 0) -> None:
        self.name = name
        self.skew_ms = skew_ms
        self.ready: deque[asyncio.Handle] = deque()
        self.paused = False
        self.dead = False
        self.steps = 0
        self.tasks: list[asyncio.Task] = []

    def __repr__(self) -> str:
        return self.name


OUTSIDE = Process("outside")
CURRENT: ContextVar[Process] = ContextVar("process", default=OUTSIDE)


def context_of(process: Process) -> Context:
    """Make a context in which callbacks and tasks belong to `process`."""
    context = copy_context()
    context.run(CURRENT.set, process)
    return context


class SimulatedLoop(asyncio.BaseEventLoop):
    """Runs callbacks one at a time; `time()` is simulated and starts at 0."""

    def __init__(self, chance: random.Random, steps_max: int) -> None:
        super().__init__()
        self._now = 0.0
        self._chance = chance
        self._steps_max = steps_max
        self._processes: list[Process] = [OUTSIDE]
        self.steps = 0
        self.slow_callback_duration = 3_600.0
        self._clock_resolution = 1e-9
        # Called after a step with the process that made it and its handle; the simulator injects crashes here.
        self.after_step = None
        self.set_task_factory(_owned)

    def time(self) -> float:
        return self._now

    def add(self, process: Process) -> None:
        self._processes.append(process)

    def kill(self, process: Process) -> None:
        """End a process: what it would have run is dropped, and it runs no more."""
        process.dead = True
        process.ready.clear()
        self._processes.remove(process)

    def bury(self) -> None:
        """Close, and let what is collected afterwards say what it wants."""
        self.close()
        self._scheduled.clear()
        self._check_closed = lambda: None

    def _write_to_self(self) -> None:
        """Wake nobody: there is one thread."""

    def _call_soon(self, callback, args, context):
        handle = asyncio.Handle(callback, args, self, context)
        self._put(handle)
        return handle

    def _put(self, handle) -> None:
        process = handle._context.get(CURRENT, OUTSIDE)
        if not process.dead:
            process.ready.append(handle)

    def _run_once(self) -> None:
        scheduled = self._scheduled
        while True:
            while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self._now):
                handle = heapq.heappop(scheduled)
                handle._scheduled = False
                if handle._cancelled:
                    self._timer_cancelled_count -= 1
                else:
                    self._put(handle)
            able = [process for process in self._processes if process.ready and not process.paused]
            if able:
                break
            if not scheduled:
                raise StuckError("nothing is scheduled and nobody is ready")
            self._now = max(self._now, scheduled[0]._when)
        process = able[0] if len(able) == 1 else self._chance.choice(able)
        handle = process.ready.popleft()
        if handle._cancelled:
            return
        self.steps += 1
        process.steps += 1
        if self.steps > self._steps_max:
            raise StuckError(f"more than {self._steps_max} steps")
        handle._run()
        if self.after_step is not None:
            self.after_step(process, handle)

    def _process_events(self, event_list) -> None:
        """There are no descriptors."""


def _owned(loop, coroutine, context=None):
    """Make a task and note whose it is."""
    process = CURRENT.get() if context is None else context.get(CURRENT, OUTSIDE)
    task = asyncio.Task(coroutine, loop=loop, context=context)
    if len(process.tasks) > 200:
        process.tasks = [one for one in process.tasks if not one.done()]
    process.tasks.append(task)
    return task


class SimulatedClock:
    """The clock of one process: simulated real time with the process's skew, and the loop's time."""

    def __init__(self, loop: SimulatedLoop, world_time: "WallTime", skew_ms: int = 0) -> None:
        self._loop = loop
        self._wall = world_time
        self._skew_ms = skew_ms

    def now_ms(self) -> int:
        return self.now_us() // 1_000

    def now_us(self) -> int:
        return int(self._loop.time() * 1_000_000) + (self._wall.start_ms + self._skew_ms) * 1_000

    def monotonic_ms(self) -> float:
        return self._loop.time() * 1_000


class WallTime:
    """Real time at the loop's zero; it leaps forward when the simulation skips quiet days for everybody at once."""

    def __init__(self, start_ms: int) -> None:
        self.start_ms = start_ms
