"""The closer: it ends periods. Cut, wait, compare LIVE with RAW, write the invoice.

Invariants: one invoice a close at most, however many closers run and wherever one dies, because each step
starts from `closes`; none from sums on which LIVE and RAW differ; a customer's next cut waits until this one is
settled. Source: DESIGN 3.8.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.account import Account
from aggregator.store import UsageStore
from billing.life.lifecycle import due_of
from billing.life.subscription import Subscription
from billing.money.agreement import difference
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store.close import CloseRow
from billing.worker.addons import renew_due
from billing.worker.apart import Fault, apart
from billing.worker.cut_wait import CutWait
from billing.worker.relay import Relay
from billing.worker.settled import Settled, counted_at
from billing.worker.settling import stop
from billing.worker.stepping import step, step_apart
from billing.worker.stopped import Stopped
from billing.worker.writing import write
from catalog.gateway import Catalog
from kernel.clock import Clock
from kernel.engine.live.base import Live
from kernel.engine.sql.base import Sql
from kernel.errors import MeterlineError
from kernel.settings import Settings
from kernel.telemetry import CounterName, Telemetry, logger

_log = logger("closer")
_T = TypeVar("_T")

# 50 customers are one query of RAW and one look a lane; two batches overlap so that one's waiting is the other's work.
BATCH_CUSTOMERS: Final = 50
_BATCHES_AT_ONCE: Final = 2
# Cuts are taken for two batches and settled before the next are taken: a customer's cut is open for a second, not for
# as long as all others take.
_DUE_MAX: Final = 100
_PAGE: Final = 500


class CloseSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What one call did: closes settled and stopped, invoices written; `waiting` cuts stay open for fold or sink."""

    settled: int
    invoices: int
    stopped: int
    waiting: int


