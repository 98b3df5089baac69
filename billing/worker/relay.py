"""The relay: it carries accounts from SQL to their lanes, again and again until LIVE shows them.

Invariant: once SQL has a revision, LIVE shows it or a later one as soon as log and fold work; repeats, gaps and swaps
change nothing, because a snapshot is whole and the greater `rev` rules. Any number of processes may run it.
Source: DESIGN 3.7.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from billing.store import account as accounts
from catalog.gateway import Catalog
from catalog.terms import Snapshot, encode_account_record
from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import READY, AccountState, Live
from kernel.engine.log.base import Log
from kernel.engine.sql.base import Sql
from kernel.errors import MeterlineError, Retryable
from kernel.lane import lane_of
from kernel.limits import VISIBLE_WAIT_MS
from kernel.telemetry import logger

_log = logger("relay")

# A verdict takes about a millisecond, so the first looks come fast; the pause grows to spare LIVE when a lane stands.
_LOOK_MS_MIN: Final = 1
_LOOK_MS_MAX: Final = 50
# Between two looks for hidden accounts. What a process commits it shows itself; the loop is for what died meanwhile.
_PAUSE_SECONDS: Final = 0.25
_BATCH: Final = 50
_PAGE: Final = 1_000
_REV_BYTES: Final = 8


class Relay:
    """Shows accounts in LIVE."""

    def __init__(self, sql: Sql, log: Log, live: Live, catalog: Catalog, clock: Clock, gateway_id: str) -> None:
        self._sql = sql
        self._record_log = log
        self._live = live
        self._catalog = catalog
        self._clock = clock
        self._gateway_id = gateway_id
        self._tokens: dict[int, bytes] = {}
        self._showing: set[str] = set()
        self._shown: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    async def show(self, customer_id: str) -> bool:
        """Append the customer's snapshot as SQL has it, and wait until LIVE shows its revision.

        False after `VISIBLE_WAIT_MS`, or when the log is away: the change is committed, the loop goes on with it.
        """
        return customer_id in await self.show_all([customer_id])

    async def show_all(self, customer_ids: Iterable[str]) -> set[str]:
        """Show many customers at once and tell which LIVE shows; a customer without an account has nothing to show."""
        wanted = set(customer_ids)
        present: dict[str, Snapshot] = {}
        for some in _slices(sorted(wanted)):
            async with self._sql.snapshot() as connection:
                present |= await accounts.snapshots(connection, some)
        by_lane: dict[int, list[Snapshot]] = {}
        for snapshot in present.values():
            by_lane.setdefault(lane_of(snapshot.customer, self._record_log.lanes), []).append(snapshot)
        self._showing |= present.keys()
        try:
            answers = await asyncio.gather(*(self._show(lane, own) for lane, own in by_lane.items()))
        finally:
            self._showing -= present.keys()
        seen = {ids.id_text(ids.CUSTOMER, one): rev for answer in answers for one, rev in answer.items()}
        self._shown.update(seen)
        return set(seen) | (wanted - present.keys())

    @contextmanager
    def about_to_show(self, customer_ids: Iterable[str]) -> Iterator[None]:
        """Let the loop pass over customers whom the caller changes and shows within, so that none is shown twice."""
        own = set(customer_ids) - self._showing
        self._showing |= own
        try:
            yield
        finally:
            self._showing -= own

    def start(self) -> None:
        """Run the loop in the background."""
        self._task = asyncio.create_task(self.run(), name="relay")

    def start_noting(self) -> None:
        """Only note in SQL what this process has shown: where the loop runs in another process."""
        self._task = asyncio.create_task(self._note_for_ever(), name="relay notes")

    async def stop(self) -> None:
        """End the loop; an account that it held is free for others after `VISIBLE_WAIT_MS`."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def run(self) -> None:
        """Show what is hidden, look for rebuilt lanes, and keep LIVE's catalog version up; for ever."""
        while True:
            try:
                await self.pass_once()
            except MeterlineError as error:
                _log.warning("the relay waits", reason=str(error))
            except Exception as error:  # noqa: BLE001 - the loop outlives a fault of one pass, which is logged
                _log.error("a pass of the relay failed", exc_info=error)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def pass_once(self) -> None:
        """Do one pass of the loop."""
        for lane in range(self._record_log.lanes):
            await self._compare_if_rebuilt(lane)
        await self._catalog.republish()
        await self._note_shown()
        now_ms = self._clock.now_ms()
        async with self._sql.snapshot() as connection:
            # Those that are being shown stand before the others: without room for them the loop would see nothing else.
            limit = _BATCH + len(self._showing) + len(self._shown)
            hidden = await accounts.hidden(connection, now_ms, limit)
        found = [one for one in hidden if one not in self._showing and one not in self._shown][:_BATCH]
        if not found:
            return
        async with self._sql.transaction() as connection:
            until_ms = now_ms + VISIBLE_WAIT_MS
            mine = [one for one in found if await accounts.claim(connection, one, now_ms, until_ms)]
        seen = await self.show_all(mine)
        await self._note_shown()
        async with self._sql.transaction() as connection:
            await accounts.release(connection, [one for one in mine if one not in seen])

    async def _note_shown(self) -> None:
        """Tell SQL what LIVE shows: one transaction for all, not one a call. What a death loses here is sent again."""
        noted, self._shown = self._shown, {}
        if noted:
            async with self._sql.transaction() as connection:
                await accounts.shown(connection, noted)

    async def _note_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self._note_shown()
            except MeterlineError as error:
                _log.warning("what was shown is noted later", reason=str(error))

    async def _show(self, lane: int, snapshots: Sequence[Snapshot]) -> dict[bytes, int]:
        """Append a lane's snapshots, and wait for LIVE; tells by customer the revisions that it shows in time."""
        seen: dict[bytes, int] = {}
        with suppress(TimeoutError):
            async with asyncio.timeout(VISIBLE_WAIT_MS / 1000):
                sent = await asyncio.gather(*(self._sent(lane, one) for one in snapshots))
                await self._seen(lane, {one.customer: one.rev for one in sent if one is not None}, seen)
        return seen

    async def _sent(self, lane: int, snapshot: Snapshot) -> Snapshot | None:
        """Append a snapshot; None when the log is away."""
        try:
            await self._record_log.append(lane, encode_account_record(self._gateway_id, snapshot))
        except Retryable:
            return None
        return snapshot

    async def _seen(self, lane: int, revs: Mapping[bytes, int], seen: dict[bytes, int]) -> None:
        """Look at LIVE until it shows all of `revs`, and note in `seen` what it shows."""
        pause_ms: float = _LOOK_MS_MIN
        while missing := [one for one in revs if one not in seen]:
            with suppress(Retryable):
                view = await self._live.view(lane, missing)
                if view.header is not None:
                    shown = zip(missing, map(rev_of, view.accounts), strict=True)
                    seen.update({one: revs[one] for one, rev in shown if rev >= revs[one]})
            if len(seen) < len(revs):
                await asyncio.sleep(pause_ms / 1000)
                pause_ms = min(pause_ms * 1.5, _LOOK_MS_MAX)

    async def _compare_if_rebuilt(self, lane: int) -> None:
        """Compare every customer's revision with LIVE's when the lane is a new one, or seen for the first time."""
        view = await self._live.view(lane, [])
        if view.header is None or view.header.state != READY:
            self._tokens.pop(lane, None)
            return
        if self._tokens.get(lane) == view.header.token:
            return
        await self._compare(lane)
        self._tokens[lane] = view.header.token

    async def _compare(self, lane: int) -> None:
        after = ""
        while True:
            async with self._sql.snapshot() as connection:
                page = await accounts.page(connection, after, _PAGE)
            if not page:
                return
            after = page[-1][0]
            own = [(one, rev) for one, rev in page if lane_of(ids.id_bytes(one), self._record_log.lanes) == lane]
            view = await self._live.view(lane, [ids.id_bytes(one) for one, _ in own])
            behind = [
                (one, rev_of(state))
                for (one, rev), state in zip(own, view.accounts, strict=True)
                if rev_of(state) < rev
            ]
            async with self._sql.transaction() as connection:
                for one, shown in behind:
                    await accounts.lost(connection, one, shown)


def _slices(customers: Sequence[str]) -> Iterator[Sequence[str]]:
    return (customers[at : at + _PAGE] for at in range(0, len(customers), _PAGE))


def rev_of(state: AccountState) -> int:
    """Tell the revision that LIVE shows of an account; 0 when it has none."""
    return 0 if state.account is None else int.from_bytes(state.account[:_REV_BYTES], "big")
