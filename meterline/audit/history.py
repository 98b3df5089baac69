"""From the first record to where LIVE is: each record judged again, and compared with its rows in RAW.

What the log still holds is taken from the log; for what it has trimmed RAW's word on what was sent has to do, and the
report says so.
"""

import asyncio
from collections import defaultdict
from typing import Final

from kernel.engine.log.base import Log
from kernel.engine.raw.base import Raw
from kernel.errors import OffsetGone
from meterline.audit import rows
from meterline.audit.decoding import AccountRecord, Attempt, decode_record, event_id
from meterline.audit.judge import COUNTED, DEAD, Judge, Ruling
from meterline.audit.report import Findings, Report
from meterline.audit.tally import Tally

CHUNK_ROWS: Final = 20_000
_STEP_FIRST: Final = 512
_STEP_MAX: Final = 65_536
_READ_RECORDS: Final = 512

Logged = dict[int, list[Attempt] | AccountRecord]


class History:
    """Goes through lanes; what it learns is in `judge` and `tally`, what it finds in `findings`."""

    def __init__(self, log: Log, raw: Raw, findings: Findings, report: Report) -> None:
        self._log, self._raw = log, raw
        self._findings = findings
        self._report = report
        self.judge = Judge()
        self.tally = Tally()

    async def go_through(self, epoch: int, lane: int, end: int) -> None:
        """Judge and compare one lane up to offset `end`, piece by piece, the reckoning on a thread of its own."""
        begin = end
        if epoch == self._log.epoch:
            begin = min((await self._log.bounds(lane)).begin, end)
        self._report.log_complete &= begin == 0
        start, step = 0, _STEP_FIRST
        while start < end:
            stop = min(start + step, end)
            stored = await rows.stored_events(self._raw, epoch, lane, start, stop)
            records = await rows.stored_records(self._raw, epoch, lane, start, stop)
            logged = {} if stop <= begin else await self.logged(lane, max(start, begin), stop)
            await asyncio.to_thread(self._piece, (epoch, lane, start, stop), stored, records, logged)
            if len(stored) < CHUNK_ROWS:
                step = min(step * 2, _STEP_MAX)
            start = stop

    async def logged(self, lane: int, start: int, stop: int) -> Logged:
        """Read and decode records of the log; nothing for those that it trimmed meanwhile."""
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
                    decoded = decode_record(self._log.epoch, lane, record.offset, record.time_ms, record.data)
                except ValueError as error:
                    where = f"{self._log.epoch}.{lane}.{record.offset}"
                    self._findings.add("record", where, f"does not decode: {error}")
                else:
                    found[record.offset] = decoded
            start = read[-1].offset + 1
        return found

    def _piece(
        self,
        span: tuple[int, int, int, int],
        stored: list[rows.Stored],
        records: dict[int, AccountRecord],
        logged: Logged,
    ) -> None:
        """Judge and compare the records of one lane from `start` up to `stop`."""
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
                self._account_record(where, record, records.get(offset))
            elif record is None and not here:
                self._findings.add("raw", where, "the log no longer has it, and RAW has nothing of it")
            else:
                self._events(where, record, here)

    def _account_record(self, where: str, logged: AccountRecord | None, stored: AccountRecord | None) -> None:
        self._report.account_records += 1
        if logged is not None and stored != logged:
            self._findings.add("raw", where, "the account record of the log is not the one in RAW")
        record = logged or stored
        assert record is not None, "called for an account record"
        self.judge.take_record(record)

    def _events(self, where: str, logged: list[Attempt] | None, stored: list[rows.Stored]) -> None:
        """Rule on the events of one record (the log's, else those in RAW) and compare with the rows."""
        by_index = {row.attempt.position[3]: row for row in stored}
        attempts = [row.attempt for row in stored] if logged is None else logged
        if [attempt.position[3] for attempt in attempts] != list(range(len(attempts))) or len(stored) != len(attempts):
            self._findings.add("raw", where, f"the record has {len(attempts)} events, RAW has {len(stored)} rows")
        for attempt in attempts:
            row = by_index.pop(attempt.position[3], None)
            expected = self.judge.corrected.misfit(attempt)
            ruling = self.judge.rule(attempt, died=row is not None and row.verdict == DEAD)
            if expected is not None and ruling.verdict == COUNTED:
                where = event_id(attempt.position)
                self._findings.same("correction", where, "what it corrects", attempt.corrects, expected)
            self.tally.rule(attempt, ruling)
            if row is None:
                self._findings.add("raw", event_id(attempt.position), "the event has no row in RAW")
                continue
            self._same_facts(attempt, row)
            self._same_ruling(row, ruling)
        for index in by_index:
            self._findings.add("raw", f"{where}.{index}", "RAW has a row that the log does not have")
        for row in stored:
            self.tally.row(row, self._findings)

    def _same_facts(self, attempt: Attempt, row: rows.Stored) -> None:
        if row.attempt == attempt and row.accepted_ms == attempt.accepted_ms:
            return
        where = event_id(attempt.position)
        for name in Attempt._fields:
            self._findings.same("raw", where, name, _shown(getattr(row.attempt, name)), _shown(getattr(attempt, name)))
        self._findings.same("raw", where, "accepted_at", row.accepted_ms, attempt.accepted_ms)

    def _same_ruling(self, row: rows.Stored, ruling: Ruling) -> None:
        full = (row.verdict, row.code, row.term, row.window, row.window_end, row.cut)
        # What does not count has no window; the words of a dead letter are the pipeline's own.
        compared = 6 if ruling.verdict == COUNTED else 1 if ruling.verdict == DEAD else 2
        found, expected = full[:compared], tuple(ruling[:compared])
        original = "" if ruling.original is None else event_id(ruling.original)
        if (found, row.original, row.taken) != (expected, original, ruling.taken):
            where = event_id(row.attempt.position)
            self._findings.same("verdict", where, "the verdict", found, expected)
            self._findings.same("verdict", where, "the original", row.original, original)
            self._findings.same("verdict", where, "what it drew", tuple(row.taken), tuple(ruling.taken))


def _shown(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
