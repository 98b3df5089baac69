"""The log port: what an ordered, durable log promises, whatever carries it.

One log holds a fixed number of lanes; a lane is an ordered sequence of records with dense offsets from 0. Offsets
always name the *next* record to read. Each sentence of a docstring here is a test in `tests/contract/test_log.py`.
"""

from typing import Protocol, runtime_checkable

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One record as read: `time_ms` is the log's own time at the append, never the sender's."""

    offset: int
    time_ms: int
    data: bytes


class Bounds(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a lane holds: offsets from `begin` (the oldest kept) up to, but without, `end` (the next to be written)."""

    begin: int
    end: int


class Volume(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How full the log is: bytes taken by all its lanes, overhead included, and the most that fit (None: no bound)."""

    bytes: int
    bytes_max: int | None


@runtime_checkable
class Log(Protocol):
    """An ordered, durable log of records in lanes, for one epoch."""

    epoch: int
    lanes: int

    async def create(self) -> None:
        """Make the lanes of this epoch. Lanes that exist stay as they are, with their records."""

    async def append(self, lane: int, data: bytes) -> int:
        """Append one record and return its offset, once it is durable.

        Appends to one lane from one caller keep their order when each is awaited. Raises `LogMissing` when the lane
        was never made, and `Unknown` in every other case that is not a success, after at most
        `limits.APPEND_WAIT_MS`: the record may then be there, appear at any later time, or never. The adapter never
        sends one record twice by itself. A sealed lane takes no record: `LogSealed`, which is an `Unknown`.
        """
        ...

    async def seal(self) -> None:
        """End the epoch: once this has returned no append of any process succeeds, and no lane's end changes, ever.

        What is there stays readable, and may be trimmed. Sealing again changes nothing. Raises `LogMissing` without
        the lanes, and `Unavailable`: then some lanes may be sealed.
        """
        ...

    async def sealed(self) -> bool:
        """Tell whether `seal` was begun on this epoch. Raises `LogMissing`, `Unavailable`."""
        ...

    async def read(self, lane: int, start: int, *, records_max: int, wait_ms: int) -> list[Record]:
        """Read records from offset `start` on, in order, at most `records_max`, only durable ones.

        Waits up to `wait_ms` for the first one (0: not at all), then returns an empty list. Fewer than `records_max`
        come back only when they reach the end that the lane had when the call began. Raises `OffsetGone`
        when `start` lies before the oldest kept record or beyond the end, `LogMissing` without the lane,
        `Unavailable` when the log is away.
        """
        ...

    async def bounds(self, lane: int) -> Bounds:
        """Tell what the lane holds; `end` counts only durable records. Errors as `read`, without `OffsetGone`."""
        ...

    async def volume(self) -> Volume:
        """Tell how full the log is; appends make it grow, trimming makes it shrink, within seconds.

        Raises `Unavailable`.
        """
        ...

    async def trim(self, lane: int, before: int, *, keep_ms: int, keep_bytes: int) -> int:
        """Remove records below offset `before` that are older than `keep_ms` or beyond `keep_bytes` in the lane.

        A record at or above `before` is never removed; the end never changes. Returns the new begin.
        """
        ...

    async def close(self) -> None:
        """Release connections. Appends under way end as `Unknown`."""
