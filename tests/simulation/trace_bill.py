"""Traces of accounts, cuts and closes."""

import asyncio

from tests.simulation.trace import Stage
from tests.simulation.world import DOUBT


async def relay(stage: Stage) -> None:
    await stage.clients.widen("")
    await stage.clients.end(stage.customer)
    await stage.rest()
    await stage.clients.begin(stage.customer)
    # All snapshots again, the newest first; then each once more in order.
    for lane, records in stage.world.log.history.items():
        snapshots = [record.data for record in records if record.data[1:3] == b"\xa1a" or b"\xa1a" in record.data[:4]]
        assert snapshots
        for data in [*reversed(snapshots), *snapshots]:
            await stage.world.log.append(lane, data)
    held = stage.hold("gateway", "log.append")
    widening = asyncio.create_task(stage.clients.widen(""))
    await held.reached()
    for node in (stage.one, stage.two):
        node.kill(0.1)
    await asyncio.gather(widening, return_exceptions=True)
    held.let_go()
    await stage.seconds(2)
    stage.world.live._catalog = 1
    stage.world.live.restart()
    await stage.clients.introduce("")
    await stage.rest()


async def second_cut(stage: Stage) -> None:
    await stage.send(stage.event("a", "5", "over"))
    await stage.rest()
    stage.world.weather.refused.add("totals_at_cut")
    stage.leap(20)
    await stage.seconds(3)
    await stage.send(stage.event("b", "4", "over"))
    await stage.clients.end(stage.customer)
    await stage.seconds(3)
    sql = stage.world.sql.database.raw
    assert sql.execute("SELECT max(cut) FROM accounts").fetchone() == (1,)
    stage.world.weather.refused.clear()
    await stage.rest()
    assert sql.execute("SELECT max(cut) FROM accounts").fetchone() == (2,)


async def two_closers(stage: Stage) -> None:
    calls = ("sql.transaction", "live.view", "raw.first_cut_positions", "raw.totals_at_cut", "sql.transaction")
    for number, call in enumerate(calls):
        await stage.send(stage.event(f"k{number}", "5", "over"))
        await stage.rest()
        held = stage.hold("billing", call)
        stage.leap(31 if number else 20)
        await held.reached()
        stage.node_of(held.processes[0]).kill(0.5)
        held.let_go()
        await stage.rest()


async def late_event_at_cut(stage: Stage) -> None:
    await stage.send(stage.event("a", "5", "over"))
    await stage.rest()
    # What counts before the cut is not in RAW when LIVE has the cut: the sums have to wait for it.
    sinking = stage.hold("aggregator", "raw.insert_events", times=2)
    assert (await stage.send(stage.event("before", "1", "over"))).status == 200
    await sinking.reached()
    stamp = stage.clients.stamp()
    stage.leap(20)
    await stage.seconds(3)
    held = stage.hold("billing0", "raw.totals_at_cut")
    sinking.let_go()
    await held.reached()
    late = await stage.send(stage.event("late", "3", "over", event_time=stamp))
    assert late.status == 200
    await stage.seconds(2)
    held.let_go()
    await stage.rest()
    stage.leap(28)
    await stage.rest()
    sql = stage.world.sql.database.raw
    kinds = [kind for (kind,) in sql.execute("SELECT kind FROM invoice_lines WHERE kind != 'plan_base' ORDER BY cut")]
    assert kinds == ["overage", "late_usage"]


async def pending_then_blocked(stage: Stage) -> None:
    assert (await stage.send(stage.event("a"))).status == 200
    for node in stage.aggregators:
        node.pause(8)
    await stage.clients.end(stage.customer)
    attempt = await stage.send(stage.event("p"))
    assert (attempt.status, attempt.pending) == (200, True)
    await stage.seconds(8)
    await stage.rest()
    [row] = [row for row in stage.world.tables.events.values() if row["key"] == "p"]
    assert (row["verdict"], row["code"]) == ("refused", "no_active_subscription")


async def pending_then_limited(stage: Stage) -> None:
    """The same, and the plan that ends is unlimited, the one that begins is not."""
    assert (await stage.send(stage.event("a"))).status == 200
    for node in stage.aggregators:
        node.pause(15)
    await stage.clients.tighten("")
    await stage.clients.renew(stage.customer)
    attempt = await stage.send(stage.event("p", "3"))
    assert (attempt.status, attempt.pending) == (200, True)
    await stage.seconds(15)
    await stage.rest()
    [row] = [row for row in stage.world.tables.events.values() if row["key"] == "p"]
    assert (row["verdict"], row["code"]) == ("blocked", "included_limit_reached")


async def cut_falls_back(stage: Stage) -> None:
    await stage.send(stage.event("a", "5", "over"))
    await stage.rest()
    photograph = stage.world.photograph()
    held = stage.hold("billing0", "raw.totals_at_cut")
    stage.leap(20)
    await held.reached()
    stage.world.fall_back(photograph)
    held.let_go()
    await stage.rest()


async def raw_loses_a_cut(stage: Stage) -> None:
    """RAW is seen beyond a cut, and loses what lies before it until it is summed: the sums wait for it once more."""
    await stage.send(stage.event("a", "5", "over"))
    await stage.rest()
    assert (await stage.send(stage.event("b", "4", "over"))).status == 200
    held = stage.hold("billing0", "raw.totals_at_cut")
    stage.leap(20)
    await held.reached()
    for node in stage.aggregators:
        node.kill(3)
    while stage.verdicts("b"):
        assert stage.world.tables.lose(1) == 1
    held.let_go()
    await stage.rest()
    assert any(DOUBT in line for line in stage.world.trace)


BILLS = {
    made.__name__: made
    for made in (
        relay,
        second_cut,
        two_closers,
        late_event_at_cut,
        pending_then_blocked,
        pending_then_limited,
        cut_falls_back,
        raw_loses_a_cut,
    )
}
