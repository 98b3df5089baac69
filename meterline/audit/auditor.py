"""The audit: everything recomputed from log and RAW, and compared with what LIVE, RAW and the invoices say.

Invariants: it changes nothing; it may run beside usage, because each comparison stands at a position of the log that
was read together with what it is compared to; it imports `kernel` alone. Source: DESIGN 3.10.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Context, Decimal, Inexact
from itertools import islice
from typing import Final

from kernel import ids
from kernel.clock import Clock
from kernel.engine.live.base import READY, AccountState, LaneHeader, Live
from kernel.engine.log.base import Log
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from kernel.errors import OffsetGone
from kernel.lane import lane_of
from kernel.limits import GENERATION_MS, GENERATIONS_READ, KEY_MEMORY_MS
from kernel.quantity import canonical
from meterline.audit import rows
from meterline.audit.decoding import (
    AccountRecord,
    Attempt,
    Position,
    decode_account,
    decode_outcomes,
    decode_record,
    event_id,
)
from meterline.audit.invoices import CountedUsage, InvoiceAudit
from meterline.audit.judge import COUNTED, DEAD, Judge, Ledger, Ruling
from meterline.audit.report import FeatureSum, Findings, KeySet, OrganizationReport, Report

CHUNK_ROWS: Final = 20_000
_STEP_FIRST: Final = 512
_STEP_MAX: Final = 65_536
_READ_RECORDS: Final = 512
_CUSTOMERS_A_LOOK: Final = 500
_DIGESTS_A_LOOK: Final = 2_000
_SINK_WAIT_MS: Final = 60_000
_POLL_S: Final = 0.05
_EXACT: Final = Context(prec=60, traps=[Inexact])

Logged = dict[int, list[Attempt] | AccountRecord]


class Tally:
    """What one organization's usage amounts to, on both sides."""

    def __init__(self) -> None:
        self.events = self.counted = self.rows = self.rows_counted = 0
        self.keys, self.row_keys = KeySet(), KeySet()
        self.sums: dict[str, dict[bytes, Decimal]] = {
            side: defaultdict(lambda: Decimal(0)) for side in ("log", "raw", "live")
        }

    def add(self, side: str, feature: bytes, quantity: Decimal) -> None:
        """Add counted usage to one side's sum."""
        self.sums[side][feature] = _EXACT.add(self.sums[side][feature], quantity)


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
        self._judge = Judge()
        self._tallies: dict[bytes, Tally] = defaultdict(Tally)
        self._verdicts: Counter[str] = Counter()
        self._counted: dict[bytes, tuple[int, Position]] = {}
        self._usage: CountedUsage = defaultdict(dict)
        self._ends: dict[tuple[str, str, int, int], int] = {}

    async def run(self) -> Report:
        """Audit everything and report."""
        started = self._clock.monotonic_ms()
        books = await rows.books(self._sql)
        ends = await self._positions()
        sunk = await rows.progress(self._raw)
        for (epoch, lane), following in sorted(sunk.items()):
            if epoch < self._log.epoch:
                await self._lane(epoch, lane, following)
        judged = {}
        for lane, end in ends.items():
            await self._lane(self._log.epoch, lane, end)
            judged[lane] = end
        for lane, end in judged.items():
            await self._compare_live(lane, end)
        for account in books.accounts:
            ledger = self._judge.ledgers.get(ids.id_bytes(account["customer_id"]))
            if (0 if ledger is None else ledger.rev) < account["rev"]:
                found = 0 if ledger is None else ledger.rev
                self._findings.add(
                    "account", account["customer_id"], f"SQL has rev {account['rev']}, the log shows {found}"
                )
        invoices = InvoiceAudit(books, self._usage, self._ends)
        invoices.check(self._findings)
        return self._finish(books, invoices, self._clock.monotonic_ms() - started)

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
        deadline = self._clock.monotonic_ms() + _SINK_WAIT_MS
        while True:
            sunk = await rows.progress(self._raw)
            behind = [lane for lane, end in ends.items() if sunk.get((self._log.epoch, lane), 0) < end]
            if not behind:
                return ends
            if self._clock.monotonic_ms() > deadline:
                for lane in behind:
                    have = sunk.get((self._log.epoch, lane), 0)
                    self._findings.add(
                        "sink", f"lane {lane}", f"RAW has everything below {have}, LIVE folded to {ends[lane]}"
                    )
                    ends[lane] = have
                return ends
            await asyncio.sleep(_POLL_S)

    async def _lane(self, epoch: int, lane: int, end: int) -> None:
        """Go through one lane from its first record, piece by piece, the reckoning on a thread of its own."""
        begin = end
        if epoch == self._log.epoch:
            begin = min((await self._log.bounds(lane)).begin, end)
            self._report.log_complete &= begin == 0
        else:
            self._report.log_complete = False
        start, step = 0, _STEP_FIRST
        while start < end:
            stop = min(start + step, end)
            stored = await rows.stored_events(self._raw, epoch, lane, start, stop)
            records = await rows.stored_records(self._raw, epoch, lane, start, stop)
            logged = {} if stop <= begin else await self._logged(lane, max(start, begin), stop)
            await asyncio.to_thread(self._piece, (epoch, lane, start, stop), stored, records, logged)
            if len(stored) < CHUNK_ROWS:
                step = min(step * 2, _STEP_MAX)
            start = stop

    async def _logged(self, lane: int, start: int, stop: int) -> Logged:
        """Read and decode records of the log; empty for what it trimmed meanwhile."""
        found: Logged = {}
        while start < stop:
            try:
                read = await self._log.read(lane, start, records_max=min(_READ_RECORDS, stop - start), wait_ms=0)
            except OffsetGone:
                begin = (await self._log.bounds(lane)).begin
                if begin <= start:
                    raise
                start, self._report.log_complete = begin, False
                continue
            if not read:
                self._findings.add("log", f"lane {lane}", f"ends at {start}, LIVE folded to {stop}")
                break
            for record in read:
                try:
                    found[record.offset] = decode_record(
                        self._log.epoch, lane, record.offset, record.time_ms, record.data
                    )
                except ValueError as error:
                    self._findings.add(
                        "record", f"{self._log.epoch}.{lane}.{record.offset}", f"does not decode: {error}"
                    )
            start = read[-1].offset + 1
        return found

    def _piece(
        self,
        span: tuple[int, int, int, int],
        stored: list[rows.Stored],
        records: dict[int, AccountRecord],
        logged: Logged,
    ) -> None:
        """Reckon and compare the records of one lane from `start` up to `stop`."""
        epoch, lane, start, stop = span
        by_offset: dict[int, list[rows.Stored]] = defaultdict(list)
        for row in stored:
            by_offset[row.attempt.position[2]].append(row)
        for offset in range(start, stop):
            here = by_offset.get(offset, [])
            record = logged.get(offset)
            where = f"{epoch}.{lane}.{offset}"
            self._report.records += 1
            if isinstance(record, AccountRecord) or (record is None and offset in records):
                self._account_record(where, record if isinstance(record, AccountRecord) else None, records.get(offset))
            elif record is None and not here:
                self._findings.add("raw", where, "the log no longer has it, and RAW has nothing of it")
            else:
                self._events(where, record if isinstance(record, list) else None, here)

    def _account_record(self, where: str, logged: AccountRecord | None, stored: AccountRecord | None) -> None:
        self._report.account_records += 1
        if logged is not None and stored != logged:
            self._findings.add("raw", where, "the account record of the log is not the one in RAW")
        record = logged or stored
        assert record is not None, "called for an account record"
        self._judge.take_record(record)

    def _events(self, where: str, logged: list[Attempt] | None, stored: list[rows.Stored]) -> None:
        """Rule on the events of one record (the log's, else those in RAW) and compare with the rows."""
        by_index = {row.attempt.position[3]: row for row in stored}
        attempts = [row.attempt for row in stored] if logged is None else logged
        indexes = [attempt.position[3] for attempt in attempts]
        if indexes != list(range(len(attempts))) or len(stored) != len(attempts):
            self._findings.add("raw", where, f"the record has {len(attempts)} events, RAW has {len(stored)} rows")
        for attempt in attempts:
            row = by_index.pop(attempt.position[3], None)
            ruling = self._judge.rule(attempt, died=row is not None and row.verdict == DEAD)
            self._tally_log(attempt, ruling)
            if row is None:
                self._findings.add("raw", event_id(attempt.position), "the event has no row in RAW")
                continue
            if logged is not None:
                self._same_facts(attempt, row)
            self._same_ruling(row, ruling)
        for index in by_index:
            self._findings.add("raw", f"{where}.{index}", "RAW has a row that the log does not have")
        for row in stored:
            self._tally_row(row)

    def _tally_log(self, attempt: Attempt, ruling: Ruling) -> None:
        tally = self._tallies[attempt.organization]
        self._verdicts[ruling.verdict] += 1
        tally.events += 1
        if ruling.verdict != COUNTED:
            return
        tally.counted += 1
        tally.add("log", attempt.feature, attempt.quantity)
        if attempt.key:
            tally.keys.add(ids.id_text(ids.CUSTOMER, attempt.customer), attempt.key)

    def _tally_row(self, row: rows.Stored) -> None:
        attempt = row.attempt
        tally = self._tallies[attempt.organization]
        tally.rows += 1
        if row.verdict != COUNTED:
            return
        tally.rows_counted += 1
        tally.add("raw", attempt.feature, attempt.quantity)
        customer = ids.id_text(ids.CUSTOMER, attempt.customer)
        if attempt.key:
            tally.row_keys.add(customer, attempt.key)
        window = (customer, ids.id_text(ids.FEATURE, attempt.feature), row.term, row.window)
        cuts = self._usage[window]
        cuts[row.cut] = _EXACT.add(cuts.get(row.cut, Decimal(0)), attempt.quantity)
        self._ends[window] = row.window_end
        if attempt.digest:
            before = self._counted.get(attempt.digest)
            if before is not None and attempt.effective_ms - before[0] <= KEY_MEMORY_MS:
                what = f"its key is counted at {event_id(before[1])} already"
                self._findings.add("counted twice", event_id(attempt.position), what)
            self._counted[attempt.digest] = (attempt.effective_ms, attempt.position)

    def _same_facts(self, attempt: Attempt, row: rows.Stored) -> None:
        where = event_id(attempt.position)
        for name in Attempt._fields:
            self._findings.same("raw", where, name, _shown(getattr(row.attempt, name)), _shown(getattr(attempt, name)))
        self._findings.same("raw", where, "accepted_at", row.accepted_ms, attempt.accepted_ms)

    def _same_ruling(self, row: rows.Stored, ruling: Ruling) -> None:
        where = event_id(row.attempt.position)
        full = (row.verdict, row.code, row.term, row.window, row.window_end, row.cut)
        # What does not count has no window; the words of a dead letter are the pipeline's own.
        compared = 6 if ruling.verdict == COUNTED else 1 if ruling.verdict == DEAD else 2
        found, expected = full[:compared], tuple(ruling[:compared])
        self._findings.same("verdict", where, "the verdict", found, expected)
        original = "" if ruling.original is None else event_id(ruling.original)
        self._findings.same("verdict", where, "the original", row.original, original)

    async def _compare_live(self, lane: int, judged: int) -> None:
        """Compare accounts and keys of a lane, each at the position that was read with it."""
        customers = [customer for customer in self._judge.ledgers if lane_of(customer, self._log.lanes) == lane]
        header: LaneHeader | None = None
        for some in _slices(customers, _CUSTOMERS_A_LOOK):
            view = await self._live.view(lane, some)
            header = view.header
            if header is None or header.state != READY or header.next < judged:
                self._findings.add("lane", f"lane {lane}", "left the state that it was in when the audit began")
                return
            judged = await self._advance(lane, judged, header.next)
            for customer, state in zip(some, view.accounts, strict=True):
                self._same_account(customer, self._judge.ledgers[customer], state)
        if header is not None:
            await self._compare_keys(lane)
            await self._compare_whole(lane, judged, set(customers))

    async def _advance(self, lane: int, judged: int, target: int) -> int:
        """Judge what the log took meanwhile, and compare with the outcomes in LIVE."""
        logged = await self._logged(lane, judged, target)
        offsets = sorted(logged)
        outcomes = await self._live.outcomes(lane, offsets) if offsets else []
        for offset, outcome in zip(offsets, outcomes, strict=True):
            record = logged[offset]
            self._report.records += 1
            if isinstance(record, AccountRecord):
                self._report.account_records += 1
                self._judge.take_record(record)
                continue
            said = [] if outcome is None else decode_outcomes(outcome)
            for index, attempt in enumerate(record):
                died = bool(said) and said[index][0] == DEAD
                ruling = self._judge.rule(attempt, died=died)
                if said:
                    self._findings.same(
                        "verdict", event_id(attempt.position), "LIVE's verdict", said[index][0], ruling.verdict
                    )
        return target

    def _same_account(self, customer: bytes, ledger: Ledger, state: AccountState) -> None:
        where = f"account {ids.id_text(ids.CUSTOMER, customer)}"
        if state.account is None:
            self._findings.add("live", where, "LIVE has no account")
            return
        account = decode_account(state.account)
        body = None if ledger.record is None else ledger.record.body
        if state.snapshot != body:
            self._findings.add("live", where, "LIVE's snapshot is not the one with the greatest rev")
        self._findings.same("live", where, "rev", account.rev, ledger.rev)
        self._findings.same("live", where, "clock", account.clock_ms, ledger.clock_ms)
        self._findings.same("live", where, "cut", account.cut, ledger.cut)
        expected = {key: (window.end, window.now, window.at_cut) for key, window in ledger.kept().items()}
        for key in account.totals.keys() | expected.keys():
            name = f"{ids.id_text(ids.FEATURE, key[0])} term {key[1]} window {key[2]}"
            self._findings.same("live", where, name, _total(account.totals.get(key)), _total(expected.get(key)))
        tally = self._tallies[ledger.organization]
        for key, (_, now, _) in account.totals.items():
            tally.add("live", key[0], now)
        self._report.accounts += 1

    async def _compare_keys(self, lane: int) -> None:
        """Every key that counted, or is dead, and is not too old has its 34 bytes in LIVE."""
        clock = self._judge.clocks.get(lane, 0)
        newest = clock // GENERATION_MS
        generations = [newest - back for back in range(GENERATIONS_READ) if newest >= back]
        due = [
            digest
            for digest, entry in self._judge.keys.items()
            if entry.kind != "r" and entry.position[1] == lane and clock - entry.at_ms <= KEY_MEMORY_MS
        ]
        for some in _slices(due, _DIGESTS_A_LOOK):
            look = await self._live.look({lane: some}, generations)
            for digest, found in zip(some, look.entries.get(lane, []), strict=True):
                entry = self._judge.keys[digest]
                if found != entry.to_bytes():
                    what = "LIVE does not know its key" if found is None else "LIVE has another entry for its key"
                    self._findings.add("key", event_id(entry.position), what)
            self._report.keys_live += len(some)

    async def _compare_whole(self, lane: int, judged: int, customers: set[bytes]) -> None:
        """Look for what LIVE has and should not; only while nothing moves."""
        dump = await self._live.dump(lane)
        header = (await self._live.view(lane, [])).header
        if header is None or header.next != judged:
            self._report.notes.append(f"lane {lane} was busy: entries that LIVE should not have were not looked for")
            return
        for customer in dump.get("accounts", {}).keys() - customers:
            self._findings.add("live", f"account {ids.id_text(ids.CUSTOMER, customer)}", "no record speaks of it")
        for name, entries in dump.items():
            if name.startswith("keys:"):
                strange = [d for d, entry in entries.items() if d not in self._judge.keys and entry[:1] != b"d"]
                for digest in strange:
                    self._findings.add("key", f"digest {digest.hex()}", "LIVE remembers a key that no record has")

    def _finish(self, books: rows.Books, invoices: InvoiceAudit, took_ms: float) -> Report:
        report, findings = self._report, self._findings
        for organization, tally in sorted(self._tallies.items()):
            report.organizations.append(self._organization(organization, tally, books.features))
            if (tally.keys.count, tally.keys.fingerprint) != (tally.row_keys.count, tally.row_keys.fingerprint):
                where = ids.id_text(ids.ORGANIZATION, organization)
                findings.add(
                    "keys", where, f"{tally.keys.count} keys by the log, {tally.row_keys.count} in RAW, or others"
                )
        for name in ("events", "events_counted", "keys_counted", "rows", "rows_counted"):
            setattr(report, name, sum(getattr(one, name) for one in report.organizations))
        report.verdicts = dict(sorted(self._verdicts.items()))
        report.invoices, report.invoice_lines = len(books.invoices), len(books.lines)
        report.closes_due = sum(close["state"] == "cut" for close in books.closes)
        report.unbilled = invoices.unbilled
        report.differences = findings.kept
        report.difference_kinds = dict(findings.kinds)
        report.difference_count = findings.kinds.total()
        report.verdict = "differences" if report.difference_count else "consistent"
        report.seconds = round(took_ms / 1000, 3)
        return report

    def _organization(self, organization: bytes, tally: Tally, codes: dict[str, str]) -> OrganizationReport:
        features = sorted(set().union(*(side.keys() for side in tally.sums.values())))
        sums = []
        for feature in features:
            log, raw, live = (canonical(tally.sums[side][feature]) for side in ("log", "raw", "live"))
            name = ids.id_text(ids.FEATURE, feature)
            sums.append(FeatureSum(codes.get(name, name), log, raw, live))
        return OrganizationReport(
            organization=ids.id_text(ids.ORGANIZATION, organization),
            events=tally.events,
            events_counted=tally.counted,
            keys_counted=tally.keys.count,
            keys_fingerprint=tally.keys.fingerprint,
            rows=tally.rows,
            rows_counted=tally.rows_counted,
            rows_fingerprint=tally.row_keys.fingerprint,
            features=sums,
        )


def _slices(items: Iterable[bytes], size: int) -> Iterable[Sequence[bytes]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _total(total: tuple[int, Decimal, Decimal] | None) -> str:
    if total is None:
        return "absent"
    end, now, at_cut = total
    return f"{canonical(now)} now, {canonical(at_cut)} at the cut, ends {end}"
