"""The fold once more, naively: one event after the other, in plain Python, with code of the audit's own. Pure.

It is told each attempt and account record in the order of the log and says what the verdict has to be. What it cannot
know is told: that the pipeline's code raised on an event (`dead`). Source: DESIGN 3.5, 3.8; R-TRACK-12, R-TRACK-13.
"""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, Inexact, InvalidOperation
from functools import lru_cache
from typing import Final, NamedTuple

from kernel.limits import KEY_MEMORY_MS, START_SLACK_MS
from meterline.audit.decoding import AccountRecord, Attempt, FeatureRule, KeyEntry, Position, TermsRule, letter_digest

COUNTED: Final = "counted"
DEAD: Final = "dead"
KEEP_DAYS: Final = 36  # windows stay in LIVE until this long after their end
_DAY_US: Final = 86_400_000_000
_DAY_MS: Final = 86_400_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_NO_REQUEST: Final = bytes(8)
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation])

WindowKey = tuple[bytes, int, int]  # feature, term, first day


class Ruling(NamedTuple):
    """What the verdict has to be. `original` is the place of the attempt that holds the key."""

    verdict: str
    code: str = ""
    term: int = 0
    window: int = 0
    window_end: int = 0
    cut: int = 0
    original: Position | None = None


@dataclass
class Window:
    """Usage of one feature in one window: now, and at the last cut."""

    end: int
    now: Decimal = Decimal(0)
    at_cut: Decimal = Decimal(0)


@dataclass
class Ledger:
    """One customer, as the audit reckons it."""

    organization: bytes
    record: AccountRecord | None = None
    clock_ms: int = 0
    cut: int = 0
    windows: dict[WindowKey, Window] = field(default_factory=dict)

    @property
    def rev(self) -> int:
        """Tell the revision in force."""
        return 0 if self.record is None else self.record.rev

    def kept(self) -> dict[WindowKey, Window]:
        """Tell the windows that LIVE keeps by the account's clock."""
        oldest = self.clock_ms // _DAY_MS - KEEP_DAYS
        return {key: window for key, window in self.windows.items() if window.end > oldest}


