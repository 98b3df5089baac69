"""An identical request is told the first answer again, with what its event drew and cost then. Pure.

The fold knows of a repeat only whose it is; what the original drew stands in its row. Source: decision 12; R-TRACK-13.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from ingest.answer import Judged, Settled
from ingest.event import TokenUse
from ingest.verdict import Drawn, Verdict
from kernel.position import Position

_REPEAT: Final = Verdict.REPEAT  # by name: looking a member up costs more than comparing it


class First(NamedTuple):
    """What an event's first answer said: its tokens as they were priced (None: as the request is now), its draw."""

    tokens: TokenUse | None
    drawn: Drawn | None


# Finds them by the events' positions, of one organization (16 bytes); those that nobody knows are not there.
Firsts = Callable[[bytes, Sequence[Position]], Awaitable[Mapping[Position, First]]]


def repeated(settled: Sequence[Settled | None]) -> dict[int, Position]:
    """Tell which events are repeats, by index, and where their originals stand."""
    found: dict[int, Position] = {}
    for index, outcome in [
        (index, each.outcome)
        for index, each in enumerate(settled)
        if type(each) is Judged and each.outcome.verdict is _REPEAT
    ]:
        original = outcome.original_position()
        assert original is not None, "a repeat names its original"
        found[index] = original
    return found


def as_first(repeat: Settled | None, first: First) -> Judged:
    """Give a repeat what the first answer said."""
    assert type(repeat) is Judged, "only what was judged repeats"
    event = repeat.event if first.tokens is None else msgspec.structs.replace(repeat.event, tokens=first.tokens)
    return msgspec.structs.replace(
        repeat, event=event, outcome=msgspec.structs.replace(repeat.outcome, drawn=first.drawn)
    )