class Closer:
    """Closes ended periods, of all organizations or one."""

    def __init__(
        self,
        sql: Sql,
        live: Live,
        usage_store: UsageStore,
        flush: Callable[[], Awaitable[None]],
        relay: Relay,
        catalog: Catalog,
        clock: Clock,
        telemetry: Telemetry,
        settings: Settings,
    ) -> None:
        self._sql = sql
        self._usage_store = usage_store
        self._flush = flush
        self._relay = relay
        self._cut_wait = CutWait(live, usage_store, catalog)
        self._clock = clock
        self._telemetry = telemetry
        self._settings = settings
        self._stopped = Stopped(clock, telemetry)
        self._taking = asyncio.Lock()
        self._under_way: dict[str, asyncio.Future[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._runs: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Run the loop in the background, every `close_every_ms`."""
        self._task = asyncio.create_task(self.run(), name="closer")

    async def stop(self) -> None:
        """End the loop wherever it stands; the next start resumes from `closes`."""
        running = [*self._runs, *([] if self._task is None else [self._task])]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._task = None

    async def run(self) -> None:
        """Close what is due, for ever."""
        while True:
            try:
                await self.close_due()
            except MeterlineError as error:
                _log.warning("the closer waits", reason=str(error))
            except Exception as error:  # noqa: BLE001 - the loop outlives a fault of one pass, which is logged
                _log.error("a pass of the closer failed", exc_info=error)
            await asyncio.sleep(self._settings.close_every_ms / 1000)

    async def close_due(self, organization: str | None = None, *, resume: bool = False) -> CloseSummary:
        """Close everything that is due, period after period, until nothing is; of one organization (`org_…`) or all.

        `resume` takes up what stopped as well, after a rebuild or a fix: closes, and steps that raised. Cuts whose fold
        or sink does not follow in time stay open, and are counted as waiting. Calls that run at once in one process
        share the work: none settles what another has under way, and each waits for it.
        """
        if resume:
            self._stopped.resume(organization)
            async with self._sql.transaction() as connection:
                await closes.resume(connection, organization)
        total, waiting = Settled(), set[str]()
        while True:
            done = await self._turn(organization, waiting)
            total, waiting = total + done.settled, waiting | done.waiting
            if not done.tried:
                return CloseSummary(**msgspec.structs.asdict(total), waiting=len(waiting))

    async def _turn(self, organization: str | None, waiting: set[str]) -> "_Done":
        """Take cuts, charge months, settle what is open."""
        with ExitStack() as held:
            async with self._taking:
                async with self._sql.snapshot() as connection:
                    due = await self._due(connection, organization, limit=_DUE_MAX)
                held.enter_context(self._relay.about_to_show([one.customer_id for one in due]))
                done = await self._take_cuts(due)
            done = done + await self._charge_months(organization)
            return done + await self._pass(organization, waiting)

    async def _charge_months(self, organization: str | None) -> "_Done":
        stopped = self._stopped.names()
        months, faults = await renew_due(
            self._sql, organization, self._clock.now_ms(), self._settings.settle_ms, stopped
        )
        done = Settled(invoices=months, stopped=self._stopped.add(faults))
        return _Done(settled=done, waiting=set(), tried=bool(months or faults))

    async def flush(self) -> None:
        """Wait until RAW has what is folded now. A cut needs no such call: the sink writes it at once."""
        await self._flush()

    async def has_due(self, connection: AsyncConnection, organization: str) -> bool:
        """Tell whether a cut of the organization is due and not taken, those left out that stopped."""
        return bool(await self._due(connection, organization, limit=1))

    def has_stopped(self, organization: str) -> bool:
        """Tell whether a step of the organization raised in this process and waits to be tried again."""
        return self._stopped.any_of(organization)

    def close_in_background(self, organization: str) -> asyncio.Task[CloseSummary]:
        """Start closing what is due of an organization; the task ends by itself, or with `stop`."""
        return self._started(self.close_due(organization))

    def close_customer_in_background(self, customer_id: str) -> asyncio.Task[None]:
        """Start settling a customer's open cuts, each as far as fold and sink let it within one batch's wait."""
        return self._started(self._close_customer(customer_id))

    def catch_up_in_background(self, customer_id: str, now_ms: int) -> asyncio.Task[None]:
        """Start catching up; the task ends by itself, or with `stop`."""
        return self._started(self.catch_up(customer_id, now_ms))

    async def catch_up(self, customer_id: str, now_ms: int) -> None:
        """Bring a customer's subscription up to the organization's `now_ms`, its settling delay left out.

        Open cuts are settled and due steps taken, as far as fold and sink let it: what changes a subscription needs to
        find it in the period that holds then.
        """
        while True:
            async with self._sql.snapshot() as connection:
                found = await closes.unsettled_of(connection, customer_id)
                live = await subscriptions.live_of(connection, customer_id)
            due = None if live is None else due_of(live)
            if found is not None:
                if not (await self._settle_batch([found])).settled.settled:
                    return
            elif live is None or due is None or due.at_us > now_ms * 1000:
                return
            else:
                async with self._sql.transaction() as connection:
                    if not await step(connection, live, self._clock.now_ms()):
                        return
                await self._relay.show(customer_id)

    async def _close_customer(self, customer_id: str) -> None:
        while True:  # a change of plan that is settled may have taken the next cut
            async with self._sql.snapshot() as connection:
                found = await closes.unsettled_of(connection, customer_id)
            if found is None or not (await self._settle_batch([found])).settled.settled:
                return

    def _started(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.create_task(work)
        self._runs.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._runs.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("closing waits for the next pass", reason=str(error))

    async def _pass(self, organization: str | None, waiting: set[str]) -> "_Done":
        """Try every open cut once, but those that are known to wait."""
        done, after = _Done(settled=Settled(), waiting=set(), tried=False), ""
        while True:
            async with self._sql.snapshot() as connection:
                found = await closes.unsettled(connection, organization, after, _PAGE)
            if not found:
                return done
            after = found[-1].id
            left_alone = waiting | self._stopped.names()
            fresh = [close for close in found if close.id not in left_alone]
            done = done + await self._settle_all(fresh)

    async def _take_cuts(self, due: Sequence[Subscription]) -> "_Done":
        """Do what is due, a batch a transaction; whose step raises stops, and nobody else (step a)."""
        real_ms, stopped = self._clock.now_ms(), 0
        taken: list[str] = []
        for at in range(0, len(due), BATCH_CUSTOMERS):
            some, faults = await step_apart(self._sql, due[at : at + BATCH_CUSTOMERS], real_ms)
            taken += some
            stopped += self._stopped.add(faults)
        done = _Done(settled=Settled(stopped=stopped), waiting=set(), tried=bool(taken or stopped))
        if not taken:
            return done
        # A step without a cut, such as a resume, is shown here; the others are shown as they are settled.
        async with self._sql.snapshot() as connection:
            unseen = await closes.without_cut(connection, taken)
        await self._relay.show_all(unseen)
        return done

    async def _due(self, connection: AsyncConnection, organization: str | None, limit: int) -> list[Subscription]:
        stopped = self._stopped.names()  # they are due longest, so that they would come first for ever
        found = await subscriptions.due(
            connection,
            real_now_ms=self._clock.now_ms(),
            settle_ms=self._settings.settle_ms,
            organization_id=organization,
            limit=limit + len(stopped),
        )
        return [one for one in found if one.id not in stopped][:limit]

    async def _settle_all(self, found: Sequence[CloseRow]) -> "_Done":
        """Settle closes in batches, but those that another call has under way, for which it waits."""
        others = {self._under_way[close.id] for close in found if close.id in self._under_way}
        mine = [close for close in found if close.id not in self._under_way]
        ended = asyncio.get_running_loop().create_future()
        self._under_way.update((close.id, ended) for close in mine)
        slots = asyncio.Semaphore(_BATCHES_AT_ONCE)

        async def one(batch: Sequence[CloseRow]) -> _Done:
            async with slots:
                done, faults = await apart(batch, self._settle_batch)
            stopped = Settled(stopped=self._stopped.add(faults))
            return sum(done, _Done(settled=stopped, waiting=set(), tried=True))

        total = _Done(settled=Settled(), waiting=set(), tried=bool(others))
        try:
            for answer in await asyncio.gather(*(one(batch) for batch in _batches(mine))):
                total = total + answer
        finally:
            for close in mine:
                del self._under_way[close.id]
            ended.set_result(None)
        if others:
            await asyncio.wait(others)
        return total

    async def _settle_batch(self, batch: Sequence[CloseRow]) -> "_Done":
        """Settle closes of one organization, at most one a customer (steps b to e)."""
        await self._relay.show_all({close.customer_id for close in batch})
        done, waiting, again = Settled(), set[str](), False
        while batch:
            frozen = await self._cut_wait.frozen(batch)
            waiting |= {close.id for close in batch if close.customer_id not in frozen}
            ready = [close for close in batch if close.customer_id in frozen]
            batch = []
            if ready:
                settled, batch = await self._compare_and_write(ready, frozen, again=again)
                done = done + settled
            again = True
        return _Done(settled=done, waiting=waiting, tried=True)

    async def _compare_and_write(
        self, ready: Sequence[CloseRow], frozen: Mapping[str, Account], *, again: bool
    ) -> tuple[Settled, list[CloseRow]]:
        """Compare both sides and write invoices; returns the closes to compare again (steps c to e).

        RAW is seen beyond a cut before it is summed, and may have lost its last rows in between. So a close on which
        they differ is compared once more, after another wait for RAW, and stops when they differ `again`.
        """
        organization = ready[0].organization_id
        wanted = {close.customer_id: close.cut for close in ready}
        counted = await counted_at(self._usage_store, organization, wanted)
        agreed, doubted, stopped = [], [], 0
        for close in ready:
            both = counted[close.customer_id]
            found = difference(frozen[close.customer_id], both.totals, both.pool)
            if found is None:
                agreed.append(close)
            elif not again:
                doubted.append(close)
                _log.warning("LIVE and RAW differ at a cut: looking again", close=close.id, cut=close.cut)
            elif await stop(self._sql, close, found):
                stopped += 1
                self._telemetry.count(CounterName.CLOSE_STOPPED)
                _log.error(
                    "an invoice stops: LIVE and RAW differ; rebuild, then close",
                    close=close.id,
                    customer=close.customer_id,
                    cut=close.cut,
                    live=found.live,
                    raw=found.raw,
                )
        done, faults = await write(self._sql, self._relay, agreed, counted, self._clock.now_ms())
        stopped += sum([await self._stop(fault) for fault in faults])
        if done.invoices:
            self._telemetry.count(CounterName.INVOICES_WRITTEN, done.invoices)
        return done + Settled(stopped=stopped), doubted

    async def _stop(self, fault: Fault[CloseRow]) -> bool:
        close = fault.item
        if not await stop(self._sql, close, None, fault.code):
            return False
        self._telemetry.count(CounterName.CLOSE_STOPPED)
        raised = fault.code is None
        _log.error(
            f"an invoice stops: {'writing it raised' if raised else 'it is refused'}; mend the cause, then close",
            close=close.id,
            customer=close.customer_id,
            cut=close.cut,
            reason=fault.reason,
            exc_info=fault.error if raised else None,
        )
        return True


class _Done(msgspec.Struct, frozen=True, kw_only=True):
    settled: Settled
    waiting: set[str]
    tried: bool

    def __add__(self, other: "_Done") -> "_Done":
        return _Done(
            settled=self.settled + other.settled,
            waiting=self.waiting | other.waiting,
            tried=self.tried or other.tried,
        )


def _batches(found: Sequence[CloseRow]) -> Iterator[Sequence[CloseRow]]:
    """Cut closes into batches of one organization."""
    ordered = sorted(found, key=lambda close: (close.organization_id, close.end_us, close.id))
    for _, group in groupby(ordered, key=lambda close: close.organization_id):
        own = list(group)
        for at in range(0, len(own), BATCH_CUSTOMERS):
            yield own[at : at + BATCH_CUSTOMERS]
