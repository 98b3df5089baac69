"""Dead letters judged again: each one's stored facts, appended as a new attempt that names it.

Order: what was appended is folded and in RAW; LIVE says which dead letters wait; a page of them is appended, and its
verdicts are waited for before the next. Invariants: nothing is appended when one that was named cannot be replayed;
memory is bounded by a page; whatever is sent twice, by two commands or after an unknown append, the fold counts once.
Source: DESIGN 3.5.4; limits in `kernel.limits`.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from aggregator.fold_slice import generations_read
from aggregator.replay import letter_digest, replay_of, why_not
from aggregator.row import EventRow
from aggregator.usage import position_of
from ingest.chunk import chunks
from ingest.verdict import Outcome, Verdict, decode_outcomes
from kernel import ids
from kernel.engine.live.base import READY, LaneHeader
from kernel.errors import Misconfigured, Unavailable
from kernel.lane import lane_of
from kernel.limits import KEY_MEMORY_MS, REPLAY_NAMED_MAX, REPLAY_PAGE_EVENTS, REPLAY_WAIT_MS
from kernel.position import Position
from meterline.operation.organization import organization_bytes

if TYPE_CHECKING:
    from meterline.app import App

PENDING: Final = "pending"
_LOOK_S: Final = 0.02


async def replay(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Replay the dead letters `events`, or with `all` every one that waits (of `organization`, None: of all).

    Returns how many were `sent` and `counted`, their `verdicts`, how many were `passedOver` because they do not wait
    any more, and the first REPLAY_NAMED_MAX `letters` one by one. Raises Misconfigured for an id that is none or that
    cannot be replayed, Unavailable when a lane is not ready.
    """
    named, organization = [str(one) for one in params.get("events") or ()], params.get("organization")
    if bool(named) is bool(params.get("all")):
        raise Misconfigured("name dead letters (evt_…), or say --all")
    if organization is not None:
        organization_bytes(str(organization))
    places = _places(named)
    await _caught_up(app)
    await app.catalog.refresh()
    run = _Run(app)
    if named:
        async for page in _named(app, places, organization):
            for letter, reason in zip(page, await _reasons(app, page), strict=True):
                if reason is not None:
                    raise Misconfigured(f"{position_of(letter).event_id()}: {reason}")
    async for page in _named(app, places, organization) if named else _all(app, organization):
        await run.send(page)
    return run.report()


def _places(named: Sequence[str]) -> list[Position]:
    places = {text: Position.from_event_id(text) for text in named}
    if len(places) > REPLAY_NAMED_MAX:
        raise Misconfigured(
            f"{len(places)} dead letters are named: at most {REPLAY_NAMED_MAX} in one command, or --all"
        )
    for text, place in places.items():
        if place is None:
            raise Misconfigured(f"{text!r} is not an event's id (evt_…)")
    return [place for place in places.values() if place is not None]


async def _named(app: "App", places: Sequence[Position], organization: str | None) -> AsyncIterator[list[EventRow]]:
    for begin in range(0, len(places), REPLAY_PAGE_EVENTS):
        page = []
        for place in places[begin : begin + REPLAY_PAGE_EVENTS]:
            row = await app.usage_store.event_at(place)
            if row is None or organization not in (None, row.organization):
                raise Misconfigured(f"there is no event {place.event_id()}, or it is not judged and stored yet")
            page.append(row)
        yield page


async def _all(app: "App", organization: str | None) -> AsyncIterator[list[EventRow]]:
    since_ms, after = app.clock.now_ms() - KEY_MEMORY_MS, None
    while page := await app.usage_store.dead_letters(
        organization, since_ms=since_ms, after=after, limit=REPLAY_PAGE_EVENTS
    ):
        after = position_of(page[-1])
        yield page


async def _caught_up(app: "App") -> None:
    """Wait until what was appended before is judged and in RAW; a lane that stands still does not keep the others."""
    started_ms = app.clock.monotonic_ms()
    for lane in range(app.log.lanes):
        end = (await app.log.bounds(lane)).end
        while (header := (await app.live.view(lane, [])).header) is None or not (
            header.state == READY and header.epoch == app.log.epoch and header.next >= end
        ):
            if app.clock.monotonic_ms() - started_ms > REPLAY_WAIT_MS:
                break
            await asyncio.sleep(_LOOK_S)
    await app.flush()


