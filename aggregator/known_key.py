"""What an attempt is whose key is known: the rules of keys, which all rules of folding share. Pure.

Owns which entry a verdict leaves under an event's key, and what another attempt finds in it.
Source: DESIGN 3.5.4; R-TRACK-11 to 15.
"""

from typing import Final

from ingest.event import UsageEvent
from ingest.key_entry import EntryKind, KeyEntry
from ingest.verdict import Outcome, Verdict
from kernel.limits import KEY_MEMORY_MS

UNPROCESSABLE: Final = "event_unprocessable"

# Which entry a verdict leaves under the event's key; the others leave the one that is there.
ENTRY_OF: Final = {
    Verdict.COUNTED: EntryKind.COUNTED,
    Verdict.BLOCKED: EntryKind.REFUSED,
    Verdict.REFUSED: EntryKind.REFUSED,
    Verdict.DEAD: EntryKind.DEAD,
}

SUPERSEDED: Final = Outcome(verdict=Verdict.SUPERSEDED)
DEAD: Final = Outcome(verdict=Verdict.DEAD, code=UNPROCESSABLE)


def known_outcome(entry: KeyEntry | None, event: UsageEvent, *, lane_clock_ms: int, at_ms: int) -> Outcome | None:
    """Tell what an attempt is by what is known of its key; None: it is judged afresh.

    `at_ms` is when it took effect, `lane_clock_ms` the lane's clock with this event taken in. A replay that finds
    nothing in its dead letter's place is superseded: it is forgotten.
    """
    if entry is not None and entry.at_ms >= lane_clock_ms - KEY_MEMORY_MS:
        return _on_known_key(entry, event, at_ms)
    return SUPERSEDED if event.replays else None


def _on_known_key(entry: KeyEntry, event: UsageEvent, at_ms: int) -> Outcome | None:
    """Tell what an attempt of a known key is; None: it is judged afresh (R-TRACK-12, R-TRACK-13).

    A replay is judged afresh on the dead letter that it names, and on nothing else.
    """
    if entry.kind is EntryKind.REFUSED:
        return SUPERSEDED if event.replays or at_ms < entry.at_ms else None
    if entry.kind is EntryKind.DEAD:
        return None if event.replays and event.replayed() == entry.position else still_dead(entry)
    return Outcome(
        verdict=entry.verdict_on(event.content, event.request),
        original=entry.position.to_bytes(),
        original_at_ms=entry.at_ms,
    )


def still_dead(entry: KeyEntry) -> Outcome:
    """Tell what a further attempt on a dead letter is: the same, and no new dead letter."""
    return Outcome(
        verdict=Verdict.DEAD, code=UNPROCESSABLE, original=entry.position.to_bytes(), original_at_ms=entry.at_ms
    )
