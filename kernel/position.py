"""Where an event stands in the log, and with that its public identity.

Owns the order (epoch, lane, offset, index) and its two spellings: eleven bytes, and `evt_` with their base32
(base32hex, RFC 4648), which is the event's id on the wire. Both sort as the position does. Invariant: a position
never changes and is never reused.
Source: DESIGN 3.1.
"""

from typing import Final, NamedTuple, Self

from kernel import base32

EVENT_PREFIX = "evt_"
_BYTES: Final = 11


class Position(NamedTuple):
    """One event's place: `index` counts the events within the record at `offset`."""

    epoch: int
    lane: int
    offset: int
    index: int  # type: ignore[assignment]  # the place hides tuple.index(), which nobody asks of a position

    def to_bytes(self) -> bytes:
        """Spell it as 1 + 2 + 6 + 2 big-endian bytes."""
        return (
            self.epoch.to_bytes(1, "big")
            + self.lane.to_bytes(2, "big")
            + self.offset.to_bytes(6, "big")
            + self.index.to_bytes(2, "big")
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote."""
        return cls(
            data[0],
            int.from_bytes(data[1:3], "big"),
            int.from_bytes(data[3:9], "big"),
            int.from_bytes(data[9:11], "big"),
        )

    def event_id(self) -> str:
        """Spell it as the wire does: `evt_` and 18 lower-case base32 characters."""
        return EVENT_PREFIX + base32.encode(self.to_bytes())

    @classmethod
    def from_event_id(cls, text: str) -> Self | None:
        """Read an event's id; None when it is not one."""
        if not text.startswith(EVENT_PREFIX):
            return None
        try:
            return cls.from_bytes(base32.decode(text[len(EVENT_PREFIX) :], _BYTES))
        except ValueError:
            return None

    def record(self) -> str:
        """Name the record as the wire's `position` does: `epoch.lane.offset`."""
        return f"{self.epoch}.{self.lane}.{self.offset}"
