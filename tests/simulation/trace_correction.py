"""Traces of corrections: of one event each counts once, whoever asks, and however late an append lands."""

import asyncio
from decimal import Decimal

from aggregator.correction_event import Correction
from aggregator.row import EventRow
from kernel.errors import Rejected, Retryable
from tests.simulation.corrector import corrector_of
from tests.simulation.node import Node
from tests.simulation.trace import Stage

REQUEST = b"request1"


async def correct(node: Node, event_id: str, value: str | None, *, request: bytes = bytes(8)) -> EventRow | str:
    """Ask a gateway for a correction; the correction, or the code with which it was refused."""

    async def ask(app):
        corrector = await corrector_of(app)
        asked = Correction(value=None if value is None else Decimal(value))
        return await corrector.correct(await corrector.by_id(event_id), asked, request)

    try:
        return await node.ask(ask)
    except Rejected as error:
        return error.refusal.code
    except Retryable:
        return "unknown"


def told(stage: Stage, event_id: str) -> list[tuple[str, str]]:
    """The corrections of an event in RAW, in the log's order: verdict and quantity."""
    rows = [row for row in stage.world.tables.events.values() if row["corrects"] == event_id]
    ordered = sorted(rows, key=lambda row: (row["lane"], row["offset"], row["index"]))
    return [(row["verdict"], str(row["quantity"])) for row in ordered]


async def lost_correction(stage: Stage) -> None:
    """Its append ends unknown and lands late; asked again, it counts once, and is answered alike ever after."""
    event = (await stage.send(stage.event("k", "4"))).event
    async with stage.lost_append(5):
        assert await correct(stage.one, event, None, request=REQUEST) == "unknown"
    first = await correct(stage.two, event, None, request=REQUEST)
    assert isinstance(first, EventRow)
    await stage.seconds(6)
    await stage.rest()
    assert told(stage, event) == [("counted", "-4"), ("repeat", "-4")]
    assert await correct(stage.one, event, None, request=REQUEST) == first
    assert await correct(stage.one, event, None) == "event_voided"


async def corrections_at_once(stage: Stage) -> None:
    """Two gateways correct what neither has seen corrected: one wins, the other is told so."""
    event = (await stage.send(stage.event("k", "4"))).event
    held = stage.hold("aggregator", "live.write", times=1)
    asking = [
        asyncio.ensure_future(correct(node, event, value)) for node, value in ((stage.one, "3"), (stage.two, "1"))
    ]
    await held.reached()
    await stage.seconds(0.3)
    held.let_go()
    answers = await asyncio.gather(*asking)
    assert sorted(isinstance(one, EventRow) for one in answers) == [False, True], answers
    assert "correction_conflict" in answers
    await stage.rest()
    assert sorted(verdict for verdict, _ in told(stage, event)) == ["conflict", "counted"]
    assert isinstance(await correct(stage.one, event, None), EventRow)


async def corrections_before_raw(stage: Stage) -> None:
    """RAW has nothing yet: one correction after the other knows of those before by LIVE; then LIVE is made again."""
    held = stage.hold("aggregator", "raw.insert_events", times=1_000)
    event = (await stage.send(stage.event("k", "4"))).event
    for value in ("3", "1"):
        assert isinstance(await correct(stage.one, event, value), EventRow)
    assert isinstance(await correct(stage.two, event, None), EventRow)
    assert await correct(stage.one, event, "2") == "event_voided"
    held.let_go()
    await stage.rest()
    assert told(stage, event) == [("counted", "-1"), ("counted", "-2"), ("counted", "-1")]
    stage.world.wipe()
    await stage.seconds(12)
    await stage.rest()
    assert await correct(stage.two, event, "2") == "event_voided"


CORRECTIONS = {trace.__name__: trace for trace in (lost_correction, corrections_at_once, corrections_before_raw)}
