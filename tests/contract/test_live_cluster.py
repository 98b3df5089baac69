"""What only a cluster has: scripts stay in the slot of their lane, lanes follow their slots, nodes go and come."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.crc import key_slot

from kernel.clock import SystemClock
from kernel.engine.live.base import READY, FoldWrite, KeyWrite, LaneHeader, Live, Written
from kernel.engine.live.valkey import ValkeyLive
from kernel.engine.opening import open_live
from kernel.engine.valkey_client import Connections, Script
from kernel.engine.valkey_cluster import node_urls
from kernel.errors import Misconfigured, Unavailable
from kernel.settings import Settings
from meterline.stack.valkey import ValkeyCluster, ValkeyServer
from tests.contract.conftest import written

TOKEN = b"token"
HEADER = LaneHeader(epoch=1, token=TOKEN, rules=1, next=0, sunk=0, clock_ms=0, seen_ms=0, state=READY)
ANN = b"a" * 16
LANES = 4
FAR, NEAR = 0, 3  # lanes on different nodes


@pytest.fixture
async def live(valkey_cluster: ValkeyCluster) -> AsyncIterator[ValkeyLive]:
    """LIVE of four lanes on three nodes, without any data."""
    assert len({valkey_cluster.node_of(lane) for lane in range(LANES)}) == 3
    assert valkey_cluster.node_of(FAR) != valkey_cluster.node_of(NEAR)
    live = await ValkeyLive.open(valkey_cluster.url, lanes=LANES, subs=2)
    await live._connections.each(("FLUSHALL",))
    yield live
    await live.close()


def change(expected: LaneHeader = HEADER, **fields: Any) -> FoldWrite:
    kept = {"next": expected.next, "clock_ms": expected.clock_ms, "seen_ms": expected.seen_ms}
    sequences = dict.fromkeys(("generations", "fresh", "drop_generations", "keys"), ())
    mappings: dict[str, Any] = {name: {} for name in ("snapshots", "accounts", "outcomes")}
    return FoldWrite(**{"expected": expected, **kept, **sequences, **mappings, **fields})


def full(number: int) -> FoldWrite:
    """The write that folds offset `number` and touches every kind of key that a lane has."""
    digest = number.to_bytes(16, "big")
    return change(
        msgspec.structs.replace(HEADER, next=number),
        next=number + 1,
        generations=[4, 5],
        fresh=[digest],
        drop_generations=[1, 2],
        keys=[KeyWrite(generation=5, digest=digest, entry=b"e" * 34)],
        snapshots={ANN: b"%d" % number},
        accounts={ANN: b"%d" % number},
        outcomes={number: b"%d" % number},
        publish={number: "gw"},
    )


async def make_ready(live: Live, *lanes: int) -> None:
    for lane in lanes:
        assert await live.begin_rebuild(lane, token=TOKEN, expected_token=None)
        assert await live.finish_rebuild(lane, step=0, header=HEADER)


async def everything(live: Live, lane: int) -> Any:
    return (
        await live.dump(lane),
        await live.outcomes(lane, range(10), epoch=HEADER.epoch),
        (await live.view(lane, [ANN])).accounts,
    )


def slot_of(lane: int) -> int:
    return key_slot(b"{%d}" % lane)


def id_of(node: ValkeyServer) -> str:
    told: bytes = node.ask("CLUSTER MYID")
    return told.decode()


async def served(live: Live, lane: int) -> None:
    """Wait until a lane answers."""
    async with asyncio.timeout(10):
        while True:
            try:
                await live.view(lane, [])
            except Unavailable:
                await asyncio.sleep(0.02)
            else:
                return


class SlotMove:
    """A lane's slot on its way to another node, key by key, as servers before Valkey 9 move it."""

    def __init__(self, cluster: ValkeyCluster, lane: int) -> None:
        self.slot, self.tag = slot_of(lane), f"{{{lane}}}"
        self.source = cluster.nodes[cluster.node_of(lane)]
        self.target = cluster.nodes[(cluster.node_of(lane) + 1) % len(cluster.nodes)]

    def begin(self) -> None:
        self.target.ask("CLUSTER SETSLOT", self.slot, "IMPORTING", id_of(self.source))
        self.source.ask("CLUSTER SETSLOT", self.slot, "MIGRATING", id_of(self.target))

    def move(self, *names: str) -> None:
        for name in names:
            self.source.ask("MIGRATE", "127.0.0.1", self.target.port, self.tag + name, 0, 5_000)

    def end(self) -> None:
        self.move(*(name.decode().removeprefix(self.tag) for name in self.source.ask("KEYS", f"{self.tag}*")))
        for node in (self.target, self.source):
            node.ask("CLUSTER SETSLOT", self.slot, "NODE", id_of(self.target))

    def back(self) -> None:
        self.source, self.target = self.target, self.source
        self.begin()
        self.end()


