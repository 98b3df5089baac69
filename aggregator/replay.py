"""The replay of a dead letter: its stored facts as a new attempt of the same event. Pure.

Owns which facts are the letter's and which the attempt's. Invariant: everything that says what was used, by whom, when
and under which key is the letter's own; only when it is taken is the replay's: an attempt is accepted when it is sent,
and its key is remembered from then on. Source: DESIGN 3.2, 3.5.4.
"""

from typing import Final

from aggregator.fold_slice import dead_digest
from aggregator.row import EventRow, corrected_of, tokens_of
from aggregator.usage import position_of
from ingest.event import UsageEvent
from ingest.key_entry import EntryKind, decode_entry
from ingest.verdict import Verdict
from kernel import ids
from kernel.limits import KEY_MEMORY_MS

FORGOTTEN: Final = "it is older than 35 days, and its key is no longer held: its sender may send it again"


def replay_of(letter: EventRow, *, at_ms: int, clock_ms: int | None) -> UsageEvent:
    """Make the event that replays a dead letter, sent at `at_ms`; `clock_ms` is its organization's test clock."""
    return UsageEvent(
        organization=ids.id_bytes(letter.organization),
        customer=ids.id_bytes(letter.customer),
        feature=ids.id_bytes(letter.feature),
        event_time_us=letter.event_time,
        at_ms=at_ms,
        clock_ms=clock_ms,
        quantity=letter.quantity,
        key=letter.key,
        digest=letter_digest(letter),
        content=bytes.fromhex(letter.content),
        request=bytes.fromhex(letter.request),
        has_timestamp=letter.has_timestamp,
        properties=letter.properties,
        replays=position_of(letter).to_bytes(),
        tokens=tokens_of(letter),
        corrects=corrected_of(letter),
    )


def letter_digest(letter: EventRow) -> bytes:
    """Tell under what digest LIVE holds a dead letter."""
    return bytes.fromhex(letter.digest) or dead_digest(position_of(letter))


def why_not(letter: EventRow, entry: bytes | None, *, clock_ms: int) -> str | None:
    """Say why a row is not to be replayed; None: it is a dead letter that waits.

    `entry` is what LIVE holds under its digest, `clock_ms` the lane's clock as the replay would find it.
    """
    if letter.verdict != Verdict.DEAD:
        return f"it is {letter.verdict}, and only a dead letter is replayed"
    if letter.original:
        return f"it is another attempt on the dead letter {letter.original}: replay that one"
    found = None if entry is None else decode_entry(entry)
    if found is None or found.at_ms < clock_ms - KEY_MEMORY_MS:
        return FORGOTTEN
    if found.kind is EntryKind.DEAD and found.position == position_of(letter):
        return None
    holder = found.position.event_id()
    return f"it was replayed: {holder} counts" if found.kind is EntryKind.COUNTED else f"{holder} holds its place"
