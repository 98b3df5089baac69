"""A customer's pool as the audit reckons it: windows, draws, what is left, what an event takes. Pure.

Its arithmetic is decimal and naive: for every event all windows are gone through from where top-ups begin to count.
Source: ADR 9; R-CREDIT-1 to 5, R-BAL-2 to 7, R-AI-2, R-AI-4; AMB-16.
"""

from calendar import monthrange
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from meterline.audit.decoding import UNITS, AccountRecord, FeatureRule, TermsRule, Tokens

_DAY_US: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1).toordinal()
_WIDE: Final = Context(prec=80)
_TOLD_MAX: Final = (2**63 - 1) * UNITS
_ZERO: Final = Decimal(0)
NOTHING: Final = (_ZERO, _ZERO, _ZERO, _ZERO)
PLAN, PACKS, TOP_UPS, OVERDRAFT = range(4)

Four = tuple[Decimal, Decimal, Decimal, Decimal]  # plan, packs, top-ups, overdraft
PoolKey = tuple[int, int]  # term, first day


class Taken(NamedTuple):
    """What an event took, as its row says it."""

    pool: str = ""
    cost: Decimal = _ZERO
    plan: Decimal = _ZERO
    packs: Decimal = _ZERO
    top_ups: Decimal = _ZERO
    overdraft: Decimal = _ZERO
    left: Decimal = _ZERO
    margin: str = ""

    @property
    def four(self) -> Four:
        """Tell the four draws."""
        return self.plan, self.packs, self.top_ups, self.overdraft


@dataclass
class PoolWindow:
    """The draws of one window: now, and at the last cut."""

    end: int
    now: Four = NOTHING
    at_cut: Four = NOTHING

    @property
    def beyond(self) -> Decimal:
        """Tell what counts against top-ups."""
        return self.now[TOP_UPS] + self.now[OVERDRAFT]


@dataclass
class Pool:
    """All draws of one customer."""

    windows: dict[PoolKey, PoolWindow] = field(default_factory=dict)
    packs: Decimal = _ZERO

    def take(self, key: PoolKey, end: int, four: Four) -> None:
        """Add an event's draws."""
        if not any(four):
            return
        window = self.windows.setdefault(key, PoolWindow(end))
        window.end = max(window.end, end)
        window.now = plus(window.now, four)
        self.packs += four[PACKS]

    def freeze(self) -> None:
        """Take a cut."""
        for window in self.windows.values():
            window.at_cut = window.now

    def kept(self, oldest: int) -> dict[PoolKey, PoolWindow]:
        """Tell the windows that LIVE keeps: those that end after day `oldest`, and those that later ones stand on."""
        return {key: window for key, window in self.windows.items() if window.end > oldest or window.beyond}

    def left(self, record: AccountRecord, terms: TermsRule, window: int) -> tuple[Decimal, Decimal, Decimal]:
        """Tell what a window has left: of the plan's part, of what was bought, and how far it is overdrawn."""
        key = (terms.number, window)
        mine = self.windows.get(key)
        plan = max(_ZERO, terms.pool - (_ZERO if mine is None else mine.now[PLAN]))
        if terms.model == "credits":
            return plan, max(_ZERO, record.packs - self.packs), _ZERO
        begin, carried, short = _counts_from(terms, window), _ZERO, _ZERO
        bought = {(term, first) for term, first, _ in record.top_ups}
        for each in sorted({key} | bought | self.windows.keys()):
            if not begin <= each <= key:
                continue
            rest = carried + sum(amount for *place, amount in record.top_ups if tuple(place) == each)
            if each in self.windows:
                rest -= self.windows[each].beyond
            carried, short = max(_ZERO, rest), max(_ZERO, -rest)
        grown = min(plan, short)  # a plan's part that was raised pays an overdraft first (R-BH-4)
        return plan - grown, carried, short - grown

    def rest(self, record: AccountRecord, terms: TermsRule, window: int) -> Decimal:
        """Tell what a window has left as outcomes say it; below zero it is the overdraft."""
        plan, extra, short = self.left(record, terms, window)
        return _told(plan + extra - short)

    def give_back(self, key: PoolKey, amount: Decimal) -> Four:
        """Undo draws of a window, the last ones first: overdraft, what was bought, the plan's part; told signed."""
        four = [_ZERO, _ZERO, _ZERO, _ZERO]
        window = self.windows.get(key)
        for part in (OVERDRAFT, TOP_UPS, PACKS, PLAN):
            if window is not None:
                undone = min(amount, window.now[part])
                four[part] = -undone
                amount -= undone
        assert not amount, "the window drew what comes back"
        undone_four = four[PLAN], four[PACKS], four[TOP_UPS], four[OVERDRAFT]
        if window is not None:
            self.take(key, window.end, undone_four)
        return undone_four

    def draw(
        self,
        record: AccountRecord,
        terms: TermsRule,
        rule: FeatureRule,
        window: int,
        cost: Decimal,
        tokens: Tokens | None,
    ) -> Taken | None:
        """Tell what an event takes that costs `cost`; None: it is blocked."""
        plan, extra, short = self.left(record, terms, window)
        may_overdraw = terms.overdraft and terms.model == "balance"
        from_plan = min(cost, plan)
        from_extra = min(cost - from_plan, extra)
        rest = cost - from_plan - from_extra
        if rest and not may_overdraw:
            if tokens is None or plan + extra == 0:
                return None
            rest = _ZERO
        if cost > _TOLD_MAX or short + rest > _TOLD_MAX:
            return None
        packs, top_ups = (from_extra, _ZERO) if terms.model == "credits" else (_ZERO, from_extra)
        left = _told(plan + extra - short - from_plan - from_extra - rest)
        margin = "" if tokens is None or rule.margin is None else str(rule.margin)
        return Taken(terms.model, cost, from_plan, packs, top_ups, rest, left, margin)


