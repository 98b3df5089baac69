"""The log on Valkey or Redis streams, one a lane, read as a log and never as a queue: from an offset that we keep.

Owns the key `log:{epoch:lane}` and beside it the lane's count of bytes ever appended, and its seal once it has one,
at which the script of an append looks first. The stream's id `0-N` is the
record at offset N - 1, so offsets are dense. Readers see durable records only: with `appendfsync always` the
server sends no reply, to readers either, before its fsync. Sizes are those of the records alone, without the server's
own overhead.
Source: DESIGN 3.2.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Self

from redis.exceptions import ResponseError

from kernel.engine.log.base import Bounds, Record, Volume
from kernel.engine.valkey_client import ANSWER_WAIT_MS, Connections, Script, checked
from kernel.errors import LogMissing, LogSealed, Misconfigured, OffsetGone, Unavailable, Unknown
from kernel.limits import APPEND_WAIT_MS

_APPEND, _CREATE, _BOUNDS, _TRIM = (
    Script("kernel.engine.log", name) for name in ("append.lua", "create.lua", "bounds.lua", "trim.lua")
)
# Appends that share one fsync: as many as may be under way. More gain nothing (an fsync takes 1 ms, sixteen records of
# 100 events are 300 kB), fewer leave the disk waiting for round trips.
_APPENDERS: Final = 16
# One connection a reader that waits; a lane has few (fold, sink, audit), and lanes are at most some dozens here.
_READERS: Final = 256
_SEALED: Final = b"sealed"
_NEEDED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}


class ValkeyLog:
    """A log of `lanes` streams for one epoch."""

    def __init__(
        self, url: str, *, epoch: int, lanes: int, after_close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.epoch = epoch
        self.lanes = lanes
        self._appenders = Connections(url, most=_APPENDERS)
        self._readers = Connections(url, (_CREATE, _BOUNDS, _TRIM), most=_READERS)
        self._after_close = after_close

    @classmethod
    async def open(
        cls, url: str, *, epoch: int, lanes: int, after_close: Callable[[], Awaitable[None]] | None = None
    ) -> Self:
        """Open the log at `url` once the server is seen to be durable. Raises Misconfigured, Unavailable."""
        log = cls(url, epoch=epoch, lanes=lanes, after_close=after_close)
        try:
            await log._check()
        except BaseException:
            await log._disconnect()
            raise
        return log

    async def create(self) -> None:
        """Make the lanes. Source: the port."""
        for lane in range(self.lanes):
            await self._readers.one(_CREATE.call([self._key(lane)]))

    async def append(self, lane: int, data: bytes) -> int:
        """Append one record. Source: the port.

        An error reply, out of memory for one, is `Unknown` too: callers do the same, and the port promises no more.
        The script's text goes with every append, so that there is nothing that might have to be sent again.
        """
        key = self._key(lane)
        command = ("EVAL", _APPEND.body, 3, key, _bytes_key(key), _seal_key(key), data)
        try:
            (reply,) = await self._appenders.ask(command, wait_ms=APPEND_WAIT_MS)
        except Unavailable as error:
            raise Unknown(f"an append to lane {lane} has no answer: {error}") from error
        if reply is None:
            raise self._missing(lane)
        if isinstance(reply, ResponseError):
            raise Unknown(f"an append to lane {lane} failed: {reply}")
        if reply == _SEALED:
            raise LogSealed(f"epoch {self.epoch} has ended")
        return _offset(reply)

    async def seal(self) -> None:
        """End the epoch, lane after lane. Source: the port. The answer comes after the fsync, as an append's does."""
        for lane in range(self.lanes):
            await self.bounds(lane)
            await self._readers.one(("SET", _seal_key(self._key(lane)), "1"))

    async def sealed(self) -> bool:
        """Tell whether a lane is sealed. Source: the port."""
        await self.bounds(0)
        found = [await self._readers.one(("EXISTS", _seal_key(self._key(lane)))) for lane in range(self.lanes)]
        return any(found)

    async def read(self, lane: int, start: int, *, records_max: int, wait_ms: int) -> list[Record]:
        """Read records from `start` on. Source: the port. What is wrong with `start` may show only after `wait_ms`."""
        block = ("BLOCK", wait_ms) if wait_ms > 0 else ()
        command = ("XREAD", "COUNT", records_max, *block, "STREAMS", self._key(lane), f"0-{start}")
        reply = await self._readers.one(command, wait_ms=wait_ms + ANSWER_WAIT_MS)
        records = [_record(entry) for entry in reply[0][1]] if reply else []
        if records and records[0].offset == start:
            return records
        bounds = await self.bounds(lane)
        if records or not bounds.begin <= start <= bounds.end:
            raise OffsetGone(f"lane {lane} holds {bounds.begin} to {bounds.end}, not {start}")
        return []

    async def bounds(self, lane: int) -> Bounds:
        """Tell what the lane holds. Source: the port."""
        reply = await self._readers.one(_BOUNDS.call([self._key(lane)]))
        if reply is None:
            raise self._missing(lane)
        length, last = reply
        end = _offset(last) + 1
        return Bounds(begin=end - length, end=end)

    async def volume(self) -> Volume:
        """Tell the server's memory. Source: the port."""
        text = (await self._readers.one(("INFO", "memory"))).decode()
        found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        return Volume(bytes=int(found["used_memory"]), bytes_max=int(found["maxmemory"]) or None)

    async def trim(self, lane: int, before: int, *, keep_ms: int, keep_bytes: int) -> int:
        """Remove old records. Source: the port. Appends meanwhile change nothing below `before`."""
        bounds = await self.bounds(lane)
        key = self._key(lane)
        command = _TRIM.call([key, _bytes_key(key)], bounds.begin, bounds.end, before, keep_ms, keep_bytes)
        return int(await self._readers.one(command))

    async def close(self) -> None:
        """Release connections, and the server where it is ours. Source: the port."""
        await self._disconnect()
        if self._after_close is not None:
            await self._after_close()

    async def _disconnect(self) -> None:
        await self._appenders.close()
        await self._readers.close()

    async def _check(self) -> None:
        (reply,) = await self._readers.ask(("CONFIG", "GET", *_NEEDED))
        if isinstance(reply, ResponseError):
            raise Misconfigured(f"the log's server does not tell its settings: allow CONFIG GET ({reply})")
        found = {reply[i].decode(): reply[i + 1].decode() for i in range(0, len(checked(reply)), 2)}
        for name, needed in _NEEDED.items():
            if found.get(name) != needed:
                raise Misconfigured(f"the log's server has {name} {found.get(name)}: set it to {needed}")

    def _key(self, lane: int) -> str:
        return f"log:{{{self.epoch}:{lane}}}"

    def _missing(self, lane: int) -> LogMissing:
        return LogMissing(f"lane {lane} of epoch {self.epoch} was never made")


def _bytes_key(key: str) -> str:
    return f"{key}:bytes"


def _seal_key(key: str) -> str:
    return f"{key}:sealed"


def _offset(stream_id: bytes) -> int:
    return int(stream_id[2:]) - 1


def _record(entry: Any) -> Record:
    stream_id, fields = entry
    return Record(offset=_offset(stream_id), time_ms=int(fields[1]), data=fields[5])
