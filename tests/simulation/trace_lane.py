"""Traces of lanes: LIVE that falls back or is wiped, workers that stall, sinks that write late, RAW that forgets."""

import asyncio
from unittest.mock import patch

import msgspec

from kernel.engine.live.memory import MemoryLive
from tests.simulation.fault import Gate, LogView
from tests.simulation.trace import Stage
from tests.simulation.world import KeptLog

STALE = "aggregator.worker.lane.REBUILD_STALE_MS"


async def told_then_lost(stage: Stage) -> None:
    photograph = stage.world.photograph()
    events = [stage.event(f"k{n}") for n in range(5)]
    told = [await stage.send(event) for event in events]
    assert {one.status for one in told} == {200}
    stage.world.fall_back(photograph)
    await stage.rest()
    assert [(await stage.send(event)).original for event in events] == [one.event for one in told]


async def wiped_under_standing_connections(stage: Stage) -> None:
    before = stage.event("before")
    assert (await stage.send(before)).status == 200
    held = stage.hold("aggregator", "live.fill", times=20)
    stage.world.wipe()
    await held.reached()
    unlimited = await stage.send(stage.event("k"))
    limited = await stage.send(stage.event("l", feature="capped"))
    assert (unlimited.status, unlimited.pending, limited.status) == (200, True, 503)
    held.let_go()
    await stage.rest()
    assert stage.verdicts("k") == ["counted"]
    assert (await stage.send(before)).status == 409


async def two_rebuilders(stage: Stage) -> None:
    for n in range(4):
        await stage.send(stage.event(f"k{n}"))
    await stage.rest()
    owner = stage.owner()
    with patch(STALE, 1_000):
        slower = stage.hold(str(owner.process), "live.fill")
        stage.world.lose_lanes()
        await slower.reached()
        # The slower is not heard of any more and goes on all the same; the faster takes over, finishes, and folds.
        with stage.unheard(owner):
            await stage.seconds(9)
            assert (await stage.send(stage.event("after"), stage.two)).status == 200
            await stage.seconds(2)
            slower.let_go()
            await stage.seconds(2)
    await stage.rest()
    assert stage.verdicts("after") == ["counted"]


async def fall_back_in_rebuild(stage: Stage) -> None:
    events = [stage.event(f"k{n}") for n in range(4)]
    told = [await stage.send(event) for event in events]
    await stage.rest()
    owner = str(stage.owner().process)
    with patch(STALE, 1_000), patch("aggregator.worker.rebuild.FILL_MAX", 1):
        first = stage.hold(owner, "live.fill")
        stage.world.lose_lanes()
        await first.reached()
        photograph = stage.world.photograph()
        third = stage.hold(owner, "live.fill", after=1)
        first.let_go()
        await third.reached()
        # Two keys are written, and lost again; the rebuild that wrote them may not go on as if they were there.
        stage.world.fall_back(photograph)
        third.let_go()
        await stage.rest()
    assert [(await stage.send(event)).original for event in events] == [one.event for one in told]


async def accounts_apart(stage: Stage) -> None:
    await stage.send(stage.event("a"))
    await stage.rest()
    older = stage.world.photograph()
    await stage.send(stage.event("b"))
    await stage.rest()
    newer = stage.world.photograph()
    # One knows `next`, and asks for the account while LIVE stands before it; then LIVE is folded on to that `next`.
    owner = stage.owner()
    stage.aggregators[1 - stage.aggregators.index(owner)].kill(9)
    await stage.seconds(3)
    owner.kill(0.1)
    await stage.seconds(2)
    asking = stage.hold(str(owner.process), "live.view")
    sending = stage.sending(stage.event("c"))
    await asking.reached()
    stage.world.fall_back(older)
    writing = stage.hold(str(owner.process), "live.write")
    asking.let_go()
    await stage.seconds(0.02)
    stage.world.fall_back(newer)
    writing.let_go()
    await sending
    await stage.rest()


async def zombie_fold(stage: Stage) -> None:
    for name, falls_back in (("past", False), ("exactly", True)):
        await stage.send(stage.event(f"{name}-a"))
        await stage.rest()
        photograph = stage.world.photograph()
        held = stage.hold("aggregator", "live.write", times=1)
        sending = stage.sending(stage.event(f"{name}-b"))
        await held.reached()
        zombie = stage.node_of(held.processes[0])
        zombie.pause(6)
        await sending
        await stage.seconds(3)
        await stage.send(stage.event(f"{name}-c"), stage.two)
        if falls_back:
            stage.world.fall_back(photograph)  # LIVE is again exactly where the zombie computed from
            zombie.resume(zombie.process)
        held.let_go()
        await stage.rest()
        assert stage.verdicts(f"{name}-b") == ["counted"]