# --- slots -------------------------------------------------------------------------------------------------------


async def test_the_server_refuses_a_script_that_touches_another_slot(
    valkey_cluster: ValkeyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So whatever of the law book passes on the cluster stays in the slot of its lane, undeclared keys included."""
    same = next(tag for tag in range(1, 100) if valkey_cluster.node_of(tag) == valkey_cluster.node_of(0))
    body = f"#!lua\nreturn redis.call('GET', '{{{same}}}x')"
    monkeypatch.setattr("kernel.engine.valkey_client._text", lambda *_: body)
    script = Script("any", "any")
    node = valkey_cluster.nodes[valkey_cluster.node_of(0)]
    connections = Connections(node.url, [script], most=1)
    with pytest.raises(Unavailable, match="slot"):
        await connections.one(script.call(["{0}h"]))
    await connections.close()


async def test_every_method_works_on_lanes_of_every_node_and_leaves_the_others_alone(live: ValkeyLive) -> None:
    await make_ready(live, *range(LANES))
    untouched = [await everything(live, lane) for lane in range(LANES)]
    for lane in range(LANES):
        assert isinstance(await live.write(lane, full(0)), Written)
        for later in range(lane + 1, LANES):
            assert await everything(live, later) == untouched[later]
        assert await live.outcomes(lane, [0], epoch=HEADER.epoch) == [b"0"]
        assert await live.oldest_outcome(lane) == 0
        assert await live.sank(lane, token=TOKEN, begun=0, sunk=1, drop=[0])
        assert await live.oldest_outcome(lane) is None
    look = await live.look({lane: [bytes(16), b"x" * 16] for lane in (2, 0, 3, 1)}, [5, 4])
    assert look.entries == {lane: [b"e" * 34, None] for lane in range(LANES)}
    assert abs(look.now_ms - await live.now_ms()) < 1_000
    for lane in range(LANES):
        assert await live.begin_rebuild(lane, token=b"new", expected_token=TOKEN)
        assert await live.fill(lane, token=b"new", step=0, keys=[], snapshots={}, accounts={ANN: b"a"})
        assert await live.rebuild_step(lane) == (b"new", 1)


async def test_a_look_asks_the_nodes_at_once_and_takes_the_greatest_catalog_that_one_knows(
    live: ValkeyLive, valkey_cluster: ValkeyCluster
) -> None:
    await live.raise_catalog(7)
    node = valkey_cluster.nodes[valkey_cluster.node_of(FAR)]
    node.ask("HSET", f"{{{FAR}}}c", "version", 9)
    assert (await live.look({NEAR: [], FAR: []}, [])).catalog == 9
    assert (await live.look({NEAR: []}, [])).catalog == 7
    assert (await live.view(FAR, [])).catalog == 9
    node.ask("HSET", f"{{{FAR}}}c", "run", "another")
    assert (await live.look({NEAR: [], FAR: []}, [])).catalog == 7
    assert (await live.look({}, [])).catalog is None, "lane 0 is asked"
    assert await live.catalog() is None


# --- slots that move ---------------------------------------------------------------------------------------------


async def test_a_lane_follows_its_slot(live: ValkeyLive, valkey_cluster: ValkeyCluster) -> None:
    await make_ready(live, FAR, NEAR)
    await live.write(FAR, full(0))
    before = await everything(live, FAR)
    move = SlotMove(valkey_cluster, FAR)
    move.begin()
    move.end()
    try:
        assert await everything(live, FAR) == before
        assert isinstance(await live.write(FAR, full(1)), Written)
        assert (await live.look({FAR: [bytes(16)], NEAR: []}, [5])).entries == {FAR: [b"e" * 34], NEAR: []}
    finally:
        move.back()
    assert isinstance(await live.write(FAR, full(2)), Written), "the map is wrong again: one MOVED tells"


@pytest.mark.parametrize("moved", [(), ("h",), ("k:5:0",), ("o",), ("t", "a"), ("h", "k:5:0", "k:5:1", "o")])
async def test_while_a_slot_moves_key_by_key_nothing_is_written_nor_taken_for_absent(
    live: ValkeyLive, valkey_cluster: ValkeyCluster, moved: tuple[str, ...]
) -> None:
    await make_ready(live, FAR)
    for number in range(2):
        assert isinstance(await live.write(FAR, full(number)), Written)
    await live.raise_catalog(5)
    before = await everything(live, FAR)
    move = SlotMove(valkey_cluster, FAR)
    move.begin()
    try:
        move.move(*moved)
        calls = [
            lambda: live.write(FAR, full(2)),
            lambda: live.write(FAR, change(full(2).expected, seen_ms=1)),
            lambda: live.look({FAR: [bytes(16), (1).to_bytes(16, "big")]}, [5]),
            lambda: live.begin_rebuild(FAR, token=b"new", expected_token=TOKEN),
            lambda: live.fill(FAR, token=TOKEN, step=0, keys=[], snapshots={}, accounts={}),
        ]
        for call in calls:
            with pytest.raises(Unavailable):
                await call()
        reads = (
            live.outcomes(FAR, range(10), epoch=HEADER.epoch),
            live.oldest_outcome(FAR),
            live.rebuild_step(FAR),
            live.catalog(),
        )
        ends = await asyncio.gather(*reads, return_exceptions=True)
        for end, wanted in zip(ends, (before[1], 0, None, 5), strict=True):
            assert end == wanted or isinstance(end, Unavailable)
        move.end()
        assert await everything(live, FAR) == before
        assert isinstance(await live.write(FAR, full(2)), Written)
    finally:
        move.back()


async def test_a_slot_that_moves_at_once_is_followed(live: ValkeyLive, valkey_cluster: ValkeyCluster) -> None:
    """Valkey 9: nothing is ever absent, and every write happens once, while the slot moves under a running fold."""
    await make_ready(live, FAR)
    source = valkey_cluster.nodes[valkey_cluster.node_of(FAR)]
    target = valkey_cluster.nodes[(valkey_cluster.node_of(FAR) + 1) % 3]
    slot = slot_of(FAR)
    number, unknown = 0, 0
    for here, there in ((source, target), (target, source)):
        here.ask("CLUSTER MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", id_of(there))
        until = time.monotonic() + 10
        arrived = 0
        while arrived < 20:
            assert time.monotonic() < until
            try:
                assert isinstance(await live.write(FAR, full(number)), Written)
            except Unavailable:
                unknown += 1
                await asyncio.sleep(0.01)
                header = (await live.view(FAR, [])).header
                assert header is not None
                number = header.next - 1
            number += 1
            arrived += any(first <= slot <= last for first, last in slots_of(there))
    header = (await live.view(FAR, [])).header
    assert header is not None
    assert header.next == number
    assert await live.outcomes(FAR, range(number), epoch=HEADER.epoch) == [b"%d" % each for each in range(number)]
    print(f"{number} writes while the slot moved twice, {unknown} without an answer")


def slots_of(node: ValkeyServer) -> list[tuple[int, int]]:
    """Tell the ranges that a node says it serves."""
    own = next(told for told in node.ask("CLUSTER NODES").values() if "myself" in told["flags"])
    return [(int(part[0]), int(part[-1])) for part in own["slots"] if part[0].isdigit()]


async def test_who_listens_hears_of_a_slot_that_moves_and_listens_again_where_it_is(
    live: ValkeyLive, valkey_cluster: ValkeyCluster
) -> None:
    await make_ready(live, FAR, NEAR)
    told: list[tuple[int, int, int, bytes]] = []

    async def listen() -> asyncio.Task[None]:
        """Listen; the map may come from a node that does not know yet, so again and again, as a gateway does."""
        async with asyncio.timeout(5):
            while True:
                ready = asyncio.get_running_loop().create_future()
                task = asyncio.create_task(live.listen("gw", range(LANES), lambda *now: told.append(now), ready.cancel))
                await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
                if ready.cancelled():
                    return task
                assert isinstance(task.exception(), Unavailable)

    move = SlotMove(valkey_cluster, FAR)
    listening = await listen()
    move.begin()
    move.end()
    try:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(listening, 5)
        listening = await listen()
        await live.write(FAR, full(0))
        await live.write(NEAR, full(0))
        async with asyncio.timeout(5):
            while len(told) < 2:
                await asyncio.sleep(0.001)
        assert sorted(told) == [(FAR, 1, 0, b"0"), (NEAR, 1, 0, b"0")]
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        move.back()


# --- nodes that go and come --------------------------------------------------------------------------------------


async def test_a_node_that_is_killed_takes_its_own_lanes_away_until_it_is_back(
    live: ValkeyLive, valkey_cluster: ValkeyCluster
) -> None:
    await make_ready(live, FAR, NEAR)
    await live.write(FAR, full(0))
    await live.raise_catalog(3)
    before = await everything(live, FAR)
    node = valkey_cluster.nodes[valkey_cluster.node_of(FAR)]
    told: list[int] = []
    ready = asyncio.Event()
    listening = asyncio.create_task(live.listen("gw", range(LANES), lambda *_: told.append(1), ready.set))
    await asyncio.wait_for(ready.wait(), 5)
    await written(live)
    node.kill()
    try:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(listening, 5)
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(Unavailable):
                await live.write(FAR, full(1))
            assert time.monotonic() - began < 1, "a node that is gone is noticed at once"
            assert isinstance(await live.write(NEAR, change(seen_ms=9)), Written)
            assert (await live.look({NEAR: [b"x" * 16]}, [5])).ready == {NEAR: True}
        with pytest.raises(Unavailable):
            await live.look({NEAR: [], FAR: []}, [5])
        with pytest.raises(Unavailable):
            await live.raise_catalog(4)
        assert (await live.view(NEAR, [])).catalog == 4, "the others have it"
    finally:
        node.start()
        valkey_cluster.wait_joined()
    await served(live, FAR)
    assert await everything(live, FAR) == before
    assert isinstance(await live.write(FAR, full(1)), Written)
    assert await live.catalog() is None, "its node may have lost what was raised"
    assert not await live.raise_catalog(4)
    assert await live.raise_catalog(4)
    assert await live.catalog() == 4


async def test_a_node_that_hangs_holds_only_its_own_lanes_up(live: ValkeyLive, valkey_cluster: ValkeyCluster) -> None:
    await make_ready(live, FAR, NEAR)
    node = valkey_cluster.nodes[valkey_cluster.node_of(FAR)]
    node.freeze()
    try:
        began = time.monotonic()
        hanging = asyncio.create_task(live.view(FAR, []))
        for _ in range(50):
            await live.view(NEAR, [])
        assert not hanging.done()
        with pytest.raises(Unavailable):
            await hanging
        assert time.monotonic() - began < 3
        began = time.monotonic()
        await live.view(NEAR, [])
        assert time.monotonic() - began < 1, "the map comes from whoever answers first"
    finally:
        node.thaw()
    await served(live, FAR)


async def test_scripts_that_one_node_forgot_are_loaded_again(live: ValkeyLive, valkey_cluster: ValkeyCluster) -> None:
    await make_ready(live, *range(LANES))
    valkey_cluster.nodes[valkey_cluster.node_of(FAR)].ask("SCRIPT FLUSH", "SYNC")
    look = await live.look({lane: [b"x" * 16] for lane in range(LANES)}, [5])
    assert look.ready == dict.fromkeys(range(LANES), True)


# --- opening -----------------------------------------------------------------------------------------------------


async def test_a_cluster_opens_by_any_node_that_answers(live: ValkeyLive, valkey_cluster: ValkeyCluster) -> None:
    await make_ready(live, *range(LANES))
    url = f"redis+cluster://127.0.0.1:1,127.0.0.1:{valkey_cluster.nodes[2].port}"
    other = await open_live(Settings(live_url=url), SystemClock(), lanes=LANES)
    assert [(await other.view(lane, [])).header for lane in range(LANES)] == [HEADER] * LANES
    await other.close()
    with pytest.raises(Unavailable):
        await other.view(0, [])


async def test_a_cluster_of_which_nobody_answers_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await ValkeyLive.open("redis+cluster://127.0.0.1:1,127.0.0.1:2", lanes=LANES)


async def test_every_node_is_seen_to_evict_nothing(valkey_cluster: ValkeyCluster) -> None:
    node = valkey_cluster.nodes[1]
    node.ask("CONFIG SET", "maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(Misconfigured, match="allkeys-lru"):
            await ValkeyLive.open(valkey_cluster.url, lanes=LANES)
    finally:
        node.ask("CONFIG SET", "maxmemory-policy", "noeviction")


async def test_a_node_of_a_cluster_is_not_opened_as_a_server_of_its_own(valkey_cluster: ValkeyCluster) -> None:
    with pytest.raises(Misconfigured, match="redis\\+cluster"):
        await ValkeyLive.open(valkey_cluster.nodes[0].url, lanes=LANES)


async def test_live_is_not_opened_on_the_logs_server(valkey_cluster: ValkeyCluster) -> None:
    settings = Settings(live_url=valkey_cluster.url, log_url=valkey_cluster.nodes[1].url)
    with pytest.raises(Misconfigured, match="METERLINE_LIVE_URL"):
        await open_live(settings, SystemClock(), lanes=LANES)


def test_a_clusters_url_names_nodes_and_credentials_once() -> None:
    urls = node_urls("redis+cluster://ann:p%40ss@one:7000,two,[::1]:7002")
    assert urls == {
        ("one", 7000): "redis://ann:p%40ss@one:7000",
        ("two", 6379): "redis://ann:p%40ss@two",
        ("::1", 7002): "redis://ann:p%40ss@[::1]:7002",
    }
    for wrong in ("redis+cluster://", "redis+cluster://one:x", "redis+cluster://one:7000,"):
        with pytest.raises(Misconfigured):
            node_urls(wrong)
