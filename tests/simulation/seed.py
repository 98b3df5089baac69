"""One seed: a deployment, clients, a month's end and bad luck; then rest, and the auditor."""

import asyncio
import hashlib
import random
from itertools import chain, repeat

import msgspec

from meterline.role import Role
from tests.simulation.auditor import audit
from tests.simulation.await_point import Point, points
from tests.simulation.client import Clients
from tests.simulation.dead import spoilt
from tests.simulation.loop import StuckError
from tests.simulation.narrow import narrowed
from tests.simulation.pooled import pooled
from tests.simulation.town import MONTH_END_MS
from tests.simulation.unreached import dozing, rare
from tests.simulation.world import World

BUSY_SECONDS = 10
REST_SECONDS_MAX = 90
CLIENTS = 4
AIMED = 6  # awaits that a seed aims at
STRIDE = 1009  # a prime: neighbours in one function, which few seeds reach, are not all aimed at by the same seed
# In some seeds LIVE keeps the fewest exact days of keys, and these days go by: the first keys end up in filters after
# 18 of them. Fewer than 28 in all, which is before the next month's end.
FILTERED = 1 / 3
EXACT_DAYS = 9
LEAPS = ((18,), (9, 9), (9, 9, 9), (18, 9))


class Result(msgspec.Struct, frozen=True):
    """What a seed showed."""

    seed: int
    violations: list[str]
    digest: str
    records: int
    attempts: int
    steps: int
    seconds: float
    crashed: list[Point]
    failed: list[Point]
    trace: list[str]

    def line(self) -> dict:
        """Tell everything but the trace, for another process."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if name != "trace"}


class Misfortune:
    """What goes wrong, when: chosen by the seed."""

    def __init__(self, world: World, chance: random.Random, clients: Clients) -> None:
        self.world = world
        self.chance = chance
        self.clients = clients
        self.busy: list[asyncio.Task[None]] = []  # what clients do because of it
        self.over = False
        self.leapt = False

    def plan(self) -> None:
        world, chance = self.world, self.chance
        world.weather.fail = chance.choice((0, 0.002, 0.008, 0.02))
        world.weather.lose = chance.choice((0, 0, 0.02, 0.15))
        world.weather.delay = chance.choice((0, 0.002, 0.01, 0.03))
        world.skew_ms_max = chance.choice((0, 0, 200, 450))
        kinds = (
            *(self.crash,) * 5,
            *(self.pause,) * 3,
            *(self.restart,) * 3,
            self.fall_back,
            self.fall_back,
            self.wipe,
            self.live_away,
            self.log_away,
            self.raw_loses,
            self.pause_in_rebuild,
            self.raw_refuses,
            self.hand_over_unsunk,
        )
        # Every await has its turns, seed after seed: to die there, and to fail there.
        for number in range(world.seed * AIMED, (world.seed + 1) * AIMED):
            turn, place = divmod(number, len(points()))
            point = points()[place * STRIDE % len(points())]
            if turn % 2:
                world.weather.targets.add(point)
            else:
                world.doomed[point] = chance.choice((0, 0, 0, 2, 6)), chance.choice((0, 0, 0, 1, 3))
        for point in rare():
            if chance.random() < 0.4:
                world.doomed.setdefault(point, (0, chance.choice((0, 0, 1))))
        for point in dozing():
            if chance.random() < 0.15:
                world.dozing[point] = chance.choice((1.2, 2.5, 4))
        for _ in range(chance.choice((0, 2, 4, 7))):
            world.later(chance.uniform(0.3, BUSY_SECONDS), self._strike, chance.choice(kinds))
        if world.settings.keys_exact_days == EXACT_DAYS:
            for at_s, days in zip(sorted(chance.uniform(1.5, 8) for _ in range(3)), chance.choice(LEAPS), strict=False):
                world.later(at_s, self._strike, self.leap, days)
        elif chance.random() < 0.2:
            world.later(chance.uniform(4, 8), self._strike, self.leap, chance.choice((1, 9, 27)))
        if chance.random() < 0.3:
            world.later(chance.uniform(0.5, 4), self._strike, self.slow_rebuilder)

    def _strike(self, kind, *parts) -> None:
        if not self.over:
            kind(*parts)

    def crash(self) -> None:
        node = self.chance.choice(self.world.nodes)
        self.world.doom(node, self.chance.randrange(1, 60), self.chance.choice((0.05, 0.5, 3)))

    def restart(self) -> None:
        """End a process in order; now and then whoever asked for it does not wait until it has ended."""
        node = self.chance.choice(self.world.nodes)
        node.stop()
        if self.chance.random() < 0.3:
            self.world.doom(node, self.chance.randrange(1, 40), self.chance.choice((0.05, 0.5, 3)))

    def pause(self) -> None:
        self.chance.choice(self.world.nodes).pause(self.chance.choice((0.05, 0.3, 2.5, 5)))

    def fall_back(self) -> None:
        """LIVE loses its last second; or more of it, as after a restore, of which the log may hold less."""
        photograph = self.world.photograph()
        seconds = self.chance.uniform(0.01, 1) if self.chance.random() < 0.7 else self.chance.uniform(1, 4)
        self.world.later(seconds, self._fall_back, photograph)

    def _fall_back(self, photograph) -> None:
        self.world.fall_back(photograph)
        self._manage()

    def wipe(self) -> None:
        self.world.wipe()
        self._manage()

    def _manage(self) -> None:
        """Change something just now, perhaps, while LIVE does not know the catalog's version."""
        if self.chance.random() < 0.3:
            self.busy.append(asyncio.create_task(self.clients.manage()))

    def pause_in_rebuild(self) -> None:
        """LIVE is wiped, and who makes it again stops in the middle of it for longer than others wait."""
        self.world.wipe()
        for node in self.world.of(Role.AGGREGATOR):
            if self.chance.random() < 0.7:
                self.world.after_steps(
                    node, self.chance.randrange(5, 50), node.pause, self.chance.choice((1.2, 2.5, 4))
                )

    def slow_rebuilder(self) -> None:
        """Lanes of LIVE are gone, and one who makes its own again is slow and not heard: others take it for dead.

        Its first part waits until they have taken over and finished; before its later ones they fold.
        """
        owners = [node.process for node in self.world.of(Role.AGGREGATOR) if node.app and node.app.lanes.workers]
        if owners:
            process = self.chance.choice(owners)
            self.world.note(f"{process} is slow")
            self.world.lose_lanes()
            first, later = self.chance.choice((3.5, 4.5, 5.5)), self.chance.choice((0.2, 0.6, 1.2))
            self.world.weather.slow[process] = chain((first,), repeat(later))

    def raw_refuses(self) -> None:
        self.world.note("RAW refuses inserts")
        self.world.weather.refused.update(("insert_events", "write_progress"))
        self.world.later(self.chance.choice((0.5, 2)), self.world.weather.refused.clear)

    def hand_over_unsunk(self) -> None:
        """An aggregator dies for longer than its lanes wait for it, and left much that is not in RAW."""
        self.world.note("RAW refuses inserts, while lanes move")
        self.world.weather.refused.update(("insert_events", "write_progress"))
        self.world.later(5, self.world.weather.refused.clear)
        self.world.later(1.5, self.chance.choice(self.world.of(Role.AGGREGATOR)).kill, 4)

    def live_away(self) -> None:
        """LIVE is away, while the seller changes something and somebody looks."""
        self.world.note("LIVE is away")
        self.world.live.away = True
        if self.chance.random() < 0.5:
            self.busy += [asyncio.create_task(work) for work in (self.clients.manage(), self.clients.read())]
        self.world.later(self.chance.choice((0.2, 1, 3)), setattr, self.world.live, "away", False)

    def log_away(self) -> None:
        self.world.note("the log is away")
        self.world.log.away = True
        self.world.later(self.chance.choice((0.2, 1)), setattr, self.world.log, "away", False)

    def raw_loses(self) -> None:
        """RAW and with it every process that sinks start again; it lost its last inserts, if the log still has them."""
        inserts = self.chance.choice((1, 2, 5))
        kept = not self.leapt or self.world.settings.log_retain_ms
        lost = self.world.tables.lose(inserts) if kept else 0
        self.world.note(f"RAW lost {lost} inserts")
        for node in self.world.of(Role.AGGREGATOR):
            node.kill(0.2)

    def leap(self, days: int) -> None:
        """Skip quiet days, at most to just before the next month's end, for every clock at once."""
        self.leapt = True
        self.world.note(f"{days} days go by")
        self.world.wall.start_ms += days * 86_400_000

    def end(self) -> None:
        """No more bad luck: everybody comes back."""
        world = self.world
        self.over = True
        world.weather.fail = world.weather.delay = world.weather.lose = 0.0
        world.weather.refused.clear()
        world.weather.slow.clear()
        world.weather.targets.clear()
        world.doomed.clear()
        world.dozing.clear()
        world.live.away = world.log.away = False
        for node in world.nodes:
            if node.process is not None:
                node.resume(node.process)
        world.struck.clear()


