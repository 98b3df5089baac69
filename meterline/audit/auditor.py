"""The audit: everything recomputed from log and RAW, and compared with what LIVE, RAW and the invoices say.

Invariants: it changes nothing; it may run beside usage, because each comparison stands at a position of the log that
was read together with what it is compared to; it imports `kernel` alone. Source: DESIGN 3.10.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import groupby
from typing import Final

from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import READY, Live
from kernel.engine.log.base import Log
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from meterline.audit import rows
from meterline.audit.balance import Balance
from meterline.audit.history import History
from meterline.audit.invoices import InvoiceAudit
from meterline.audit.report import Findings, Report

_SINK_WAIT_MS: Final = 60_000
_POLL_S: Final = 0.05


class Auditor:
    """One audit over opened stores. `flush` makes the sink write what it holds; it may return before that is done."""

    def __init__(
        self, *, log: Log, live: Live, raw: Raw, sql: Sql, clock: Clock, flush: Callable[[], Awaitable[object]]
    ) -> None:
        self._log, self._live, self._raw, self._sql = log, live, raw, sql
        self._clock = clock
        self._flush = flush
        self._findings = Findings()
        self._report = Report(epoch=log.epoch, lanes=log.lanes)
        self._history = History(log, raw, self._findings, self._report)

    async def run(self) -> Report:
        """Audit everything and report."""
        started_ms = self._clock.monotonic_ms()
        books = await rows.books(self._sql)
        ends = await self._positions()
        self._history.judge.corrected.watched = await rows.corrected(self._raw)
        told = {place: end for place, end in (await rows.progress(self._raw)).items() if place[0] < self._log.epoch}
        told |= {(self._log.epoch, lane): end for lane, end in ends.items()}
        for epoch, parts in groupby(sorted(told.items()), key=lambda part: part[0][0]):
            here = list(parts)
            self._history.judge.begin_epoch(1 + max(lane for (_, lane), _ in here))
            for (_, lane), following in here:
                await self._history.go_through(epoch, lane, following)
        balance = Balance(self._live, self._log.lanes, self._history, self._findings, self._report)
        for lane, end in ends.items():
            await balance.compare(lane, end)
        self._compare_accounts(books)
        tally = self._history.tally
        invoices = InvoiceAudit(books, tally.usage, tally.ends, tally.drawn)
        await asyncio.to_thread(invoices.check, self._findings)
        return self._finish(books, invoices, started_ms)

    async def _positions(self) -> dict[int, int]:
        """Fix, for every lane, up to where to compare: what is folded now, once RAW has it."""
        ends: dict[int, int] = {}
        for lane in range(self._log.lanes):
            header = (await self._live.view(lane, [])).header
            if header is None or header.state != READY:
                self._findings.add("lane", f"lane {lane}", "is not ready in LIVE; rebuild it")
                ends[lane] = (await rows.progress(self._raw)).get((self._log.epoch, lane), 0)
            elif header.epoch != self._log.epoch:
                self._findings.add("lane", f"lane {lane}", f"LIVE has epoch {header.epoch}, the log {self._log.epoch}")
                ends[lane] = 0
            else:
                ends[lane] = header.next
        await self._flush()
        deadline_ms = self._clock.monotonic_ms() + _SINK_WAIT_MS
        while True:
            sunk = await rows.progress(self._raw)
            behind = [lane for lane, end in ends.items() if sunk.get((self._log.epoch, lane), 0) < end]
            if not behind:
                return ends
            if self._clock.monotonic_ms() > deadline_ms:
                for lane in behind:
                    have = sunk.get((self._log.epoch, lane), 0)
                    self._findings.add("sink", f"lane {lane}", f"RAW ends at {have}, LIVE folded to {ends[lane]}")
                    ends[lane] = have
                return ends
            await asyncio.sleep(_POLL_S)

    def _compare_accounts(self, books: rows.Books) -> None:
        """Every change that SQL has committed is in the log."""
        for account in books.accounts:
            ledger = self._history.judge.ledgers.get(ids.id_bytes(account["customer_id"]))
            shown = 0 if ledger is None else ledger.rev
            if shown < account["rev"]:
                what = f"SQL has rev {account['rev']}, the log shows {shown}"
                self._findings.add("account", account["customer_id"], what)

    def _finish(self, books: rows.Books, invoices: InvoiceAudit, started_ms: float) -> Report:
        report, findings, tally = self._report, self._findings, self._history.tally
        report.organizations = tally.reports(books.features, findings)
        for name in ("events", "events_counted", "keys_counted", "rows", "rows_counted"):
            setattr(report, name, sum(getattr(one, name) for one in report.organizations))
        report.verdicts = dict(sorted(tally.verdicts.items()))
        report.corrections = self._history.judge.corrected.count
        report.invoices, report.invoice_lines = len(books.invoices), len(books.lines)
        report.closes_due = sum(close["state"] == "cut" for close in books.closes)
        report.unbilled = invoices.unbilled
        report.differences = findings.kept
        report.difference_kinds = dict(findings.kinds)
        report.difference_count = findings.kinds.total()
        report.unjudged = dict(sorted(invoices.unjudged.items()))
        fine = "incomplete" if report.unjudged else "consistent"
        report.verdict = "differences" if report.difference_count else fine
        report.seconds = round((self._clock.monotonic_ms() - started_ms) / 1000, 3)
        return report
