"""The fold once more, naively: one event after the other, in plain Python, with code of the audit's own. Pure.

It is told each attempt and account record in the order of the log and says what the verdict has to be. What it cannot
know is told: that the pipeline's code raised on an event (`dead`). Source: DESIGN 3.5, 3.8; R-TRACK-12, R-TRACK-13.
"""

from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final, NamedTuple

from kernel.limits import KEY_MEMORY_MS, START_SLACK_MS
from meterline.audit.corrected import CorrectedEvents
from meterline.audit.decoding import (
    AccountRecord,
    Attempt,
    Correction,
    FeatureRule,
    KeyEntry,
    Position,
    TermsRule,
    letter_digest,
)
from meterline.audit.pool import Four, Pool, PoolKey, PoolWindow, Taken, cost_of, share_of, window_of

COUNTED: Final = "counted"
DEAD: Final = "dead"
KEEP_DAYS: Final = 36  # windows stay in LIVE until this long after their end
_DAY_US: Final = 86_400_000_000
_DAY_MS: Final = 86_400_000
_NO_REQUEST: Final = bytes(8)
_EXACT: Final = Context(prec=60, traps=[Inexact, InvalidOperation])

_LIVE: Final = frozenset({"active", "trialing", "past_due"})
_NO_SUBSCRIPTION: Final = "no_active_subscription"
_WINDOW_CLOSED: Final = "window_closed"
_ZERO: Final = Decimal(0)

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
    taken: Taken = Taken()


