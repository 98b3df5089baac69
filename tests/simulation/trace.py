"""The stage on which a trace is forced step by step: a calm deployment, calls that can be held, and plain questions."""

import asyncio
import random
from contextlib import asynccontextmanager, contextmanager
from decimal import Decimal

from msgspec.structs import replace

from aggregator import fold
from aggregator.replay import replay_of
from aggregator.row import EventRow
from ingest.event import encode_usage
from kernel.lane import lane_of
from meterline.role import Role
from tests.simulation.auditor import audit
from tests.simulation.client import Attempt, Clients, Operation
from tests.simulation.fault import Fault
from tests.simulation.node import Node
from tests.simulation.seed import until_rest
from tests.simulation.town import CAP, MONTH_END_MS
from tests.simulation.world import World

DAY_MS = 86_400_000


class Stage:
    """A deployment without bad luck, and what a trace needs to bring some about."""

    def __init__(self, *, billings: int = 1, start_ms: int = MONTH_END_MS - 20 * DAY_MS) -> None:
        self.world = World(1, start_ms=start_ms, retain_ms=100 * DAY_MS)
        self.world.deploy(billings=billings)
        self.clients = Clients(self.world, random.Random(1))
        self.one, self.two = self.world.of(Role.GATEWAY)
        self.aggregators = self.world.of(Role.AGGREGATOR)
        self.customer = self.world.town.customers[0]

    def play(self, trace) -> list[str]:
        """Play a trace, then rest; the findings."""

        async def whole() -> None:
            await self.ready()
            await trace(self)
            self.world.weather.force = self.world.weather.hold = None
            await asyncio.sleep(1)
            await until_rest(self.world)

        self.world.run(whole())
        return [*self.world.violations, *audit(self.world, self.clients.memory)]

    async def ready(self) -> None:
        """Wait until everybody is up, every account is shown and both aggregators share the lanes."""
        await until_rest(self.world)

    def event(self, key: str | None, quantity: str = "1", feature: str = "open", **how) -> Operation:
        return self.clients.operation(self.customer, feature, Decimal(quantity), key, **how)

    async def send(self, operation: Operation, node: Node | None = None, *, patience_s: float = 8) -> Attempt:
        return await self.clients.attempt(operation, node or self.one, patience_s=patience_s)

    def sending(self, operation: Operation, node: Node | None = None, *, patience_s: float = 8) -> asyncio.Task:
        return asyncio.create_task(self.send(operation, node, patience_s=patience_s))

    async def fill_cap(self) -> None:
        """Use up what the plan includes of the capped feature."""
        attempt = await self.send(self.event(None, str(CAP), "capped"))
        assert attempt.status == 200, attempt

    @asynccontextmanager
    async def lost_append(self, late_seconds: float):
        """The next append ends unknown for its sender, and lands later."""
        done: list[int] = []

        def force(process, store, name):
            if (store, name) == ("log", "append") and process.name.startswith("gateway") and not done:
                done.append(1)
                return Fault.LATER
            return None

        self.world.weather.late_seconds = late_seconds
        self.world.weather.force = force
        yield
        self.world.weather.force = None

    def hold(self, who: str, call: str, *, times: int = 1, after: int = 0) -> "Held":
        """Hold the next calls named `store.name` of processes whose name begins with `who`, but the first `after`."""
        held = Held(self.world, who, call, times, after)
        self.world.weather.hold = held.asked
        return held

    @contextmanager
    def unheard(self, node: Node):
        """Let nobody hear that a process is there, while it works on."""
        name = str(node.process)

        def force(process, _store, call):
            return Fault.BEFORE if call == "beat" and process.name == name else None

        self.world.weather.force = force
        yield
        self.world.weather.force = None

    def node_of(self, process) -> Node:
        return next(node for node in self.world.nodes if node.process is process)

    def owner(self) -> Node:
        """Tell the aggregator that folds the customer's lane."""
        lane = self.lane()
        return next(node for node in self.aggregators if node.app is not None and lane in node.app.lanes.workers)

    def lane(self) -> int:
        return lane_of(self.world.town.ids[self.customer], self.world.log.lanes)

    def verdicts(self, key: str) -> list[str]:
        """Tell the verdicts of a key's records in RAW, in the log's order."""
        rows = [row for row in self.world.tables.events.values() if row["key"] == key]
        return [row["verdict"] for row in sorted(rows, key=lambda row: (row["lane"], row["offset"], row["index"]))]

    async def seconds(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def rest(self) -> None:
        await until_rest(self.world)

    @contextmanager
    def raising_on(self, quantity: str):
        """The code of this deployment raises on an amount, and is at fault in nothing else."""
        right = fold._units

        def broken(text: str) -> int:
            if text == quantity:
                raise ZeroDivisionError(text)
            return right(text)

        fold._units = broken
        try:
            yield
        finally:
            fold._units = right

    async def replay(self, key: str) -> None:
        """Append the replay of a key's first row, as the command does, whatever became of it meanwhile."""
        first = min((row for row in self.world.tables.events.values() if row["key"] == key), key=lambda row: row["at"])
        letter = EventRow(**{**first, "quantity": str(first["quantity"])})
        again = replay_of(letter, at_ms=self.world.clock.now_ms(), clock_ms=None)
        await self.world.log.append(self.lane(), encode_usage("operator", [again]))

    def keep_exact(self, days: int) -> None:
        """Start the aggregators again with fewer exact days of keys."""
        self._set(keys_exact_days=days)

    def keep_nothing(self) -> None:
        """Start the aggregators again, and let them remove from the log what is folded and sunk."""
        self._set(log_retain_ms=1)

    def _set(self, **settings: int) -> None:
        self.world.settings = replace(self.world.settings, **settings)
        for node in self.aggregators:
            node.kill(0.1)

    def condensed(self) -> int:
        """Tell how many keys the filters of the customer's lane have."""
        return sum(map(len, self.world.live._lanes[self.lane()].filters.values()))

    def leap(self, days: float) -> None:
        self.world.wall.start_ms += int(days * DAY_MS)


class Held:
    """Calls that wait until they are let go."""

    def __init__(self, world: World, who: str, call: str, times: int, after: int) -> None:
        self._loop = world.loop
        self._after = after
        self._who, self._call, self._times = who, call, times
        self.gates: list[asyncio.Future] = []
        self.processes: list[object] = []

    def asked(self, process, store, name):
        if self._times > len(self.gates) and f"{store}.{name}" == self._call and process.name.startswith(self._who):
            if self._after:
                self._after -= 1
                return None
            gate = self._loop.create_future()
            self.gates.append(gate)
            self.processes.append(process)
            return gate
        return None

    async def reached(self, times: int = 1) -> None:
        """Wait until so many calls are held."""
        async with asyncio.timeout(60):
            while len(self.gates) < times:
                await asyncio.sleep(0.005)

    def let_go(self) -> None:
        self._times = 0
        for gate in self.gates:
            if not gate.done():
                gate.set_result(None)