def cost_of(terms: TermsRule, rule: FeatureRule, quantity: Decimal, tokens: Tokens | None) -> Decimal:
    """Tell an event's cost: price times quantity, or its tokens' cost with the margin; rounded once, halves up."""
    if tokens is None:
        cost = _WIDE.multiply(quantity, rule.credits if terms.model == "credits" else rule.unit_price)
    else:
        assert rule.margin is not None, "only a feature with a margin takes tokens"
        cost = _WIDE.divide(_WIDE.multiply(tokens.base_cost, 100 + rule.margin), Decimal(100))
    return cost.quantize(UNITS, ROUND_HALF_UP, _WIDE)


def share_of(cost: Decimal, quantity: Decimal, of: Decimal) -> Decimal:
    """Tell the part of a cost that belongs to a part of a quantity; rounded once, halves up."""
    if not of:
        return _ZERO
    exact = Fraction(cost) * Fraction(quantity) / Fraction(of) / Fraction(UNITS)
    return ((2 * exact.numerator + exact.denominator) // (2 * exact.denominator)) * UNITS


def _told(rest: Decimal) -> Decimal:
    return max(-_TOLD_MAX, min(_TOLD_MAX, rest))


def plus(one: Four, other: Four) -> Four:
    """Add draws part by part."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _counts_from(terms: TermsRule, window: int) -> PoolKey:
    """Find the window from which top-ups add up: the last renewal of these terms, else where their chain begins."""
    first = window_of(terms, terms.start_us // _DAY_US)[0]
    begin = window
    while terms.months and begin > first:
        if _months_since(terms.anchor, begin) % terms.months == 0:
            return terms.number, begin
        begin = month_of(terms.anchor, begin - 1)[0]
    return terms.chain or (terms.number, first)


def window_of(terms: TermsRule, day: int) -> tuple[int, int]:
    """Find the usage window that holds `day`: its first day and the day after its last (R-INT-1, R-TRIAL-7)."""
    if terms.window_days:
        start = terms.anchor + (day - terms.anchor) // terms.window_days * terms.window_days
        return start, start + terms.window_days
    return month_of(terms.anchor, day)


@lru_cache(maxsize=4_096)
def month_of(anchor: int, day: int) -> tuple[int, int]:
    """Find the month from the anchor that holds `day`: its first day and the day after its last (R-INT-2)."""
    number = _months_since(anchor, day)
    return _boundary(anchor, number), _boundary(anchor, number + 1)


def _months_since(anchor: int, day: int) -> int:
    number = (day - anchor) // 31 - 1
    while _boundary(anchor, number + 1) <= day:
        number += 1
    while _boundary(anchor, number) > day:
        number -= 1
    return number


def _boundary(anchor: int, months: int) -> int:
    start = date.fromordinal(anchor + _EPOCH)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1])).toordinal() - _EPOCH