class _Place(NamedTuple):
    """The terms that an event falls under, what they say of its feature, and the window."""

    terms: TermsRule
    rule: FeatureRule
    first: int
    end: int


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
    pool: Pool = field(default_factory=Pool)
    spent: dict[WindowKey, Decimal] = field(default_factory=dict)

    @property
    def rev(self) -> int:
        """Tell the revision in force."""
        return 0 if self.record is None else self.record.rev

    def kept(self) -> dict[WindowKey, Window]:
        """Tell the windows that LIVE keeps by the account's clock."""
        oldest = self.clock_ms // _DAY_MS - KEEP_DAYS
        return {key: window for key, window in self.windows.items() if window.end > oldest}

    def spend(self, key: WindowKey, four: Four) -> None:
        """Note what a feature's usage of a window took of the pool, or gave back."""
        if any(four):
            self.spent[key] = _EXACT.add(self.spent.get(key, _ZERO), sum(four, _ZERO))

    def kept_spent(self) -> dict[WindowKey, Decimal]:
        """Tell what was taken in the windows that LIVE keeps."""
        kept = self.kept()
        return {key: amount for key, amount in self.spent.items() if key in kept}

    def kept_draws(self) -> dict[PoolKey, PoolWindow]:
        """Tell the windows whose draws LIVE keeps by the account's clock."""
        return self.pool.kept(self.clock_ms // _DAY_MS - KEEP_DAYS)


class Judge:
    """All accounts and keys, as far as they were told."""

    def __init__(self) -> None:
        self.ledgers: dict[bytes, Ledger] = {}
        self.keys: dict[bytes, KeyEntry] = {}
        self.clocks: dict[int, int] = {}
        self.customers: dict[bytes, bytes] = {}  # whose a key is
        self.corrected = CorrectedEvents()

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
            ledger.pool.freeze()

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
            if ruling.verdict == COUNTED:
                self.corrected.note(attempt, (ruling.term, ruling.window, ruling.window_end), ruling.taken)
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
        if record is None or not _covers(record, attempt.event_time_us):
            return Ruling("refused", _NO_SUBSCRIPTION)
        if attempt.corrects is not None and not _follows(record, attempt.corrects.term):
            return Ruling("refused", _NO_SUBSCRIPTION)
        ruling = None if attempt.corrects is None else _corrected(attempt, attempt.corrects, ledger, record)
        return self._by_place(attempt, ledger, record) if ruling is None else ruling

    def _by_place(self, attempt: Attempt, ledger: Ledger, record: AccountRecord) -> Ruling:
        place = _place(record, attempt, ledger.clock_ms)
        if place is None:
            return Ruling("refused", "feature_not_in_plan")
        if place.end <= ledger.clock_ms // _DAY_MS - KEEP_DAYS:  # LIVE has forgotten the window
            return Ruling("refused", _NO_SUBSCRIPTION)
        terms, rule = place.terms, place.rule
        if (attempt.tokens is None) == (terms.model == "balance" and rule.margin is not None):
            return Ruling("refused", "pricing_mode_mismatch")
        counted = Ruling(COUNTED, "", terms.number, place.first, place.end, ledger.cut + 1)
        if terms.model == "metered":
            return self._by_amount(attempt, ledger, rule, counted)
        return self._by_pool(attempt, ledger, record, place, counted)

    def _by_amount(self, attempt: Attempt, ledger: Ledger, rule: FeatureRule, counted: Ruling) -> Ruling:
        window = ledger.windows.get((attempt.feature, counted.term, counted.window))
        after = _EXACT.add(Decimal(0) if window is None else window.now, attempt.quantity)
        if attempt.quantity and rule.limited and rule.included is not None and after > rule.included:
            return Ruling("blocked", "included_limit_reached")
        _count(ledger, attempt, counted)
        return counted

    def _by_pool(
        self, attempt: Attempt, ledger: Ledger, record: AccountRecord, place: _Place, counted: Ruling
    ) -> Ruling:
        before = _ZERO if attempt.corrects is None else attempt.corrects.quantity
        cost = cost_of(place.terms, place.rule, before + attempt.quantity, attempt.tokens)
        if before:
            cost -= cost_of(place.terms, place.rule, before, None)
        taken = ledger.pool.draw(record, place.terms, place.rule, place.first, cost, attempt.tokens)
        if taken is None:
            return Ruling("blocked", f"insufficient_{place.terms.model}")
        _count(ledger, attempt, counted)
        ledger.pool.take((counted.term, counted.window), counted.window_end, taken.four)
        ledger.spend((attempt.feature, counted.term, counted.window), taken.four)
        return counted._replace(taken=taken)

    def _remember(self, attempt: Attempt, ruling: Ruling) -> None:
        kind = {COUNTED: "n", "blocked": "r", "refused": "r", DEAD: "d"}.get(ruling.verdict)
        if attempt.replays is not None and kind != "n":
            return  # the dead letter stays as it was
        name = attempt.digest or (letter_digest(attempt.position) if kind == "d" else b"")
        if kind is None or not name:
            return
        self.customers[name] = attempt.customer
        self.keys[name] = KeyEntry(kind, attempt.position, attempt.effective_ms, attempt.content, attempt.request)


def _corrected(attempt: Attempt, corrects: Correction, ledger: Ledger, record: AccountRecord) -> Ruling | None:
    """Rule on a correction, or None when it adds usage where its event counts: then as on usage (ADR 10)."""
    if corrects.window_end <= ledger.clock_ms // _DAY_MS - KEEP_DAYS:
        return Ruling("refused", _WINDOW_CLOSED)
    if attempt.quantity > 0:
        place = _place(record, attempt, ledger.clock_ms)
        there = place is None or (corrects.term, corrects.window) == (place.terms.number, place.first)
        return None if there else Ruling("refused", _WINDOW_CLOSED)
    counted = Ruling(COUNTED, "", corrects.term, corrects.window, corrects.window_end, ledger.cut + 1)
    _count(ledger, attempt, counted)
    if not corrects.pool:
        return counted
    left = _ZERO if corrects.void else share_of(corrects.cost, corrects.quantity + attempt.quantity, corrects.quantity)
    back = corrects.taken if corrects.void else corrects.cost - left
    key = corrects.term, corrects.window
    four = ledger.pool.give_back(key, back)
    ledger.spend((attempt.feature, *key), four)
    day = ledger.clock_ms // _DAY_MS
    if record.end_us is not None:
        day = min(day, (record.end_us - 1) // _DAY_US)
    terms = _terms_on(record, day)
    rest = ledger.pool.rest(record, terms, _window(record, terms, day)[0]) if terms.model == corrects.pool else _ZERO
    return counted._replace(taken=Taken(corrects.pool, left - corrects.cost, *four, rest))


def _covers(record: AccountRecord, time_us: int) -> bool:
    """Tell whether a live subscription covers an instant."""
    if record.terms is None or record.status not in _LIVE:
        return False
    if record.end_us is not None and time_us >= record.end_us:
        return False
    return _begun(record, 0, time_us) or _ended_before(record, time_us) is not None


def _follows(record: AccountRecord, term: int) -> bool:
    """Tell whether terms of a number belong to the subscription that lives: those of one before it have lower ones.

    Of terms with a `counts_us` nobody knows which others they followed.
    """
    assert record.terms is not None, "asked only of a customer with terms"
    if record.terms.counts_us is not None:
        return True
    known = {record.terms.number, *(ended.number for ended, _ in record.ended)}
    return any(number <= term for number in known)


def _begun(record: AccountRecord, back: int, time_us: int) -> bool:
    """Tell whether the terms in force, or those that ended `back` ends ago, had begun at an instant.

    A clock may be slow by the slack, but where the terms before them ended at that instant (R-TRACK-10).
    """
    terms = record.terms if back == 0 else record.ended[back - 1][0]
    assert terms is not None, "asked only of a customer with terms"
    first_us = terms.start_us if terms.counts_us is None else terms.counts_us
    follows = len(record.ended) > back and record.ended[back][1] == first_us
    return time_us >= (first_us if follows else first_us - START_SLACK_MS * 1_000)


def _ended_before(record: AccountRecord, time_us: int) -> TermsRule | None:
    """Find the terms of before that held at an instant when those in force had not begun (R-TRACK-10, R-TRACK-20)."""
    assert record.terms is not None, "asked only of a customer with terms"
    if _begun(record, 0, time_us):
        return None
    known = enumerate(record.ended, start=1)
    return next((one for back, (one, until_us) in known if _begun(record, back, time_us) and time_us < until_us), None)


def _count(ledger: Ledger, attempt: Attempt, counted: Ruling) -> None:
    key = (attempt.feature, counted.term, counted.window)
    window = ledger.windows.setdefault(key, Window(counted.window_end))
    window.now = _EXACT.add(window.now, attempt.quantity)
    window.end = max(window.end, counted.window_end)


def _place(record: AccountRecord, attempt: Attempt, clock_ms: int) -> _Place | None:
    """Find where an event counts: by its own time, or, when it draws on a pool, by the account's clock (AMB-16)."""
    ended = _ended_before(record, attempt.event_time_us)
    own = _terms_on(record, attempt.event_time_us // _DAY_US) if ended is None else ended
    rule = _metered(own, attempt.feature)
    if rule is None:
        return None
    day = attempt.event_time_us // _DAY_US
    if own.model == "metered":
        window = _window(record, own, day) if ended is None else window_of(own, max(day, own.start_us // _DAY_US))
        return _Place(own, rule, *window)
    day = clock_ms // _DAY_MS
    if record.end_us is not None:
        day = min(day, (record.end_us - 1) // _DAY_US)
    terms = _terms_on(record, day)
    there = _metered(terms, attempt.feature)
    if ended is not None and (there is None or terms.model != own.model):
        return None
    if there is None or terms.model != own.model:  # then the nearest day of the event's own terms
        assert record.next is not None, "terms differ"
        day = record.next.since if own is record.next else record.next.since - 1
        terms, there = own, rule
    return _Place(terms, there, *_window(record, terms, day))


def _metered(terms: TermsRule, feature: bytes) -> FeatureRule | None:
    rule = terms.features.get(feature)
    return rule if rule is not None and rule.enabled and rule.kind == "metered" else None


def _terms_on(record: AccountRecord, day: int) -> TermsRule:
    assert record.terms is not None, "asked only of a customer with terms"
    if record.next is not None and max(day, record.terms.start_us // _DAY_US) >= record.next.since:
        return record.next
    return record.terms


def _window(record: AccountRecord, terms: TermsRule, day: int) -> tuple[int, int]:
    """Find the window of a day; other terms that follow cut the last one."""
    first, end = window_of(terms, max(day, terms.start_us // _DAY_US))
    following = record.next
    if following is not None and following is not terms and following.number != terms.number:
        end = min(end, following.since) if following.since > first else end
    return first, end
