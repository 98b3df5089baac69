"""A lane of LIVE made again from RAW: keys, snapshots and accounts as the fold left them, the header last.

Owns the order of a rebuild. Invariants: what it writes equals, byte for byte, what the fold had at `progress.next`
(an account is a function of its snapshot, its clock and its rows); nothing above `progress.next` is taken from RAW,
because the log is folded again from there; what older epochs left is carried into the new one; two rebuilds at once
exclude each other by token and step. A lane that never was is made in the same way, from nothing. Source: DESIGN 3.9.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from aggregator.account import NOTHING, Account, encode_account
from aggregator.fold import RULES
from aggregator.fold_slice import condensed_generations, dead_digest, generation_of, oldest_generation
from aggregator.known_key import ENTRY_OF
from aggregator.store import UsageStore
from aggregator.store.account import AccountSums, KeyRow
from aggregator.worker.condenser import KEPT
from ingest.event import NO_DIGEST
from ingest.key_entry import KeyEntry, encode_entry
from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import READY, KeyWrite, LaneHeader, Live
from kernel.engine.log.base import Log
from kernel.errors import Fatal, LogMissing
from kernel.limits import GENERATION_MS, KEYS_EXACT_DAYS_MAX
from kernel.telemetry import CounterName, Telemetry, logger

_log = logger("rebuild")
# One script's worth: about 100 kB, a few milliseconds of LIVE.
FILL_MAX: Final = 1_000

_T = TypeVar("_T")


async def rebuild_lane(
    lane: int,
    *,
    log: Log,
    live: Live,
    store: UsageStore,
    clock: Clock,
    telemetry: Telemetry,
    expected_token: bytes | None,
    exact_days: int = KEYS_EXACT_DAYS_MAX,
    rules: int = RULES,
) -> bool:
    """Empty the lane and write it again up to RAW's progress; False when another rebuild took over.

    Keys older than `exact_days` become filters as it goes on. `rules` are those of the log's epoch.
    Raises Fatal when the log does not hold everything above RAW's progress: going on would lose it.
    """
    now_ms = await live.now_ms()
    # Others go on meanwhile: what the log began with before lies below RAW's progress, and that below its end after.
    begin = (await log.bounds(lane)).begin
    begin_clock_ms = await store.carry(log.epoch, lane, log.lanes)
    next_offset, clock_ms = (await store.progress(log.epoch)).get(lane, (0, begin_clock_ms))
    end = (await log.bounds(lane)).end
    if end < next_offset:
        raise LogMissing(f"the log of lane {lane} ends at {end}, RAW holds it up to {next_offset}: another log")
    if begin > next_offset:
        raise Fatal(f"the log of lane {lane} begins at {begin}, RAW holds it up to {next_offset} only")
    token = ids.new_bytes(clock.now_ms())
    if not await live.begin_rebuild(lane, token=token, expected_token=expected_token):
        return False
    if next_offset:
        _log.warning("rebuilding a lane", lane=lane, next=next_offset)
        telemetry.count(CounterName.REBUILDS)
    else:
        _log.info("making a lane", lane=lane)
    filling = _Filling(lane, live, token)
    condensed = condensed_generations(clock_ms, exact_days)
    done = await _keys(filling, store, log.epoch, next_offset, (begin_clock_ms, clock_ms), condensed)
    done = done and await _accounts(filling, store, log.epoch, next_offset)
    header = LaneHeader(
        epoch=log.epoch,
        token=token,
        rules=rules,
        next=next_offset,
        sunk=next_offset,
        clock_ms=clock_ms,
        seen_ms=now_ms if end == next_offset else 0,
        state=READY,
    )
    return done and await live.finish_rebuild(lane, step=filling.step, header=header)


class _Filling:
    """A rebuild under way: every part raises its step, and none is written once another rebuild took over."""

    def __init__(self, lane: int, live: Live, token: bytes) -> None:
        self.lane = lane
        self.step = 0
        self._live = live
        self._token = token

    async def write(
        self,
        *,
        keys: Sequence[KeyWrite] = (),
        snapshots: Mapping[bytes, bytes] | None = None,
        accounts: Mapping[bytes, bytes] | None = None,
    ) -> bool:
        done = await self._live.fill(
            self.lane,
            token=self._token,
            step=self.step,
            keys=keys,
            snapshots=snapshots or {},
            accounts=accounts or {},
        )
        self.step += 1
        return done

    async def condense(self, generation: int) -> bool:
        """Move a generation into its filter: pass after pass, until one moved nothing."""
        cursor, moved = b"", 0
        while True:
            step = await self._live.condense(
                self.lane,
                token=self._token,
                generation=generation,
                keep=KEPT,
                mark=self.step,
                cursor=cursor,
                rebuilding=True,
            )
            self.step += 1
            if step is None:
                return False
            cursor, moved = step.cursor, moved + step.moved
            if not cursor:
                if not moved:
                    return True
                moved = 0


async def _keys(
    filling: _Filling,
    store: UsageStore,
    epoch: int,
    next_offset: int,
    clocks_ms: tuple[int, int],
    condensed: range,
) -> bool:
    """Write the key entries: first the carried ones, then the lane's own; `clocks_ms` are its first and its last.

    A carried entry lies in the generation of when it took effect. That is never one after the first clock's, where the
    lane's own begin, so the newest entry of a key is found first; and while an entry is not too old, it is looked up.
    Generations of `condensed` become filters as soon as they are whole, so that LIVE needs room for one of them at a
    time; carried ones are whole together.
    """
    begin_ms, clock_ms = clocks_ms
    since_ms = max(0, oldest_generation(clock_ms)) * GENERATION_MS
    carried = store.carried_key_rows(epoch, filling.lane, since_ms=since_ms)
    own = store.key_rows(
        epoch, filling.lane, before_offset=next_offset, since_clock_ms=since_ms, begin_clock_ms=begin_ms
    )
    for source in (carried, own):
        written: set[int] = set()
        async for rows in source:
            for part in _parts(rows):
                keys = {(key.generation, key.digest): key for key in key_writes(part)}
                if not await filling.write(keys=list(keys.values())):
                    return False
                written.update(generation for generation, _ in keys)
            if source is own and not await _condense(filling, written, condensed, max(written, default=0)):
                return False
        if not await _condense(filling, written, condensed, condensed.stop):
            return False
    return True


async def _condense(filling: _Filling, written: set[int], condensed: range, open_from: int) -> bool:
    """Make filters of those of `condensed` that were written and lie before `open_from`; forget them in `written`."""
    for generation in sorted(g for g in written.intersection(condensed) if g < open_from):
        if not await filling.condense(generation):
            return False
        written.remove(generation)
    return True


def key_writes(rows: Sequence[KeyRow]) -> Iterator[KeyWrite]:
    """Make the key entries of rows in the log's order."""
    for row in rows:
        digest = dead_digest(row.position) if row.digest == NO_DIGEST else row.digest
        entry = KeyEntry(
            kind=ENTRY_OF[row.verdict], position=row.position, at_ms=row.at_ms, content=row.content, request=row.request
        )
        yield KeyWrite(generation=generation_of(row.clock_ms), digest=digest, entry=encode_entry(entry))


