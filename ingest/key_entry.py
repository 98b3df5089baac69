"""What LIVE remembers of a key: 34 bytes, and what an attempt finds in them. Pure; the fold and the filter read it.

Owns the layout kind 1, epoch 1, lane 2, offset 6, index 2, at 6, content 8, request 8 (big-endian). Invariants: an
entry names one attempt by its position; equal entries have equal bytes. Source: DESIGN 3.3, 3.5.4.
"""

from enum import StrEnum
from struct import Struct
from typing import Final

import msgspec

from ingest.event import NO_REQUEST
from ingest.verdict import Outcome, Verdict
from kernel.position import Position

ENTRY_BYTES: Final = 34
# kind, epoch, lane, offset, index, at, content, request
_LAYOUT: Final = Struct(">cBH6sH6s8s8s")
# The same in two parts; `at` is its upper two and its lower four bytes.
_HEAD: Final = Struct(">cBH6s")
_BEHIND: Final = Struct(">10sHHI8s8s")
_POSITION_END: Final = 12
_AT_END: Final = 18
_CONTENT_END: Final = 26


class EntryKind(StrEnum):
    """What became of the attempt that wrote the entry."""

    COUNTED = "n"
    REFUSED = "r"
    DEAD = "d"


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The attempt that holds a key (counted, dead), or the latest one that was refused.

    `at_ms` is its effective `at`: the lower of the gateway's and the log's time, unix milliseconds. `content` and
    `request` are its digests of eight bytes.
    """

    kind: EntryKind
    position: Position
    at_ms: int
    content: bytes
    request: bytes

    def verdict_on(self, content: bytes, request: bytes) -> Verdict:
        """Tell what another attempt of a counted key is: repeat, duplicate or conflict.

        A repeat has the same non-zero `request`. Source: R-TRACK-13; DESIGN 3.5.4.
        """
        assert self.kind is EntryKind.COUNTED, "only a counted key answers for another attempt"
        if request != NO_REQUEST and request == self.request:
            return Verdict.REPEAT
        return Verdict.DUPLICATE if content == self.content else Verdict.CONFLICT


_KINDS: Final = {kind.value.encode()[0]: kind for kind in EntryKind}


def encode_entry(entry: KeyEntry) -> bytes:
    """Spell an entry."""
    epoch, lane, offset, index = entry.position
    return _LAYOUT.pack(
        entry.kind.encode(),
        epoch,
        lane,
        offset.to_bytes(6, "big"),
        index,
        entry.at_ms.to_bytes(6, "big"),
        entry.content,
        entry.request,
    )


def entry_head(kind: EntryKind, epoch: int, lane: int, offset: int) -> bytes:
    """Spell what all entries of one kind that one record leaves begin with."""
    return _HEAD.pack(kind.encode(), epoch, lane, offset.to_bytes(6, "big"))


def entry_behind(head: bytes, index: int, at_ms: int, content: bytes, request: bytes) -> bytes:
    """Spell an entry as `encode_entry` does, of a head that was spelled before."""
    return _BEHIND.pack(head, index, at_ms >> 32, at_ms & 0xFFFF_FFFF, content, request)


def decode_entry(data: bytes) -> KeyEntry:
    """Read what `encode_entry` wrote."""
    assert len(data) == ENTRY_BYTES, "a key entry has 34 bytes"
    return KeyEntry(
        kind=_KINDS[data[0]],
        position=Position.from_bytes(data[1:_POSITION_END]),
        at_ms=int.from_bytes(data[_POSITION_END:_AT_END], "big"),
        content=data[_AT_END:_CONTENT_END],
        request=data[_CONTENT_END:],
    )


def filtered(data: bytes | None, content: bytes, request: bytes) -> Outcome | None:
    """Tell the outcome of an attempt whose key is known to be counted; None: the fold has to judge it.

    Only a counted key is answered without an append; a refused or dead one goes to the log. Source: DESIGN 3.4.2.
    """
    if data is None or _KINDS[data[0]] is not EntryKind.COUNTED:
        return None
    entry = decode_entry(data)
    return Outcome(
        verdict=entry.verdict_on(content, request), original=entry.position.to_bytes(), original_at_ms=entry.at_ms
    )
