"""Consecutive records of one lane folded into one write. Pure.

Owns what the fold of one event does not see: the lane's clock, keys that occur twice, which customers changed, and the
shape of the write. Nothing that it was given changes, so that a refused write is folded again from the same state.
Invariant: how a history is cut into slices changes no byte of what is written in the end. Source: DESIGN 3.5.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from aggregator.account import Account, decode_account, encode_account
from aggregator.fold import JUDGES, fold_snapshot
from aggregator.known_key import DEAD, ENTRY_OF, still_dead
from aggregator.standing import Standing
from catalog.terms import Snapshot, decode_snapshot, encode_snapshot
from ingest.event import NO_DIGEST, UsageEvent
from ingest.key_entry import EntryKind, KeyEntry, decode_entry, encode_entry, entry_behind, entry_head
from ingest.verdict import Outcome, Verdict, encode_outcomes
from kernel.engine.live.base import AccountState, FoldWrite, KeyWrite, LaneHeader
from kernel.limits import DAY_MS, GENERATION_DROP_MS, GENERATION_MS, GENERATIONS_READ, KEYS_EXACT_DAYS_MAX
from kernel.position import Position

_DROP_AFTER: Final = GENERATION_DROP_MS // GENERATION_MS
_FRESH: Final = b""  # no entry is empty
_COUNTED: Final = Verdict.COUNTED  # by name: looking a member up costs more than comparing it


class CustomerState(msgspec.Struct, frozen=True):
    """One customer as the fold knows it: its account, and its standing (None before the first snapshot)."""

    account: Account
    standing: Standing | None


def customer_state(stored: AccountState) -> CustomerState:
    """Make the state of a customer from what LIVE has; a customer that LIVE does not know starts from nothing."""
    return CustomerState(
        decode_account(stored.account) if stored.account is not None else Account(),
        Standing(decode_snapshot(stored.snapshot)) if stored.snapshot is not None else None,
    )


def generation_of(clock_ms: int) -> int:
    """Tell the generation of key entries that a lane's clock falls in."""
    return clock_ms // GENERATION_MS


def oldest_generation(clock_ms: int) -> int:
    """Tell the oldest generation that is kept when the lane's clock is `clock_ms`."""
    return generation_of(clock_ms) - _DROP_AFTER + 1


def generations_read(clock_ms: int) -> range:
    """Tell the generations in which the fold looks for keys at `clock_ms`."""
    newest = generation_of(clock_ms)
    return range(max(0, newest - GENERATIONS_READ + 1), newest + 1)