async def _accounts(filling: _Filling, store: UsageStore, epoch: int, next_offset: int) -> bool:
    known: dict[bytes, tuple[int, int]] = {}
    async for snapshots in store.snapshots(epoch, filling.lane, before_offset=next_offset):
        known.update({row.customer: (row.rev, row.cut) for row in snapshots})
        for part in _parts(snapshots):
            if not await filling.write(snapshots={row.customer: row.snapshot for row in part}):
                return False
    async for accounts in store.account_rows(epoch, filling.lane, before_offset=next_offset):
        for some in _parts(accounts):
            used = {row.customer: rebuilt_account(row, *known.pop(row.customer, (0, 0))) for row in some}
            if not await filling.write(accounts={who: encode_account(account) for who, account in used.items()}):
                return False
    for rest in _parts(list(known.items())):
        unused = {who: encode_account(Account(rev=rev, cut=cut)) for who, (rev, cut) in rest}
        if not await filling.write(accounts=unused):
            return False
    return True


def rebuilt_account(row: AccountSums, rev: int, cut: int) -> Account:
    """Make the account that the fold had: the windows that it has not forgotten, now and at cut number `cut`."""
    account = Account(rev=rev, clock_ms=row.clock_ms, cut=cut)
    for part in row.sums:
        billed = part.cut <= cut
        key = (part.feature, part.term, part.window)
        account.add_usage(key, part.window_end, part.units, part.units if billed else 0)
        at_cut = part.draws if billed else NOTHING
        account.add_draws(key, part.window_end, part.draws, at_cut, drew=part.drew)
    account.forget()
    return account


def _parts(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for begin in range(0, len(rows), FILL_MAX):
        yield rows[begin : begin + FILL_MAX]
