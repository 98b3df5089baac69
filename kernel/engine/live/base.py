"""The live port: accounts, keys and outcomes of a lane, moved and compared as bytes.

The store never adds an amount and never judges; it compares what a writer computed from with what is there, and writes
all or nothing. Each sentence of a docstring here is a test in `tests/contract/test_live.py`. Source: DESIGN 3.3, 3.5.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import msgspec

READY = "ready"
REBUILDING = "rebuilding"


class LaneHeader(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The lane's counters. `next` and `sunk` are offsets to fold and to sink next; times are unix milliseconds.

    `token` is random and new with every rebuild; `rules` is the number of the fold's rules; `clock_ms` the greatest
    `at` folded in the lane; `seen_ms` LIVE's time when the log's end that is folded now was read.
    """

    epoch: int
    token: bytes
    rules: int
    next: int
    sunk: int
    clock_ms: int
    seen_ms: int
    state: str


class AccountState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One customer's two values, still encoded; None where the store has none."""

    snapshot: bytes | None
    account: bytes | None


class LaneView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one atomic look at a lane saw; `header` is None when the lane is absent. `now_ms` is LIVE's own time.

    `catalog` is its version as the lane knows it (see `Live.catalog`).
    """

    now_ms: int
    catalog: int | None
    header: LaneHeader | None
    accounts: list[AccountState]


class Look(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the filter saw: catalog version, LIVE's time, and per lane whether it is ready and its entries.

    `entries` are aligned with the digests asked. `catalog` is the greatest that a lane asked knows, `now_ms` the time
    of the first; without digests lane 0 is asked. `maybe` has the places of digests that a key filter may hold.
    """

    now_ms: int
    catalog: int | None
    ready: Mapping[int, bool]
    entries: Mapping[int, list[bytes | None]]
    maybe: Mapping[int, frozenset[int]] = {}


