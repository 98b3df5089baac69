"""Traces of keys: which attempt of one key counts, whatever comes late, twice or at once."""

import asyncio
import json

from kernel.limits import CONDENSE_EVERY_MS, KEYS_EXACT_DAYS_MIN
from tests.simulation.town import KEY
from tests.simulation.trace import Stage


async def late_original(stage: Stage) -> None:
    event = stage.event("k")
    async with stage.lost_append(5):
        first = await stage.send(event)
    second = await stage.send(event)
    assert (first.status, second.status) == (503, 200)
    await stage.seconds(6)
    await stage.rest()
    assert stage.verdicts("k") == ["counted", "duplicate"]
    assert (await stage.send(event)).status == 409


async def late_after_refusal(stage: Stage) -> None:
    await stage.fill_cap()
    event = stage.event("k", feature="capped")
    async with stage.lost_append(8):
        assert (await stage.send(event)).status == 503
    assert (await stage.send(event)).status == 402
    await stage.clients.widen("")
    await stage.seconds(8)
    await stage.rest()
    assert stage.verdicts("k") == ["blocked", "superseded"]


async def late_after_end(stage: Stage) -> None:
    event = stage.event("k")
    async with stage.lost_append(9):
        assert (await stage.send(event)).status == 503
    await stage.clients.end(stage.customer)
    assert (await stage.send(event)).status == 404
    await stage.rest()
    await stage.clients.begin(stage.customer)
    await stage.seconds(9)
    await stage.rest()
    assert stage.verdicts("k") == ["refused", "superseded"]


async def retry_after_capacity(stage: Stage) -> None:
    await stage.fill_cap()
    event = stage.event("k", feature="capped")
    assert (await stage.send(event)).status == 402
    await stage.clients.widen("")
    await stage.seconds(0.1)
    assert (await stage.send(event)).status == 200
    await stage.rest()
    assert stage.verdicts("k") == ["blocked", "counted"]


async def two_contents(stage: Stage) -> None:
    x, y = stage.event("k", "1"), stage.event("k", "2")
    answers = await asyncio.gather(stage.send(x, stage.one), stage.send(y, stage.two))
    assert sorted(one.status for one in answers) == [200, 409]
    held = stage.hold("aggregator", "live.write", times=1)
    x, y = stage.event("p", "1"), stage.event("p", "2")
    sending = [stage.sending(x, stage.one), stage.sending(y, stage.two)]
    await held.reached()
    await stage.seconds(0.3)
    stage.one.pause(3)
    held.let_go()
    await stage.seconds(1)
    stage.two.pause(1)
    answers = await asyncio.gather(*sending)
    assert sorted(one.status for one in answers) == [200, 409]
    await stage.rest()
    assert sorted(stage.verdicts("p")) == ["conflict", "counted"]


async def twice_in_a_group(stage: Stage) -> None:
    def body(*quantities: int) -> bytes:
        events = [
            {"customerId": stage.customer, "featureCode": "open", "value": quantity, "eventId": f"g{len(quantities)}"}
            for quantity in quantities
        ]
        return json.dumps({"events": events}).encode()

    headers = {"x-api-key": KEY, "content-type": "application/json"}
    status, _ = await stage.one.request("/api/usage/events/batch", headers, body(1, 1))
    assert status == 200
    status, _ = await stage.one.request("/api/usage/events/batch", headers, body(1, 1, 2))
    assert status == 200
    await stage.rest()
    assert stage.verdicts("g2") == ["counted", "duplicate"]
    assert stage.verdicts("g3") == ["counted", "duplicate", "conflict"]


async def stalled_before_append(stage: Stage) -> None:
    await stage.fill_cap()
    event = stage.event("k", feature="capped")
    held = stage.hold("gateway0", "log.append")
    given_up = stage.sending(event, stage.one, patience_s=1)
    await held.reached()
    await given_up
    assert (await stage.send(event, stage.two)).status == 402
    await stage.clients.widen("")
    held.let_go()
    await stage.rest()
    assert stage.verdicts("k") == ["blocked", "superseded"]


async def refused_thrice(stage: Stage) -> None:
    await stage.fill_cap()
    event = stage.event("k", feature="capped")
    held = stage.hold("gateway0", "log.append", times=2)
    first = stage.sending(event, stage.one, patience_s=1)
    await held.reached()
    await first
    # The second goes through the other gateway only after the third was read by the stalled one.
    third = stage.sending(event, stage.one, patience_s=1)
    await held.reached(2)
    await third
    assert (await stage.send(event, stage.two)).status == 402
    await stage.clients.widen("")
    for gate in held.gates:
        gate.set_result(None)
        await stage.seconds(0.5)
    await stage.rest()
    assert stage.verdicts("k") == ["blocked", "superseded", "superseded"]