async def split_brain(stage: Stage) -> None:
    await stage.send(stage.event("a"))
    await stage.rest()
    old = MemoryLive(stage.world.clock)
    old._members, old._catalog, old._lanes = stage.world.photograph()
    one, other = stage.one.app, stage.aggregators[0].app
    for app in (one, other):
        app.live.live = old
    events = [stage.event(f"k{n}", feature="capped") for n in range(6)]
    answers = await asyncio.gather(
        *(stage.send(event, (stage.one, stage.two)[n % 2]) for n, event in enumerate(events))
    )
    assert {one.status for one in answers} == {200, 402}
    # Each aggregator is alone by now where it looks, and folds all lanes there.
    await stage.seconds(5)
    # The one on the old LIVE stops before its next write of each lane; that comes to the new one, where all went on.
    held = stage.hold(str(stage.aggregators[0].process), "live.write", times=2)
    await held.reached(2)
    for n in range(3):
        assert (await stage.send(stage.event(f"m{n}"), stage.two)).status == 200
    old.away = True
    for app in (one, other):
        app.live.live = stage.world.live
    held.let_go()
    await stage.rest()
    assert [stage.verdicts(f"m{n}") for n in range(3)] == [["counted"]] * 3


async def zombie_sink(stage: Stage) -> None:
    await stage.send(stage.event("a"))
    await stage.rest()
    owner = stage.owner()
    held = stage.hold(str(owner.process), "raw.write_progress")
    await stage.send(stage.event("b"))
    await held.reached()
    owner.pause(6)
    await stage.seconds(3)
    with patch("aggregator.worker.lane_queue.OUTCOMES_MAX", 0):
        await stage.send(stage.event("c"), stage.two)
        await stage.seconds(3)
    held.let_go()
    await stage.rest()


async def overtaken_sink(stage: Stage) -> None:
    """A sink that another owner overtook lacks outcomes that are gone: it begins anew, and rebuilds nothing."""
    await stage.send(stage.event("a"))
    await stage.rest()
    owner, lane = stage.owner(), stage.lane()
    token = stage.world.live._lanes[lane].header.token
    with patch("aggregator.worker.lane_queue.OUTCOMES_MAX", 0):
        held = stage.hold(str(owner.process), "live.write")
        await held.reached()
        with stage.unheard(owner):
            await stage.seconds(4)
            for n in range(3):
                assert (await stage.send(stage.event(f"b{n}"), stage.two)).status == 200
            await stage.seconds(4)
        held.let_go()
        await stage.seconds(4)
    await stage.rest()
    assert stage.owner() is owner
    assert stage.world.live._lanes[lane].header.token == token


async def overtaken_reader(stage: Stage) -> None:
    """A read is long on its way; another owner folds, sinks and removes what it asks for. The lane goes on."""
    await stage.send(stage.event("a"))
    with patch("aggregator.worker.sink.TRIM_EVERY_MS", 500):
        stage.keep_nothing()
        await stage.seconds(3)  # until those that were killed are missed
        await stage.rest()
        owner, lane = stage.owner(), stage.lane()
        held = stage.hold(str(owner.process), "log.read")
        await held.reached()
        asked, token = stage.world.log._lanes[lane].end, stage.world.live._lanes[lane].header.token
        with stage.unheard(owner):
            await stage.seconds(4)
            for n in range(3):
                assert (await stage.send(stage.event(f"b{n}"), stage.two)).status == 200
            await stage.seconds(4)
        assert stage.world.log._lanes[lane].begin > asked
        held.let_go()
        await stage.rest()
    assert stage.owner() is owner
    assert (await stage.send(stage.event("c"))).status == 200
    assert stage.world.live._lanes[lane].header.token == token


async def sunk_falls_back(stage: Stage) -> None:
    """LIVE loses nothing but what it was told last, that its lane is sunk, and the lane stays idle."""
    await stage.send(stage.event("a"))
    photograph = stage.world.photograph()
    await stage.rest()
    lane = stage.lane()
    before = stage.world.live._lanes[lane].header
    stage.world.fall_back(photograph)
    there = stage.world.live._lanes[lane].header
    assert (there.next, there.sunk) == (before.next, before.next - 1)
    await stage.rest()


async def folded_on_by_another(stage: Stage) -> None:
    """LIVE falls back, and another owner folds it on to where the first stands, who notices nothing; then it idles."""
    await stage.send(stage.event("a"))
    photograph = stage.world.photograph()
    await stage.rest()
    owner, lane = stage.owner(), stage.lane()
    telling = stage.hold(str(owner.process), "live.sank")
    for key in ("b", "c"):
        assert (await stage.send(stage.event(key))).status == 200
    await telling.reached()
    before = stage.world.live._lanes[lane].header
    idling = stage.hold(str(owner.process), "live.write")
    await idling.reached()
    stage.world.fall_back(photograph)
    assert stage.world.live._lanes[lane].header.next < before.next
    telling.let_go()
    # The other one has the lane for a moment only, and leaves it before it has sunk what it folded.
    stage.world.weather.refused.add("insert_events")
    with stage.unheard(owner):
        await stage.seconds(3)
    assert stage.world.live._lanes[lane].header.next == before.next
    await stage.seconds(1)
    stage.world.weather.refused.clear()
    idling.let_go()
    await stage.rest()