def condensed_generations(clock_ms: int, exact_days: int) -> range:
    """Tell the generations that are kept as filters at `clock_ms`: those that end `exact_days` before it or earlier.

    None when every day stays exact. Source: DESIGN 3.11; ADR 7.
    """
    oldest = max(0, oldest_generation(clock_ms))
    if exact_days >= KEYS_EXACT_DAYS_MAX:
        return range(oldest, oldest)
    return range(oldest, max(oldest, (clock_ms - exact_days * DAY_MS) // GENERATION_MS))


def dead_digest(position: Position) -> bytes:
    """Tell under what digest a dead letter without a key is kept, and replayed: one of its position (DESIGN 3.5.4)."""
    return blake2b(position.to_bytes(), digest_size=16, person=b"dead letter").digest()


def entry_after(event: UsageEvent, outcome: Outcome, position: Position, at_ms: int) -> tuple[bytes, bytes] | None:
    """Tell the digest and the entry that an outcome leaves behind; None when it leaves none.

    What counted under a key left its entry in `SliceFold.usage` already.
    Only the first dead letter of a key leaves one; other attempts on it name it as their original. A replay leaves one
    only when it counts; else the dead letter stays as it was, and may be replayed again.
    """
    kind = ENTRY_OF.get(outcome.verdict)
    if kind is None or outcome.original or event.replays:
        return None
    digest = event.digest
    if digest == NO_DIGEST:
        if kind is not EntryKind.DEAD:
            return None
        digest = dead_digest(position)
    entry = KeyEntry(kind=kind, position=position, at_ms=at_ms, content=event.content, request=event.request)
    return digest, encode_entry(entry)


class SliceFold:
    """Folds records of one lane, one after the other, and gives the write that they amount to.

    `states` are all customers that the records name, `known` the key entries that LIVE said to have, or RAW where LIVE
    only said maybe (None: RAW has none either); both stay as they are.
    """

    def __init__(
        self,
        header: LaneHeader,
        lane: int,
        states: Mapping[bytes, CustomerState],
        known: Mapping[bytes, bytes | None],
    ) -> None:
        self._header = header
        self._lane = lane
        self._states = states
        self._entries: dict[bytes, bytes | None] = dict(known)
        self._fresh: list[bytes] = []
        self._keys: dict[int, dict[bytes, bytes]] = {}  # by generation
        self._snapshots: dict[bytes, bytes] = {}
        self._begun_ms: int | None = None
        self.clock_ms = header.clock_ms
        self.next = header.next
        self.changed: dict[bytes, CustomerState] = {}
        self.outcomes: dict[int, list[Outcome]] = {}
        self.dead: list[bytes] = []

    def usage(self, offset: int, time_ms: int, events: Sequence[UsageEvent], first_index: int = 0) -> None:
        """Fold the record at `offset`, or its part that begins at `first_index`; the parts come in order."""
        outcomes, changed, judge = self.outcomes.setdefault(offset, []), self.changed, JUDGES[self._header.rules]
        counted, keys = entry_head(EntryKind.COUNTED, self._header.epoch, self._lane, offset), self._keys_now()
        for index, event in enumerate(events, first_index):
            at_ms = event.at_ms if event.at_ms < time_ms else time_ms  # noqa: FURB136 - a call for each event
            if at_ms > self.clock_ms:
                self.clock_ms = at_ms
                keys = self._keys_now()
            if self._begun_ms is None:
                self._begun_ms = self.clock_ms
            state = changed.get(event.customer) or self._touch(event.customer)
            outcome = self._judge(judge, state, event, at_ms)
            outcomes.append(outcome)
            if outcome.verdict is _COUNTED:
                if event.digest:
                    entry = entry_behind(counted, index, at_ms, event.content, event.request)
                    self._entries[event.digest] = keys[event.digest] = entry
            elif event.digest or outcome is DEAD:
                position = Position(self._header.epoch, self._lane, offset, index)
                left = entry_after(event, outcome, position, at_ms)
                if left is not None:
                    digest, entry = left
                    self._entries[digest] = keys[digest] = entry
                if outcome is DEAD:
                    self.dead.append(event.customer)
        self.next = offset + 1

    def _keys_now(self) -> dict[bytes, bytes]:
        """Tell where entries go while the lane's clock is what it is."""
        return self._keys.setdefault(generation_of(self.clock_ms), {})

    def account(self, offset: int, snapshot: Snapshot) -> bool:
        """Fold an account record; tells whether it took a cut."""
        state = self.changed.get(snapshot.customer) or self._touch(snapshot.customer)
        cut = state.account.cut
        if fold_snapshot(state.account, snapshot):
            self.changed[snapshot.customer] = CustomerState(state.account, Standing(snapshot))
            self._snapshots[snapshot.customer] = encode_snapshot(snapshot)
        self.next = offset + 1
        return state.account.cut > cut

    def write(self, seen_ms: int, publish: Mapping[int, str] | None = None) -> FoldWrite:
        """Give the write: everything that changed, computed from the header that this began with.

        `publish` names, by offset, the gateways that the write tells (`FoldWrite.publish`).
        """
        begun_ms = self.clock_ms if self._begun_ms is None else self._begun_ms
        stored = generation_of(self._header.clock_ms)
        oldest = oldest_generation(self.clock_ms)
        return FoldWrite(
            expected=self._header,
            next=self.next,
            clock_ms=self.clock_ms,
            seen_ms=max(seen_ms, self._header.seen_ms),
            generations=[g for g in generations_read(begun_ms) if g <= stored] if self._fresh else [],
            fresh=self._fresh,
            drop_generations=range(max(0, oldest_generation(self._header.clock_ms)), min(oldest, stored + 1)),
            keys=[
                KeyWrite(generation=generation, digest=digest, entry=entry)
                for generation, entries in self._keys.items()
                if generation >= oldest
                for digest, entry in entries.items()
            ],
            snapshots=self._snapshots,
            accounts={customer: encode_account(state.account) for customer, state in self.changed.items()},
            outcomes={offset: encode_outcomes(outcomes) for offset, outcomes in self.outcomes.items()},
            publish=publish or {},
        )

    def _touch(self, customer: bytes) -> CustomerState:
        base = self._states[customer]
        state = CustomerState(base.account.copy(), base.standing)
        self.changed[customer] = state
        return state

    def _judge(self, judge: Callable[..., Outcome], state: CustomerState, event: UsageEvent, at_ms: int) -> Outcome:
        entry = None
        if event.digest != NO_DIGEST:
            stored = self._entries.get(event.digest, _FRESH)
            if stored:
                entry = decode_entry(stored)
            elif stored is not None:
                self._fresh.append(event.digest)
        try:
            return judge(state.account, state.standing, event, entry, lane_clock_ms=self.clock_ms, at_ms=at_ms)
        except (MemoryError, TimeoutError):
            raise
        except Exception:  # noqa: BLE001 - whatever the pure code raises makes this event a dead letter (DESIGN 3.5.4)
            return DEAD if entry is None or not event.replays else still_dead(entry)