class KeyWrite(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One key entry to write, into the generation of the lane's clock at its event."""

    generation: int
    digest: bytes
    entry: bytes


class FoldWrite(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one fold of a slice changes, computed from `expected`.

    `fresh` are the digests that were taken for new: the write is refused if `generations` hold one of them.
    `snapshots` and `accounts` are by customer (16 bytes), `outcomes` by offset, `publish` is by offset the gateway that
    waits for its outcomes. `next`, `clock_ms` and `seen_ms` are the new values.
    """

    expected: LaneHeader
    next: int
    clock_ms: int
    seen_ms: int
    generations: Sequence[int]
    fresh: Sequence[bytes]
    drop_generations: Sequence[int]
    keys: Sequence[KeyWrite]
    snapshots: Mapping[bytes, bytes]
    accounts: Mapping[bytes, bytes]
    outcomes: Mapping[int, bytes]
    publish: Mapping[int, str] = {}


class Written(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The write happened."""

    now_ms: int


class Moved(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nothing was written: the header is not what the state was computed from; `header` is what is there."""

    header: LaneHeader | None


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing was written: these digests were taken for new and are not, or may not be.

    `entries` are their ruling (newest) entries; `maybe` those that a key filter may hold which is newer than their
    entry, or that have none: RAW knows.
    """

    entries: Mapping[bytes, bytes]
    maybe: frozenset[bytes] = frozenset()


class Condensed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A part of a generation was gone through: entries `moved` into the filter, and the `cursor` to go on with."""

    moved: int
    cursor: bytes


@runtime_checkable
class Live(Protocol):
    """Accounts, key entries and outcomes by lane. One method call is one atomic step per lane."""

    async def view(self, lane: int, customers: Sequence[bytes]) -> LaneView:
        """Read header, catalog version and the customers' snapshots and accounts in one atomic look."""
        ...

    async def look(self, digests: Mapping[int, Sequence[bytes]], generations: Sequence[int]) -> Look:
        """Find key entries by lane and digest in `generations`; of several the newest generation's rules.

        What a key filter may hold, and no newer entry rules, is `maybe`. Changes nothing. A lane that is absent or not
        ready is not `ready`, and finds nothing.
        """
        ...

    async def write(self, lane: int, change: FoldWrite) -> Written | Moved | Known:
        """Write a fold's result, all or nothing.

        `Moved` unless the lane is ready and `epoch`, `token`, `rules` and `next` equal `change.expected`; then
        `Known` if one of `fresh` has an entry in `generations` or may be in one of their filters; else everything is
        written and `drop_generations` are deleted, filters too. A change that carries nothing (all but `seen_ms` empty
        or as expected) compares all the same.
        In the same step, and only if it happened, each gateway of `publish` that listens is told the outcomes of its
        offset; an offset without outcomes is not told.
        """
        ...

    async def listen(
        self,
        gateway: str,
        lanes: Sequence[int],
        told: Callable[[int, int, int, bytes], None],
        listening: Callable[[], None],
    ) -> None:
        """Be told `told(lane, epoch, offset, outcomes)` what writes publish for `gateway`, until cancelled.

        `listening` is called once everything is subscribed. Raises Unavailable when a connection is lost or cannot be
        made, at the latest some seconds after; what was published meanwhile is not told again.
        """
        ...

    async def beat(self, member: str, *, lasts_ms: int) -> list[str]:
        """Enter `member` for `lasts_ms` of LIVE's own time, and list who is there, in order of their names.

        Whose time is over is forgotten. `lasts_ms=0` takes the member out.
        """
        ...

    async def outcomes(self, lane: int, offsets: Sequence[int], *, epoch: int) -> list[bytes | None]:
        """Read outcomes by offset; None for one that was never written or is dropped, all of them in another epoch."""
        ...

    async def oldest_outcome(self, lane: int) -> int | None:
        """Tell the lowest offset whose outcome is kept."""
        ...

    async def sank(self, lane: int, *, token: bytes, begun: int, sunk: int, drop: Sequence[int]) -> bool:
        """Raise `sunk` and drop the outcomes of `drop`.

        False, and nothing happens, unless the lane is ready, has `token` and its `sunk` equals `begun`.
        """
        ...

    async def condense(
        self, lane: int, *, token: bytes, generation: int, keep: bytes, mark: int, cursor: bytes, rebuilding: bool
    ) -> Condensed | None:
        """Move a part of a generation's entries into its key filter, all but those that begin with `keep`.

        A filter knows a digest that it was given for ever, and takes another one for it by chance (one that shares
        its first eight bytes always, else about one of 60 million). At every moment a digest is an entry, or held, or
        both. `cursor` is empty at first, then what the last call gave; an empty one given back ends a pass. A cursor
        that the store does not know any more passes some entries over. None, and nothing happens, unless the lane is
        ready with `token` and its `sunk` has reached `mark`; with `rebuilding`, unless it is rebuilding with `token`
        at step `mark`, which rises by one.
        """
        ...

    async def begin_rebuild(self, lane: int, *, token: bytes, expected_token: bytes | None) -> bool:
        """Empty the lane and set `rebuilding` with the new `token`, in one step.

        False, and nothing happens, unless the lane's token is `expected_token` (None: the lane is absent).
        """
        ...

    async def fill(
        self,
        lane: int,
        *,
        token: bytes,
        step: int,
        keys: Sequence[KeyWrite],
        snapshots: Mapping[bytes, bytes],
        accounts: Mapping[bytes, bytes],
    ) -> bool:
        """Write a part of a rebuild and raise its counter from `step` to `step + 1`.

        False, and nothing happens, unless the lane is rebuilding with `token` at `step` (the first is 0).
        """
        ...

    async def finish_rebuild(self, lane: int, *, step: int, header: LaneHeader) -> bool:
        """Write the header last, which makes the lane ready.

        False, and nothing happens, unless it is rebuilding with the header's token at `step`.
        """
        ...

    async def rebuild_step(self, lane: int) -> tuple[bytes, int] | None:
        """Tell token and counter of a rebuild under way; None if there is none."""
        ...

    async def catalog(self) -> int | None:
        """Read the catalog's version; None when LIVE does not know it, here and in every look.

        It knows a version that was raised, or raised to again, since the server (of the lane) was started or took
        another's place: one that lost its last writes would tell an older version. And only until CATALOG_SEEN_MS_MAX
        after that raise. One lane that knows is enough, since a raise reaches all before it is answered.
        """
        ...

    async def raise_catalog(self, version: int) -> bool:
        """Raise the catalog's version, just read from SQL, to at least `version` in every lane; it never falls.

        False: a server was started since this process last raised, so `version` may have been read before it lost
        something; LIVE takes it, but does not know it until the next raise. Unavailable: some lanes may have it.
        """
        ...

    async def dump(self, lane: int) -> dict[str, dict[bytes, bytes]]:
        """Read everything of a lane but outcomes: `{"header": …, "accounts": …, "snapshots": …, "keys:G": …}`.

        Of a key filter it is how many keys it was given: `"filter:G": {b"keys": b"3"}`. For audit and tests of rebuild;
        not atomic, never used on a path.
        """
        ...

    async def now_ms(self) -> int:
        """Tell LIVE's own time: that of lane 0, where lanes have servers of their own (view and write tell the lane's).

        Every method raises `Unavailable` when the store is away.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