async def edge_of_a_generation(stage: Stage) -> None:
    event = stage.event("k")
    held = stage.hold("gateway0", "log.append")
    given_up = stage.sending(event, stage.one, patience_s=1)
    await held.reached()
    await given_up
    stage.leap(9)
    await stage.seconds(1)
    assert (await stage.send(event, stage.two)).status == 200
    held.let_go()
    await stage.rest()
    assert stage.verdicts("k") == ["counted", "duplicate"]
    photograph = stage.world.photograph()
    stage.leap(30)
    # A day late: the retry lies in the log while nobody folds.
    for node in stage.aggregators:
        node.pause(4)
    await stage.send(event, stage.two)
    stage.leap(1)
    await stage.rest()
    stage.world.fall_back(photograph)
    await stage.rest()


async def finds_itself(stage: Stage) -> None:
    """The lane is folded again after the row was sunk: a look-up in RAW must not find the event that it is for."""
    stage.keep_exact(KEYS_EXACT_DAYS_MIN)
    await stage.rest()
    await stage.fill_cap()
    counted, refused = stage.event("k"), stage.event("p", feature="capped")
    assert ((await stage.send(counted)).status, (await stage.send(refused)).status) == (200, 402)
    stage.leap(19)
    await stage.seconds(1)
    assert (await stage.send(stage.event("new"))).status == 200
    await stage.seconds(CONDENSE_EVERY_MS / 1_000 + 3)
    assert stage.condensed() == 2, "k and p are kept in a filter"
    stage.world.wipe()
    await stage.rest()
    assert stage.condensed() == 2, "a rebuild makes the filter too"
    photograph = stage.world.photograph()
    await stage.clients.widen("")
    await stage.seconds(0.1)
    assert (await stage.send(counted)).status == 409
    assert (await stage.send(refused)).status == 200, "judged afresh: it was only refused"
    await stage.rest()
    stage.world.fall_back(photograph)
    await stage.rest()
    assert stage.verdicts("k") == ["counted", "duplicate"]
    assert stage.verdicts("p") == ["blocked", "counted"]


async def raw_lacks_the_key(stage: Stage) -> None:
    """RAW lost its last rows, one of a key that is in a filter: who looks it up waits until they are written again."""
    stage.keep_exact(KEYS_EXACT_DAYS_MIN)
    await stage.rest()
    counted = stage.event("k")
    assert (await stage.send(counted)).status == 200
    stage.leap(19)
    await stage.seconds(1)
    assert (await stage.send(stage.event("new"))).status == 200
    await stage.seconds(CONDENSE_EVERY_MS / 1_000 + 3)
    assert stage.condensed() == 1, "k is kept in a filter"
    for node in stage.aggregators:
        node.kill(0.5)
    while stage.verdicts("k"):
        assert stage.world.tables.lose(1) == 1
    held = stage.hold("aggregator", "raw.insert_events", times=9)
    again = stage.sending(counted)
    await held.reached()
    await stage.seconds(1.5)
    held.let_go()
    await again
    await stage.rest()
    assert stage.verdicts("k") == ["counted", "duplicate"]


async def dead_and_replay(stage: Stage) -> None:
    """An event is dead and is replayed twice; the lane is folded again by code that can fold it: it counts once."""
    before = stage.world.photograph()
    with stage.raising_on("17"):
        answer = await stage.send(stage.event("k", "17"))
        assert answer.status == 422
        await stage.rest()
        await stage.replay("k")
        await stage.rest()
    assert stage.verdicts("k") == ["dead", "dead"]
    await asyncio.gather(stage.replay("k"), stage.replay("k"))
    await stage.rest()
    assert stage.verdicts("k") == ["dead", "dead", "counted", "duplicate"]
    stage.world.wipe()
    await stage.rest()
    await stage.replay("k")
    await stage.rest()
    assert stage.verdicts("k") == ["dead", "dead", "counted", "duplicate", "duplicate"]
    answer.code = answer.original = ""  # the word of code that is gone, which the auditor would hold against the log
    for node in stage.aggregators:  # other code is another process
        node.kill(0.1)
    stage.world.fall_back(before)
    await stage.seconds(5)
    await stage.rest()
    assert stage.verdicts("k") == ["counted", *["duplicate"] * 4], stage.verdicts("k")


async def fast_clock(stage: Stage) -> None:
    event = stage.event("k")
    assert (await stage.send(event)).status == 200
    clock = stage.one.app.clock
    clock._skew_ms = 86_400_000
    answers = [await stage.send(stage.event(f"fast{n}"), stage.one) for n in range(3)]
    assert [one.status for one in answers] == [503, 503, 503]
    stage.world.live.away = True
    await stage.send(stage.event("fast-away"), stage.one)
    stage.world.live.away = False
    clock._skew_ms = 0
    await stage.seconds(60)
    assert (await stage.send(event, stage.two)).status == 409
    newest = max(held.header.clock_ms for held in stage.world.live._lanes.values())
    assert newest <= stage.world.clock.now_ms()


KEYS = {
    made.__name__: made
    for made in (
        late_original,
        late_after_refusal,
        late_after_end,
        retry_after_capacity,
        two_contents,
        twice_in_a_group,
        stalled_before_append,
        refused_thrice,
        edge_of_a_generation,
        finds_itself,
        raw_lacks_the_key,
        dead_and_replay,
        fast_clock,
    )
}
