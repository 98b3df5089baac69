"""The books over real fold, sink and RAW: they agree through everything that is allowed, and show what is not."""

import asyncio
import random

from aggregator.worker.books import BooksWorker
from kernel.telemetry import Telemetry
from tests.story.test_aggregator import CUSTOMERS, World, event, some_events, subscribe_all, world

__all__ = ["world"]  # the fixture


def books_of(world: World) -> tuple[BooksWorker, Telemetry]:
    """Start books as a fresh process does: what it knows is what RAW keeps."""
    telemetry = Telemetry()
    worker = BooksWorker(log=world.log, live=world.live, store=world.store, clock=world.clock, telemetry=telemetry)
    return worker, telemetry


def shown(telemetry: Telemetry, metric: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(metric, {"lane": "0", **labels})


def differences(telemetry: Telemetry) -> list[float | None]:
    name = "meterline_conservation_difference_events"
    return [shown(telemetry, name, identity=identity) for identity in ("appended", "counted")]


def place(telemetry: Telemetry, name: str) -> int:
    return int(shown(telemetry, "meterline_lane_events", place=name) or 0)


VERDICTS = ("counted", "repeat", "duplicate", "conflict", "blocked", "refused", "superseded", "dead")


async def test_the_books_agree_at_every_moment_and_over_restarts(world: World) -> None:
    chance = random.Random(11)
    appended = 0
    worker, telemetry = books_of(world)
    await subscribe_all(world)
    async with world.running() as (_, sink):
        await world.folded()
        for turn in range(40):
            events = some_events(chance)
            appended += len(events)
            await world.usage(*events)
            if turn == 20:
                await world.folded()
                await sink.flush()
                world.live.wipe()
                await world.folded()
            if turn % 3 == 0:
                await asyncio.sleep(chance.random() / 50)
                await worker.round()
                assert differences(telemetry) in ([0, 0], [None, None])
            if turn % 10 == 9:
                worker, telemetry = books_of(world)
        await world.folded()
        await worker.round()
        assert place(telemetry, "appended") == appended
        assert place(telemetry, "counted_unsunk") + place(telemetry, "counted_sunk") == place(telemetry, "counted")
        await sink.flush()
        await worker.round()
    assert differences(telemetry) == [0, 0]
    assert place(telemetry, "appended") == appended == sum(place(telemetry, verdict) for verdict in VERDICTS)
    assert place(telemetry, "counted") == place(telemetry, "counted_sunk") > 0
    assert place(telemetry, "in_flight") == place(telemetry, "carried") == 0
    assert shown(telemetry, "meterline_books_behind_records") == 0


async def test_what_nobody_has_folded_is_in_flight(world: World) -> None:
    await subscribe_all(world)
    async with world.running():
        await world.folded()
    await world.usage(event(CUSTOMERS[0], "a"), event(CUSTOMERS[0], "b"))
    worker, telemetry = books_of(world)
    await worker.round()
    assert (place(telemetry, "appended"), place(telemetry, "in_flight")) == (2, 2)
    assert differences(telemetry) == [0, 0]


async def three_sunk(world: World) -> None:
    await subscribe_all(world)
    async with world.running() as (_, sink):
        await world.folded()
        for key in "abc":
            await world.usage(event(CUSTOMERS[0], key))
        await world.folded()
        await sink.flush()


async def test_a_row_that_is_lost_shows_and_stays_shown(world: World) -> None:
    await three_sunk(world)
    await world.raw.command("ALTER TABLE events DELETE WHERE key = 'b' SETTINGS mutations_sync = 2")
    worker, telemetry = books_of(world)
    for _ in range(2):
        await worker.round()
        assert differences(telemetry) == [1, 1]
    # The log forgets the records, and the process ends: the loss stays written.
    await world.log.trim(0, 8, keep_ms=0, keep_bytes=0)
    worker, telemetry = books_of(world)
    await worker.round()
    await worker.round()
    assert differences(telemetry)[0] == 2
    assert place(telemetry, "carried") == 2


async def test_a_row_too_many_shows(world: World) -> None:
    await three_sunk(world)
    await world.raw.command(
        "INSERT INTO events SELECT * REPLACE (event_time + 1 AS event_time) FROM events WHERE key = 'b'"
    )
    worker, telemetry = books_of(world)
    await worker.round()
    assert differences(telemetry) == [1, 1]


async def test_a_row_that_comes_back_is_no_difference_any_more(world: World) -> None:
    await three_sunk(world)
    await world.raw.command("CREATE TABLE kept ENGINE = Memory AS SELECT * FROM events WHERE key = 'b'")
    await world.raw.command("ALTER TABLE events DELETE WHERE key = 'b' SETTINGS mutations_sync = 2")
    worker, telemetry = books_of(world)
    await worker.round()
    assert differences(telemetry) == [1, 1]
    await world.raw.command("INSERT INTO events SELECT * FROM kept")
    await worker.round()
    assert differences(telemetry) == [0, 0]
    assert place(telemetry, "counted_sunk") == 3


async def test_the_same_rows_again_are_the_same_rows(world: World) -> None:
    await three_sunk(world)
    await world.raw.command("SYSTEM STOP MERGES events")
    await world.raw.command("INSERT INTO events SELECT * FROM events")
    worker, telemetry = books_of(world)
    await worker.round()
    assert differences(telemetry) == [0, 0]
    assert place(telemetry, "appended") == 3