def at_rest(world: World) -> str | None:
    """Say what still moves; None: nothing does."""
    for node in world.nodes:
        if not node.up:
            return f"{node.name} is not up"
        app = node.app
        if app.lanes is not None:
            for lane, worker in app.lanes.workers.items():
                if worker.stopped is not None:
                    return f"{node.name} stopped lane {lane}: {worker.stopped}"
            if app.sink.stopped is not None:
                return f"{node.name} stopped its sink: {app.sink.stopped}"
    for lane in range(world.log.lanes):
        held = world.live._lanes.get(lane)
        end = world.log._lanes[lane].end
        if held is None or held.header.state != "ready" or held.header.next != end or held.header.sunk != end:
            return f"lane {lane} of LIVE is at {held and held.header}, the log ends at {end}"
        if world.tables.progress.get((1, lane), (0, 0))[0] != end:
            return f"lane {lane} of RAW is behind {end}"
    sql = world.sql.database.raw
    if sql.in_transaction:
        return "a transaction is open"
    if sql.execute("SELECT count(*) FROM accounts WHERE shown_rev < rev").fetchone()[0]:
        return "an account is hidden"
    if sql.execute("SELECT count(*) FROM closes WHERE state = 'cut'").fetchone()[0]:
        return "a close is open"
    now_ms = world.clock.now_ms()
    due = "SELECT count(*) FROM subscriptions WHERE due_ms <= ?"
    if sql.execute(due, (now_ms,)).fetchone()[0]:
        return "a cut is due"
    return None


