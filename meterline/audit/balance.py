"""LIVE against the audit's reckoning: snapshots, accounts and keys, each at the position that was read with it."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Final

from kernel import ids
from kernel.engine.live.base import READY, AccountState, LaneHeader, Live
from kernel.lane import lane_of
from kernel.limits import GENERATION_MS, GENERATIONS_READ, KEY_MEMORY_MS
from kernel.quantity import canonical
from meterline.audit.decoding import AccountRecord, decode_account, decode_outcomes, event_id
from meterline.audit.history import History
from meterline.audit.judge import DEAD, Ledger
from meterline.audit.report import Findings, Report

_CUSTOMERS_A_LOOK: Final = 500
_DIGESTS_A_LOOK: Final = 2_000


class Balance:
    """Compares lanes of LIVE with what a history has learnt of them."""

    def __init__(self, live: Live, lanes: int, history: History, findings: Findings, report: Report) -> None:
        self._live = live
        self._lanes = lanes
        self._history = history
        self._judge = history.judge
        self._findings = findings
        self._report = report

    async def compare(self, lane: int, judged: int) -> None:
        """Compare a lane that was judged up to offset `judged`, and judge on where LIVE has moved on."""
        customers = [customer for customer in self._judge.ledgers if lane_of(customer, self._lanes) == lane]
        header: LaneHeader | None = None
        for some in _slices(customers, _CUSTOMERS_A_LOOK):
            view = await self._live.view(lane, some)
            header = view.header
            if header is None or header.state != READY or header.next < judged:
                self._findings.add("lane", f"lane {lane}", "left the state that it was in when the audit began")
                return
            judged = await self._advance(lane, judged, header)
            for customer, state in zip(some, view.accounts, strict=True):
                self._same_account(customer, self._judge.ledgers[customer], state)
        if header is not None:
            await self._compare_keys(lane)
            await self._compare_whole(lane, judged, set(customers))

    async def _advance(self, lane: int, judged: int, header: LaneHeader) -> int:
        """Judge what the log took meanwhile, and compare with the outcomes in LIVE."""
        target = header.next
        logged = await self._history.logged(lane, judged, target)
        offsets = sorted(logged)
        outcomes = await self._live.outcomes(lane, offsets, epoch=header.epoch) if offsets else []
        for offset, outcome in zip(offsets, outcomes, strict=True):
            record = logged[offset]
            if isinstance(record, AccountRecord):
                self._judge.take_record(record)
                continue
            said = [] if outcome is None else decode_outcomes(outcome)
            for index, attempt in enumerate(record):
                ruling = self._judge.rule(attempt, died=bool(said) and said[index][0] == DEAD)
                if said and said[index][0] != ruling.verdict:
                    where = event_id(attempt.position)
                    self._findings.same("verdict", where, "LIVE's verdict", said[index][0], ruling.verdict)
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
        drawn = {key: (window.end, window.now, window.at_cut) for key, window in ledger.kept_draws().items()}
        for window in account.draws.keys() | drawn.keys():
            name = f"draws of term {window[0]} window {window[1]}"
            self._findings.same("live", where, name, account.draws.get(window), drawn.get(window))
        spent = ledger.kept_spent()
        for key in account.spent.keys() | spent.keys():
            name = f"what {ids.id_text(ids.FEATURE, key[0])} took in term {key[1]} window {key[2]}"
            self._findings.same("live", where, name, account.spent.get(key), spent.get(key))
        self._findings.same("live", where, "packs drawn", account.packs, ledger.pool.packs)
        for key, (_, now, _) in account.totals.items():
            self._history.tally.in_live(ledger.organization, key[0], now)
        self._report.accounts += 1

    async def _compare_keys(self, lane: int) -> None:
        """Every key that counted, or is dead, and is not too old has its 34 bytes in LIVE, or may be in a filter."""
        clock = self._judge.clocks.get(lane, 0)
        newest = clock // GENERATION_MS
        generations = [newest - back for back in range(GENERATIONS_READ) if newest >= back]
        due = [
            digest
            for digest, entry in self._judge.keys.items()
            if entry.kind != "r"
            and clock - entry.at_ms <= KEY_MEMORY_MS
            and lane_of(self._judge.customers[digest], self._lanes) == lane
        ]
        for some in _slices(due, _DIGESTS_A_LOOK):
            look = await self._live.look({lane: some}, generations)
            maybe = look.maybe.get(lane, frozenset())
            for place, (digest, found) in enumerate(zip(some, look.entries.get(lane, []), strict=True)):
                entry = self._judge.keys[digest]
                if found != entry.to_bytes() and place not in maybe:
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
                for digest in entries.keys() - self._judge.keys.keys():
                    self._findings.add("key", f"digest {digest.hex()}", "LIVE remembers a key that no record has")


def _slices(items: Iterable[bytes], size: int) -> Iterable[Sequence[bytes]]:
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _total(total: tuple[int, Decimal, Decimal] | None) -> str:
    if total is None:
        return "absent"
    end, now, at_cut = total
    return f"{canonical(now)} now, {canonical(at_cut)} at the cut, ends {end}"