class Judge:
    """All accounts and keys, as far as they were told."""

    def __init__(self) -> None:
        self.ledgers: dict[bytes, Ledger] = {}
        self.keys: dict[bytes, KeyEntry] = {}
        self.clocks: dict[int, int] = {}
        self.customers: dict[bytes, bytes] = {}  # whose a key is

    def begin_epoch(self, lanes: int) -> None:
        """Start an epoch of `lanes` lanes: their clocks stand where the latest of all older lanes stood."""
        latest = max(self.clocks.values(), default=0)
        self.clocks = dict.fromkeys(range(lanes), latest)

    def ledger(self, organization: bytes, customer: bytes) -> Ledger:
        """Find or open a customer's ledger."""
        return self.ledgers.setdefault(customer, Ledger(organization))

    def take_record(self, record: AccountRecord) -> None:
        """Take an account record: ignored unless its `rev` is higher; a higher cut freezes the totals."""
        ledger = self.ledger(record.organization, record.customer)
        if record.rev <= ledger.rev:
            return
        ledger.record = record
        if record.cut > ledger.cut:
            ledger.cut = record.cut
            for window in ledger.windows.values():
                window.at_cut = window.now

    def rule(self, attempt: Attempt, *, died: bool) -> Ruling:
        """Rule on one attempt and keep what follows from it; `died` says that the pipeline's own code raised on it."""
        lane = attempt.position[1]
        clock = self.clocks[lane] = max(self.clocks.get(lane, 0), attempt.effective_ms)
        ledger = self.ledger(attempt.organization, attempt.customer)
        ledger.clock_ms = max(ledger.clock_ms, attempt.accepted_ms)
        entry = self.keys.get(attempt.digest) if attempt.digest else None
        if entry is not None and clock - entry.at_ms > KEY_MEMORY_MS:
            entry = None
        ruling = self._by_key(attempt, entry)
        if ruling is None:
            ruling = Ruling(DEAD) if died else self._by_terms(attempt, ledger)
            if died and attempt.replays is not None:
                return Ruling(DEAD, original=attempt.replays)
            self._remember(attempt, ruling)
        return ruling

    def _by_key(self, attempt: Attempt, entry: KeyEntry | None) -> Ruling | None:
        replay = attempt.replays is not None
        if entry is None:
            return Ruling("superseded") if replay else None
        if entry.kind == "n":
            if attempt.request != _NO_REQUEST and attempt.request == entry.request:
                return Ruling("repeat", original=entry.position)
            return Ruling("duplicate" if attempt.content == entry.content else "conflict", original=entry.position)
        if entry.kind == "d":
            return None if attempt.replays == entry.position else Ruling(DEAD, original=entry.position)
        return Ruling("superseded") if replay or attempt.effective_ms < entry.at_ms else None

    def _by_terms(self, attempt: Attempt, ledger: Ledger) -> Ruling:
        record = ledger.record
        if record is None or record.terms is None or record.status != "active":
            return Ruling("refused", "no_active_subscription")
        start_us = record.terms.start_us
        if attempt.event_time_us < start_us - START_SLACK_MS * 1_000:
            return Ruling("refused", "no_active_subscription")
        if record.end_us is not None and attempt.event_time_us >= record.end_us:
            return Ruling("refused", "no_active_subscription")
        day = max(attempt.event_time_us, start_us) // _DAY_US
        first, end = window_of(record.terms.anchor, day)
        terms = _terms_of(record, first)
        rule = terms.features.get(attempt.feature)
        if rule is None or not rule.enabled or rule.kind != "metered":
            return Ruling("refused", "feature_not_in_plan")
        return self._by_amount(attempt, ledger, rule, Ruling(COUNTED, "", terms.number, first, end, ledger.cut + 1))

    def _by_amount(self, attempt: Attempt, ledger: Ledger, rule: FeatureRule, counted: Ruling) -> Ruling:
        if counted.window_end <= ledger.clock_ms // _DAY_MS - KEEP_DAYS:  # LIVE has forgotten the window
            return Ruling("refused", "no_active_subscription")
        key = (attempt.feature, counted.term, counted.window)
        window = ledger.windows.get(key)
        after = _EXACT.add(Decimal(0) if window is None else window.now, attempt.quantity)
        if attempt.quantity and rule.limited and rule.included is not None and after > rule.included:
            return Ruling("blocked", "included_limit_reached")
        ledger.windows.setdefault(key, Window(counted.window_end)).now = after
        return counted

    def _remember(self, attempt: Attempt, ruling: Ruling) -> None:
        kind = {COUNTED: "n", "blocked": "r", "refused": "r", DEAD: "d"}.get(ruling.verdict)
        if attempt.replays is not None and kind != "n":
            return  # the dead letter stays as it was
        name = attempt.digest or (letter_digest(attempt.position) if kind == "d" else b"")
        if kind is None or not name:
            return
        self.customers[name] = attempt.customer
        self.keys[name] = KeyEntry(kind, attempt.position, attempt.effective_ms, attempt.content, attempt.request)


def _terms_of(record: AccountRecord, window: int) -> TermsRule:
    if record.next is not None and window >= record.next.since:
        return record.next
    assert record.terms is not None, "asked only of a customer with terms"
    return record.terms


@lru_cache(maxsize=4_096)
def window_of(anchor: int, day: int) -> tuple[int, int]:
    """Find the month from the anchor that holds `day`: its first day and the day after its last (R-INT-1, R-INT-2)."""
    start = date.fromordinal(anchor + _EPOCH)
    number = 0
    while _boundary(start, number) > day:
        number -= 1
    while _boundary(start, number + 1) <= day:
        number += 1
    return _boundary(start, number), _boundary(start, number + 1)


def _boundary(start: date, months: int) -> int:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1])).toordinal() - _EPOCH