async def raw_behind(stage: Stage) -> None:
    for n in range(5):
        await stage.send(stage.event(f"k{n}"))
        await stage.seconds(1.1)
    await stage.rest()
    for node in stage.aggregators:
        node.kill(0.2)
    assert stage.world.tables.lose(6) == 6
    await stage.rest()


async def idle_end(stage: Stage) -> None:
    await stage.send(stage.event("a"))
    await stage.rest()
    stage.world.wipe()
    await stage.seconds(3)
    assert all(held.header.state == "ready" for held in stage.world.live._lanes.values())
    photograph = stage.world.photograph()
    await stage.send(stage.event("b"))
    await stage.rest()
    stage.world.fall_back(photograph)
    await stage.rest()


async def dead_rebuilder(stage: Stage) -> None:
    await stage.send(stage.event("a"))
    await stage.rest()
    with patch(STALE, 1_000):
        held = stage.hold("aggregator", "live.fill")
        stage.world.wipe()
        await held.reached()
        stage.owner().kill(60)
        begun_s = stage.world.loop.time()
        while (await stage.send(stage.event(f"b{stage.world.loop.time():.0f}"), stage.two)).status != 200:
            await stage.seconds(0.2)
        assert stage.world.loop.time() - begun_s < 10
        held.let_go()
    await stage.rest()


async def rules(stage: Stage) -> None:
    await stage.send(stage.event("a"))
    await stage.rest()
    lane = stage.lane()
    held = stage.world.live._lanes[lane]
    right = held.header
    for other, word in ((right.rules + 1, "start the newer one"), (right.rules - 1, "run `meterline epoch`")):
        held.header = msgspec.structs.replace(right, rules=other)
        await stage.send(stage.event(f"under-{other}"))
        await stage.seconds(1)
        [stopped] = [
            worker.stopped
            for node in stage.aggregators
            for number, worker in node.app.lanes.workers.items()
            if number == lane
        ]
        assert word in stopped
        held.header = right
        for node in stage.aggregators:
            node.kill(0.1)
        await stage.rest()
        right = held.header


async def old_epoch(stage: Stage) -> None:
    """One gateway sleeps through a change of the epoch: the log that it knows is another one, and sealed."""
    world, lane = stage.world, stage.lane()
    assert (await stage.send(stage.event("warm"))).status == 200  # it learns that `open` has no limit
    told = await stage.send(stage.event("new", feature="capped"), stage.two)
    assert told.status == 200
    offset = world.log._lanes[lane].end - 1
    old = KeptLog(epoch=world.log.epoch - 1, lanes=world.log.lanes, clock=world.clock)
    await old.create()
    for _ in range(offset):
        await old.append(lane, b"an older record")
    app = stage.one.app
    ours = LogView(old, Gate(stage.one.process, world.weather), world.loop)
    app.log = app.admission._log = ours
    app.hub._epoch = app.listener._epoch = old.epoch

    # Durable before the seal, where the new epoch has another record: that one's verdict is not taken for its own.
    event = stage.event("before", feature="capped")
    before = await stage.send(event)
    assert (old._lanes[lane].end, before.status) == (offset + 1, 503)

    # Asleep on its way to the log until the change is over. No limit applies, and still it is not answered as pending.
    event = stage.event("asleep")
    held = stage.hold("gateway0", "log.append")
    sending = stage.sending(event)
    await held.reached()
    await old.seal()
    held.let_go()
    after = await sending
    assert (after.status, after.pending) == (503, False)
    assert old._lanes[lane].end == offset + 1
    assert "epoch has ended" in app.admission.not_ready()

    stage.one.kill(0.1)
    await stage.seconds(1)
    assert (await stage.send(event)).status == 200
    assert (await stage.send(event)).status == 409
    await stage.rest()
    assert stage.verdicts("asleep") == ["counted"]


LANES_OF = {
    made.__name__: made
    for made in (
        told_then_lost,
        wiped_under_standing_connections,
        two_rebuilders,
        fall_back_in_rebuild,
        accounts_apart,
        zombie_fold,
        split_brain,
        zombie_sink,
        overtaken_sink,
        overtaken_reader,
        sunk_falls_back,
        folded_on_by_another,
        raw_behind,
        idle_end,
        dead_rebuilder,
        rules,
        old_epoch,
    )
}