async def _header(app: "App", lane: int) -> LaneHeader:
    header = (await app.live.view(lane, [])).header
    if header is None or header.state != READY or header.epoch != app.log.epoch:
        raise Unavailable(f"lane {lane} is not ready")
    return header


def _lane(app: "App", letter: EventRow) -> int:
    return lane_of(ids.id_bytes(letter.customer), app.log.lanes)


async def _reasons(app: "App", letters: Sequence[EventRow]) -> list[str | None]:
    """Say of each row why it is not to be replayed; None where it is."""
    by_lane: dict[int, list[bytes]] = defaultdict(list)
    for letter in letters:
        by_lane[_lane(app, letter)].append(letter_digest(letter))
    found: dict[bytes, bytes | None] = {}
    clocks: dict[int, int] = {}
    for lane, digests in by_lane.items():
        clocks[lane] = max((await _header(app, lane)).clock_ms, app.clock.now_ms())
        look = await app.live.look({lane: digests}, list(generations_read(clocks[lane])))
        if not look.ready.get(lane, False):
            raise Unavailable(f"lane {lane} is not ready")
        found.update(zip(digests, look.entries[lane], strict=True))
    return [why_not(letter, found[letter_digest(letter)], clock_ms=clocks[_lane(app, letter)]) for letter in letters]


class _Run:
    """One command's replays: what was sent, and what became of it."""

    def __init__(self, app: "App") -> None:
        self._app = app
        self._verdicts: Counter[str] = Counter()
        self._passed_over = 0
        self._letters: list[dict[str, Any]] = []

    async def send(self, page: Sequence[EventRow]) -> None:
        """Append those of a page that wait, and wait for their verdicts."""
        by_lane: dict[int, list[EventRow]] = defaultdict(list)
        for letter, reason in zip(page, await _reasons(self._app, page), strict=True):
            if reason is None:
                by_lane[_lane(self._app, letter)].append(letter)
            else:
                self._passed_over += 1
        sent: list[tuple[int, int, list[EventRow]]] = []
        for lane, letters in by_lane.items():
            events = [
                replay_of(letter, at_ms=self._app.clock.now_ms(), clock_ms=self._clock_ms(letter)) for letter in letters
            ]
            for start, end, data in chunks(self._app.process_id, events):
                sent.append((lane, await self._app.log.append(lane, data), letters[start:end]))
        for lane, offset, letters in sent:
            outcomes = await self._outcomes(lane, offset)
            for index, letter in enumerate(letters):
                outcome = None if outcomes is None else outcomes[index]
                self._note(letter, Position(self._app.log.epoch, lane, offset, index), outcome)

    def _clock_ms(self, letter: EventRow) -> int | None:
        return self._app.catalog.organization(ids.id_bytes(letter.organization)).clock_ms

    async def _outcomes(self, lane: int, offset: int) -> list[Outcome] | None:
        """Wait for a record's outcomes; None when they do not come: it is durable, and will be judged."""
        started_ms = self._app.clock.monotonic_ms()
        while (kept := (await self._app.live.outcomes(lane, [offset], epoch=self._app.log.epoch))[0]) is None:
            if self._app.clock.monotonic_ms() - started_ms > REPLAY_WAIT_MS:
                return None
            await asyncio.sleep(_LOOK_S)
        return decode_outcomes(kept)

    def _note(self, letter: EventRow, place: Position, outcome: Outcome | None) -> None:
        verdict = PENDING if outcome is None else outcome.verdict.value
        self._verdicts[verdict] += 1
        if len(self._letters) < REPLAY_NAMED_MAX:
            one = {"id": position_of(letter).event_id(), "customer": letter.customer, "replay": place.event_id()}
            self._letters.append({**one, "verdict": verdict, "code": outcome.code if outcome is not None else ""})

    def report(self) -> dict[str, Any]:
        """Tell what was done."""
        return {
            "sent": self._verdicts.total(),
            "counted": self._verdicts[Verdict.COUNTED.value],
            "verdicts": dict(sorted(self._verdicts.items())),
            "passedOver": self._passed_over,
            "letters": self._letters,
        }
