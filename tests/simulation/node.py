"""A place where a process of one role runs, dies and comes back; it runs the product's own wiring of that role."""

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from catalog.gateway import Catalog
from ingest.gateway import VerdictHub
from ingest.routes.usage import UsageRoutes
from kernel.errors import MeterlineError
from kernel.telemetry import Telemetry
from meterline import app as wiring
from meterline.role import Role
from tests.simulation.await_point import suspended
from tests.simulation.fault import Gate, LiveView, LogView, RawView
from tests.simulation.loop import OUTSIDE, Process, SimulatedClock, context_of
from tests.simulation.sql import SqlView

if TYPE_CHECKING:
    from tests.simulation.world import World

TELEMETRY = Telemetry()


class HungUpError(ConnectionError):
    """The process that a client spoke to is gone."""


class Node:
    """A place where a process of one role runs, dies and comes back."""

    def __init__(self, world: "World", name: str, role: Role) -> None:
        self.world = world
        self.name = name
        self.role = role
        self.incarnation = 0
        self.process: Process | None = None
        self.app: wiring.App | None = None
        self.routes: UsageRoutes | None = None
        self.up = False
        self.wanted = True
        self.requests: list[asyncio.Future] = []
        self.stopped: list[str] = []
        self._end: asyncio.Future | None = None
        self._task: asyncio.Task | None = None

    def boot(self) -> None:
        if self.process is not None or not self.wanted:
            return
        self.incarnation += 1
        process = self.process = Process(f"{self.name}.{self.incarnation}", self.world.skew(self))
        loop = self.world.loop
        loop.add(process)
        self._end = loop.create_future()
        self._task = loop.create_task(self._run(process, self._end), context=context_of(process))
        self.world.note(f"boot {process}")

    async def _run(self, process: Process, end: asyncio.Future) -> None:
        world = self.world
        gate = Gate(process, world.weather)
        app = wiring.App()
        app.role, app.settings, app.telemetry = self.role, world.settings, TELEMETRY
        app.clock = SimulatedClock(world.loop, world.wall, process.skew_ms)
        app.process_id = str(process)
        app.sql = SqlView(world.sql, gate)
        app.raw = None
        app.usage_store = RawView(world.store, gate)
        app.live, app.log = LiveView(world.live, gate, world.loop), LogView(world.log, gate, world.loop)
        try:
            async with AsyncExitStack() as stack:
                if self.role is not Role.AGGREGATOR:
                    app.catalog = Catalog(app.sql, app.live, app.clock)
                    await app.catalog.start()
                if self.role.serves:
                    app.hub = VerdictHub(app.log.epoch)
                if self.role.folds:
                    await wiring._start_fold(app, stack)
                if self.role is not Role.AGGREGATOR:
                    wiring._start_billing(app, stack)
                    wiring._start_gateway(app, stack)
                if self.role.serves:
                    self.routes = UsageRoutes(app.admission, app.catalog, app.clock, TELEMETRY, app.refusals.keep)
                self.app, self.up = app, True
                await end
                self.up = False
        except MeterlineError as error:
            world.note(f"{process} did not start: {error}")
        self._gone(process)

    def _gone(self, process: Process) -> None:
        """Forget an incarnation that ended by itself; its node comes back a second later."""
        if self.process is process:
            self.world.loop.call_soon(self._bury, process, context=context_of(OUTSIDE))

    def _bury(self, process: Process) -> None:
        if self.process is process:
            self._leave(process)
            self.world.later(1.0, self.boot)

    def kill(self, back_seconds: float) -> None:
        """SIGKILL, and a new process after a while."""
        process = self.process
        if process is None:
            return
        for task in process.tasks:
            if not task.done():
                self.world.weather.coverage.crashed |= suspended(task)
        self.world.note(f"kill {process}")
        self._leave(process)
        self.world.later(back_seconds, self.boot)

    def _leave(self, process: Process) -> None:
        self.world.graveyard.append(process)
        self.world.loop.kill(process)
        self.world.sql.release_of(process)
        self.process, self.app, self.routes, self.up = None, None, None, False
        for request in self.requests:
            if not request.done():
                request.set_exception(HungUpError(self.name))
        self.requests.clear()

    def forget(self) -> None:
        """Let go of everything, at the end of the simulation."""
        self.process, self.app, self.routes, self._task, self._end = None, None, None, None, None
        self.requests.clear()

    def stop(self) -> None:
        """SIGTERM: the process ends in order, then comes back."""
        if self.up and self._end is not None and not self._end.done():
            self.world.note(f"stop {self.process}")
            self._end.set_result(None)

    def pause(self, seconds: float) -> None:
        """SIGSTOP for a while."""
        process = self.process
        if process is not None and not process.paused:
            self.world.note(f"pause {process}")
            process.paused = True
            self.world.later(seconds, self.resume, process)

    def resume(self, process: Process) -> None:
        if process.paused:
            self.world.note(f"resume {process}")
            process.paused = False

    def ask(self, work) -> asyncio.Future:
        """Run `work(app)` in the node's process; the answer is lost with it."""
        answer = self.world.loop.create_future()
        if self.app is None:
            answer.set_exception(HungUpError(self.name))
            return answer
        self.requests = [one for one in self.requests if not one.done()]
        self.requests.append(answer)
        app = self.app

        async def serve() -> None:
            try:
                result = await work(app)
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        self.world.loop.create_task(serve(), context=context_of(self.process))
        return answer

    async def request(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Send a usage request over the raw ASGI route; returns status and body. Raises HungUpError."""
        sent: list[dict] = []
        scope = {"path": path, "headers": [(name.encode(), value.encode()) for name, value in headers.items()]}
        routes = self.routes

        async def receive():
            return {"type": "http.request", "body": body}

        async def send(message) -> None:
            sent.append(message)

        async def work(_app):
            await (routes.batch if path.endswith("/batch") else routes.event)(scope, receive, send)
            return sent[0]["status"], sent[1]["body"]

        return await self.ask(work)
