"""LIVE in memory: the port's law without a server, for tests and simulations. Nothing survives the process.

Every method is one synchronous step, which makes it atomic among tasks. `away` plays a server that is gone, `wipe` one
that lost everything.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec

from kernel.clock import Clock
from kernel.engine.live.base import (
    READY,
    REBUILDING,
    AccountState,
    Condensed,
    FoldWrite,
    KeyWrite,
    Known,
    LaneHeader,
    LaneView,
    Look,
    Moved,
    Written,
)
from kernel.engine.live.header import header_fields, rebuilding_header
from kernel.errors import Unavailable
from kernel.limits import CATALOG_SEEN_MS_MAX, CONDENSE_ENTRIES

_PRINT_BYTES = 8  # what a filter keeps of a digest; a server's keeps half of it and where it stands


class _Lane(msgspec.Struct):
    header: LaneHeader
    step: int = 0
    snapshots: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    accounts: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    keys: dict[int, dict[bytes, bytes]] = msgspec.field(default_factory=dict)
    filters: dict[int, set[bytes]] = msgspec.field(default_factory=dict)
    outcomes: dict[int, bytes] = msgspec.field(default_factory=dict)

    def maybe(self, digest: bytes, newest_first: Sequence[int]) -> bool:
        """Tell whether a filter may hold the digest which is newer than its entry."""
        for generation in newest_first:
            if digest in self.keys.get(generation, {}):
                return False
            if digest[:_PRINT_BYTES] in self.filters.get(generation, ()):
                return True
        return False

    def entry(self, digest: bytes, newest_first: Sequence[int]) -> bytes | None:
        for generation in newest_first:
            found = self.keys.get(generation, {}).get(digest)
            if found is not None:
                return found
        return None

    def fill(self, keys: Sequence[KeyWrite], snapshots: Mapping[bytes, bytes], accounts: Mapping[bytes, bytes]) -> None:
        for key in keys:
            self.keys.setdefault(key.generation, {})[key.digest] = bytes(key.entry)
        self.snapshots |= snapshots
        self.accounts |= accounts


class _Listener(msgspec.Struct, eq=False):
    told: Callable[[int, int, int, bytes], None]
    lost: asyncio.Future[None]


class MemoryLive:
    """LIVE in dictionaries. `away`: every call fails at once, and who listens loses its connection."""

    def __init__(self, clock: Clock) -> None:
        self._away = False
        self._clock = clock
        self._members: dict[str, int] = {}
        self._listeners: dict[tuple[str, int], list[_Listener]] = {}
        self._catalog: int | None = None
        self._catalog_seen_ms: int | None = None  # None: not since the start
        self._raised_since_start = True
        self._lanes: dict[int, _Lane] = {}

    @property
    def away(self) -> bool:
        """Tell whether the store plays one that is gone."""
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        self._away = away
        if away:
            self._lose_listeners()

    def wipe(self) -> None:
        """Lose everything, as a server that comes back empty."""
        self._members.clear()
        self._catalog = None
        self._lanes.clear()
        self.restart()

    def restart(self) -> None:
        """Come back as a server that was started again: it may have lost its last writes (which the caller does)."""
        self._lose_listeners()
        self._catalog_seen_ms = None
        self._raised_since_start = False

    async def view(self, lane: int, customers: Sequence[bytes]) -> LaneView:
        """Read header, catalog and accounts. Source: the port."""
        self._reach()
        held = self._lanes.get(lane)
        return LaneView(
            now_ms=self._clock.now_ms(),
            catalog=self._believed(),
            header=held.header if held else None,
            accounts=[
                AccountState(
                    snapshot=held.snapshots.get(customer) if held else None,
                    account=held.accounts.get(customer) if held else None,
                )
                for customer in customers
            ],
        )

    async def look(self, digests: Mapping[int, Sequence[bytes]], generations: Sequence[int]) -> Look:
        """Find key entries. Source: the port."""
        self._reach()
        newest_first = sorted(generations, reverse=True)
        ready: dict[int, bool] = {}
        entries: dict[int, list[bytes | None]] = {}
        maybe: dict[int, frozenset[int]] = {}
        for lane, asked in digests.items():
            held = self._ready(lane)
            ready[lane] = held is not None
            entries[lane] = [held.entry(digest, newest_first) if held else None for digest in asked]
            maybe[lane] = frozenset(
                place for place, digest in enumerate(asked) if held is not None and held.maybe(digest, newest_first)
            )
        return Look(now_ms=self._clock.now_ms(), catalog=self._believed(), ready=ready, entries=entries, maybe=maybe)

    async def write(self, lane: int, change: FoldWrite) -> Written | Moved | Known:
        """Write a fold's result. Source: the port."""
        self._reach()
        held, expected = self._ready(lane), change.expected
        if held is None or any(
            getattr(held.header, name) != getattr(expected, name) for name in ("epoch", "token", "rules", "next")
        ):
            there = self._lanes.get(lane)
            return Moved(header=there.header if there else None)
        newest_first = sorted(change.generations, reverse=True)
        found = {digest: held.entry(digest, newest_first) for digest in change.fresh}
        known = {digest: entry for digest, entry in found.items() if entry is not None}
        maybe = frozenset(digest for digest in found if held.maybe(digest, newest_first))
        if known or maybe:
            return Known(entries=known, maybe=maybe)
        held.header = msgspec.structs.replace(
            held.header, next=change.next, clock_ms=change.clock_ms, seen_ms=change.seen_ms
        )
        for generation in change.drop_generations:
            held.keys.pop(generation, None)
            held.filters.pop(generation, None)
        held.fill(change.keys, change.snapshots, change.accounts)
        held.outcomes |= change.outcomes
        for offset, gateway in change.publish.items():
            if offset in change.outcomes:
                for listener in list(self._listeners.get((gateway, lane), ())):
                    listener.told(lane, expected.epoch, offset, change.outcomes[offset])
        return Written(now_ms=self._clock.now_ms())

    async def listen(
        self,
        gateway: str,
        lanes: Sequence[int],
        told: Callable[[int, int, int, bytes], None],
        listening: Callable[[], None],
    ) -> None:
        """Be told what writes publish for a gateway. Source: the port."""
        self._reach()
        listener = _Listener(told, asyncio.get_running_loop().create_future())
        for lane in lanes:
            self._listeners.setdefault((gateway, lane), []).append(listener)
        try:
            listening()
            await listener.lost
        finally:
            for lane in lanes:
                self._listeners[gateway, lane].remove(listener)

    async def beat(self, member: str, *, lasts_ms: int) -> list[str]:
        """Enter a member and list who is there. Source: the port."""
        self._reach()
        now_ms = self._clock.now_ms()
        self._members[member] = now_ms + lasts_ms
        self._members = {name: end_ms for name, end_ms in self._members.items() if end_ms > now_ms}
        return sorted(self._members)

    async def outcomes(self, lane: int, offsets: Sequence[int], *, epoch: int) -> list[bytes | None]:
        """Read outcomes. Source: the port."""
        self._reach()
        held = self._lanes.get(lane)
        known = held.outcomes if held is not None and held.header.epoch == epoch else {}
        return [known.get(offset) for offset in offsets]

    async def oldest_outcome(self, lane: int) -> int | None:
        """Tell the lowest offset with an outcome. Source: the port."""
        self._reach()
        held = self._lanes.get(lane)
        return min(held.outcomes, default=None) if held else None

    async def sank(self, lane: int, *, token: bytes, begun: int, sunk: int, drop: Sequence[int]) -> bool:
        """Raise `sunk` and drop outcomes. Source: the port."""
        self._reach()
        held = self._ready(lane)
        if held is None or held.header.token != token or held.header.sunk != begun:
            return False
        held.header = msgspec.structs.replace(held.header, sunk=sunk)
        for offset in drop:
            held.outcomes.pop(offset, None)
        return True

    async def condense(
        self, lane: int, *, token: bytes, generation: int, keep: bytes, mark: int, cursor: bytes, rebuilding: bool
    ) -> Condensed | None:
        """Move entries into the filter. Source: the port."""
        self._reach()
        held = self._rebuilding(lane, token, mark) if rebuilding else self._ready(lane)
        if held is None or held.header.token != token or (not rebuilding and held.header.sunk < mark):
            return None
        held.step += rebuilding
        entries = held.keys.get(generation, {})
        begin = int(cursor or 0)
        end = begin + CONDENSE_ENTRIES
        gone = [digest for digest in list(entries)[begin:end] if not entries[digest].startswith(keep)]
        more = end < len(entries)
        for digest in gone:
            del entries[digest]
            held.filters.setdefault(generation, set()).add(digest[:_PRINT_BYTES])
        if not entries:
            held.keys.pop(generation, None)
        return Condensed(moved=len(gone), cursor=b"%d" % (end - len(gone)) if more else b"")

    async def begin_rebuild(self, lane: int, *, token: bytes, expected_token: bytes | None) -> bool:
        """Empty the lane and set `rebuilding`. Source: the port."""
        self._reach()
        held = self._lanes.get(lane)
        if (held.header.token if held else None) != expected_token:
            return False
        self._lanes[lane] = _Lane(header=rebuilding_header(token))
        return True

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
        """Write a part of a rebuild. Source: the port."""
        self._reach()
        held = self._rebuilding(lane, token, step)
        if held is None:
            return False
        held.fill(keys, snapshots, accounts)
        held.step += 1
        return True

    async def finish_rebuild(self, lane: int, *, step: int, header: LaneHeader) -> bool:
        """Write the header last. Source: the port."""
        self._reach()
        held = self._rebuilding(lane, header.token, step)
        if held is None:
            return False
        held.header = header
        return True

    async def rebuild_step(self, lane: int) -> tuple[bytes, int] | None:
        """Tell token and counter of a rebuild. Source: the port."""
        self._reach()
        held = self._lanes.get(lane)
        return (held.header.token, held.step) if held and held.header.state == REBUILDING else None

    async def catalog(self) -> int | None:
        """Read the catalog's version. Source: the port."""
        self._reach()
        return self._believed()

    async def raise_catalog(self, version: int) -> bool:
        """Raise the catalog's version. Source: the port."""
        self._reach()
        self._catalog = max(version, self._catalog or 0)
        noted, self._raised_since_start = self._raised_since_start, True
        if noted:
            self._catalog_seen_ms = self._clock.now_ms()
        return noted

    async def dump(self, lane: int) -> dict[str, dict[bytes, bytes]]:
        """Read everything but outcomes. Source: the port."""
        self._reach()
        held = self._lanes.get(lane)
        if held is None:
            return {"header": {}, "accounts": {}, "snapshots": {}}
        return {
            "header": header_fields(held.header),
            "accounts": dict(held.accounts),
            "snapshots": dict(held.snapshots),
            **{f"keys:{generation}": dict(entries) for generation, entries in sorted(held.keys.items())},
            **{f"filter:{generation}": {b"keys": b"%d" % len(prints)} for generation, prints in held.filters.items()},
        }

    async def now_ms(self) -> int:
        """Tell the clock's time. Source: the port."""
        self._reach()
        return self._clock.now_ms()

    async def close(self) -> None:
        """Nothing to release."""

    def _believed(self) -> int | None:
        seen_ms = self._catalog_seen_ms
        fresh = seen_ms is not None and 0 <= self._clock.now_ms() - seen_ms <= CATALOG_SEEN_MS_MAX
        return self._catalog if fresh else None

    def _ready(self, lane: int) -> _Lane | None:
        held = self._lanes.get(lane)
        return held if held is not None and held.header.state == READY else None

    def _rebuilding(self, lane: int, token: bytes, step: int) -> _Lane | None:
        held = self._lanes.get(lane)
        if held is None or (held.header.state, held.header.token, held.step) != (REBUILDING, token, step):
            return None
        return held

    def _lose_listeners(self) -> None:
        for listeners in self._listeners.values():
            for listener in listeners:
                if not listener.lost.done():
                    listener.lost.set_exception(Unavailable("LIVE is away"))

    def _reach(self) -> None:
        if self.away:
            raise Unavailable("LIVE is away")