async def until_rest(world: World) -> None:
    """Wait until nothing moves for a second; what never comes to rest is a finding."""
    quiet, reason = 0, None
    for _ in range(REST_SECONDS_MAX * 4):
        await asyncio.sleep(0.25)
        reason = at_rest(world)
        quiet = quiet + 1 if reason is None else 0
        if quiet == 4:
            return
    world.violate(f"no rest within {REST_SECONDS_MAX} s: {reason}")


async def _live_through(world: World, clients: Clients, misfortune: Misfortune) -> None:
    misfortune.plan()
    chance = clients.chance
    clients.until_s = BUSY_SECONDS
    tasks = [asyncio.create_task(clients.run(number)) for number in range(CLIENTS)]
    selling = [asyncio.create_task(_sell(clients, chance.uniform(0, 9))) for _ in range(chance.choice((0, 2, 4, 6)))]
    for _ in range(chance.choice((0, 1, 2, 4))):
        await asyncio.sleep(chance.random() * 3)
        await clients.manage()
    await asyncio.sleep(max(0, BUSY_SECONDS - world.loop.time()))
    misfortune.end()
    await asyncio.gather(*tasks, *selling, *misfortune.busy)
    while world.weather.late:
        await asyncio.sleep(0.1)
    await until_rest(world)


async def _sell(clients: Clients, at_s: float) -> None:
    await asyncio.sleep(at_s)
    await clients.sell()


def filtered(seed: int) -> bool:
    """Tell whether old keys are kept in filters in this seed."""
    return random.Random(f"filtered {seed}").random() < FILTERED


def run_seed(seed: int) -> Result:
    """Run one seed from nothing; the same seed gives the same trace."""
    chance = random.Random(f"seed {seed}")
    retain_ms = chance.choice((0, 60 * 86_400_000))
    start_ms = MONTH_END_MS - chance.choice((1_500, 4_000, 7_000))
    exact_days = EXACT_DAYS if filtered(seed) else 35
    world = World(seed, start_ms=start_ms, retain_ms=retain_ms, exact_days=exact_days)
    world.deploy(billings=chance.choice((1, 2)))
    clients = Clients(world, random.Random(chance.random()))
    misfortune = Misfortune(world, random.Random(chance.random()), clients)
    with narrowed(random.Random(chance.random()), condensing=filtered(seed)), spoilt(), pooled(world.town):
        try:
            world.run(_live_through(world, clients, misfortune))
        except StuckError as error:
            world.violations.append(f"stuck: {error}")
    found = [*world.violations, *audit(world, clients.memory)]
    return Result(
        seed=seed,
        violations=found,
        digest=hashlib.blake2b("\n".join(world.trace).encode(), digest_size=8).hexdigest(),
        records=sum(len(records) for records in world.log.history.values()),
        attempts=sum(len(operation.attempts) for operation in clients.memory.operations),
        steps=world.loop.steps,
        seconds=world.loop.time(),
        crashed=sorted(world.coverage.crashed),
        failed=sorted(world.coverage.failed),
        trace=world.trace,
    )
