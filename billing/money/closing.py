"""What a close writes: from a window's or period's end, usage, draws and what was billed before to an invoice. Pure.

One function, `plan_close`, serves the closer and the upcoming invoice, so that the two cannot disagree. Invariant: the
result depends on nothing but its arguments; closing the same cut twice gives the same lines in the same order.
Source: DESIGN 3.8 (d); ADR 9; R-INV-2, R-INV-3, R-INV-8, R-SUB-7, R-TRACK-20.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from billing.life.frozen import FrozenFeature, PeriodTerms
from billing.life.subscription import Subscription
from billing.life.turning import Bill
from billing.money.invoice import Basis, InvoiceDraft, Line, LineKind, base_line, decimal_units, kept, span
from billing.money.rating import Allowance, charge, fallen, money_of_units, overage_units
from billing.sale.addon import base_lines
from billing.sale.discount import amount_off
from catalog.terms import ConsumptionModel
from kernel.money import Money
from kernel.period import DAY_MS, Period
from kernel.quantity import canonical, to_units

# The name under which a pool's windows stand beside the features' in what was billed: a balance is one pool (R-BAL-8).
POOL: Final = ""


class Window(NamedTuple):
    """A usage window of one feature (`ftr_…`), or of the pool, under one term; it starts on day `start`."""

    feature: str
    term: int
    start: int


class WindowUsage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a window holds: the day it ends and its counted 1e-9 units."""

    end: int
    units: int


class DrawWindow(NamedTuple):
    """A draw window of a pool: the usage window that starts on day `start` under one term."""

    term: int
    start: int


class WindowDrawn(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a draw window took of its pool in 1e-9 units, and the overdraft that is left at its end (R-BAL-3).

    An overdraft is what no top-up of the window covers: the read gives it after R-TOPUP-4.
    """

    overdraft: int
    plan: int = 0
    top_ups: int = 0


Draws = Mapping[DrawWindow, WindowDrawn]
_NO_DRAWS: Final[Draws] = {}


class Billed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What earlier lines billed of a window: overage in 1e-9 units, minor units, and the last cut that they cover.

    `void_*` is what of it stands on invoices that are void.
    """

    units: int
    minor: int
    cut: int
    void_units: int = 0
    void_minor: int = 0


NOT_BILLED: Final = Billed(units=0, minor=0, cut=0)


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """A cut and what it bills."""

    subscription: Subscription
    cut: int
    bill: Bill


def plan_close(
    close: Close,
    periods: Sequence[PeriodTerms],
    totals: Mapping[Window, WindowUsage],
    billed: Mapping[Window, Billed],
    draws: Draws = _NO_DRAWS,
    extra: Sequence[Line] = (),
) -> InvoiceDraft | None:
    """Make the invoice of a close; None when there is nothing to bill (R-INT-4, R-SUB-7).

    `periods` are all of the subscription's frozen terms, `totals` the counted usage with a cut of at most `close.cut`,
    `draws` the pool's by then, `extra` lines that others make for it (seats).
    """
    following = _following(close, periods)
    advance = [] if following is None else advance_lines(following, close.cut)
    lines = kept([*advance, *extra, *usage_lines(close, periods, totals, billed, draws)])
    if not lines:
        return None
    subscription, bill = close.subscription, close.bill
    issued_ms = bill.end_us // 1000
    ends_day = bill.through_day if following is None else following.until_day
    assert ends_day is not None, "a paid plan's period ends"
    return InvoiceDraft(
        organization_id=subscription.organization_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        cut=close.cut,
        kind=bill.kind,
        currency=subscription.currency,
        plan_name=subscription.plan_name if following is None else following.plan_name,
        period_start_ms=bill.start_day * DAY_MS if following is None else issued_ms,
        period_end_ms=issued_ms if following is None else ends_day * DAY_MS,
        issued_ms=issued_ms,
        due_ms=issued_ms,
        lines=lines,
        final=bill.final,
        basis=Basis(
            cut=close.cut,
            terms=tuple(sorted({line.term for line in lines})),
            discount=None if following is None else running(following),
        ),
    )


def usage_lines(
    close: Close,
    periods: Sequence[PeriodTerms],
    totals: Mapping[Window, WindowUsage],
    billed: Mapping[Window, Billed],
    draws: Draws = _NO_DRAWS,
) -> list[Line]:
    """Make the lines of usage and overdraft of the windows that a close's cut ends, in reading order."""
    usage = [line for window in sorted(totals) if (line := _usage_line(close, periods, window, totals, billed))]
    overdrafts = [line for window in sorted(draws) if (line := _overdraft_line(close, periods, window, draws, billed))]
    return sorted([*usage, *overdrafts], key=_reading_order)


def advance_lines(period: PeriodTerms, cut: int) -> list[Line]:
    """Make the lines of a period charged in advance: its base, what a discount takes off it, add-ons (R-DISC-3)."""
    assert period.until_day is not None, "a paid plan's period ends"
    days = Period(period.since_day, period.until_day)
    base = base_line(period.plan_name, period.base_minor, period.currency, days, term=period.term, cut=cut)
    if period.discount is None:
        return [base, *base_lines(period, days, cut)]
    off = amount_off(Money(period.base_minor, period.currency), period.discount)
    line = Line(
        kind=LineKind.DISCOUNT,
        description=f"{period.discount.name} on {period.plan_name}",
        quantity="1",
        unit_price=canonical(Money(-off.minor, period.currency).major()),
        amount_minor=-off.minor,
        term=period.term,
        cut_after=cut,
        cut=cut,
        charge_type="advance",
        discount_source=period.discount.source.value,
        discount_type=period.discount.type.value,
        discount_value=canonical(period.discount.value),
        discount_name=period.discount.name,
    )
    return [base, line, *base_lines(period, days, cut)]


def running(period: PeriodTerms) -> Mapping[str, Any] | None:
    """Spell the discount that runs in a period, as an invoice's basis keeps it."""
    return None if period.discount is None else msgspec.to_builtins(period.discount)


def _following(close: Close, periods: Sequence[PeriodTerms]) -> PeriodTerms | None:
    """Tell the terms of the period that the close charges in advance."""
    term, day = close.bill.base_term, close.bill.through_day
    return None if term is None else next(one for one in periods if (one.term, one.since_day) == (term, day))


def _usage_line(
    close: Close,
    periods: Sequence[PeriodTerms],
    window: Window,
    totals: Mapping[Window, WindowUsage],
    billed: Mapping[Window, Billed],
) -> Line | None:
    """Rate one window at its own frozen terms.

    None while it is open, when no terms ever granted the feature, or when its usage drew on a pool instead: then it was
    paid for by the draw.
    """
    total = totals[window]
    terms = granting(periods, window)
    granted = None if terms is None else terms.of_window(window.start).feature(window.feature)
    if terms is None or granted is None or terms.model is not ConsumptionModel.METERED:
        return None
    end = _end(periods, window.term, total.end)
    if end > close.bill.through_day:
        return None
    allowance = allowance_of(granted, terms.currency)
    before = billed.get(window, NOT_BILLED)
    due = charge(
        total.units,
        allowance,
        billed_units=before.units,
        billed_minor=before.minor,
        void_units=before.void_units,
        void_minor=before.void_minor,
    )
    # A window that terms which changed on its first day cut short is not late: nothing closed it before.
    late = end <= close.bill.start_day and window.start < close.bill.start_day
    period = Period(window.start, max(end, window.start + 1))  # terms that changed on its first day leave it that day
    return Line(
        kind=LineKind.LATE_USAGE if late else LineKind.ADDON_OVERAGE if granted.addon else LineKind.OVERAGE,
        description=f"{granted.name} ({granted.code}), {_words(late=late, units=due.units)}{span(period)}",
        quantity=decimal_units(due.units),
        unit_price=granted.unit_price,
        amount_minor=due.amount.minor,
        term=window.term,
        cut_after=before.cut,
        cut=close.cut,
        feature_id=granted.feature,
        feature_code=granted.code,
        feature_name=granted.name,
        included=granted.included,
        used=decimal_units(total.units),
        overage=decimal_units(overage_units(total.units, allowance)),
        window=period,
    )


def _words(*, late: bool, units: int) -> str:
    """Say how a line differs from the first one of its window: usage fell by corrections, or came late (ADR 10)."""
    if units < 0:
        return "correction of "
    return "late usage of " if late else ""


def _overdraft_line(
    close: Close,
    periods: Sequence[PeriodTerms],
    window: DrawWindow,
    draws: Draws,
    billed: Mapping[Window, Billed],
) -> Line | None:
    """Bill what a draw window that has ended took beyond its pool, rounded once (R-BAL-3, R-GEN-4).

    None while it is open, and under terms that have no overdraft: then there is none.
    """
    terms = period_at([one for one in periods if one.term == window.term], window.start)
    if terms is None or not terms.overdraft:
        return None
    end = _end(periods, window.term, terms.window_of(window.start).end)
    if end > close.bill.through_day:
        return None
    before = billed.get(Window(POOL, window.term, window.start), NOT_BILLED)
    units = draws[window].overdraft
    more = fallen(units - before.units, before.void_units)
    minor = fallen(money_of_units(units, terms.currency).minor - before.minor, before.void_minor)
    period = Period(window.start, max(end, window.start + 1))
    return Line(
        kind=LineKind.BALANCE_OVERAGE,
        description=f"Balance overdraft, {'correction of ' if more < 0 else ''}{span(period)}",
        quantity=decimal_units(more),
        unit_price="1",
        amount_minor=minor,
        term=window.term,
        cut_after=before.cut,
        cut=close.cut,
        overage=decimal_units(units),
        window=period,
    )


def _end(periods: Sequence[PeriodTerms], term: int, end: int) -> int:
    """Tell when a window ends: at its own end, or where terms with another number take over (ADR 9)."""
    first = min((one.since_day for one in periods if one.term > term), default=end)
    return min(end, first)


def allowance_of(granted: FrozenFeature, currency: str) -> Allowance:
    """Tell the conditions under which a window of the feature is rated."""
    return Allowance(
        included=None if granted.included is None else to_units(granted.included),
        overage=granted.overage,
        unit_price=granted.unit_price,
        currency=currency,
    )


def period_at(periods: Sequence[PeriodTerms], day: int) -> PeriodTerms | None:
    """Tell the terms in force on a day; one before the first period counts in it (the slack before a start)."""
    earlier = [period for period in periods if period.since_day <= day]
    return max(earlier, key=_since) if earlier else min(periods, default=None, key=_since)


def granting(periods: Sequence[PeriodTerms], window: Window) -> PeriodTerms | None:
    """Tell the window's frozen terms of its feature, among those of its number.

    A late event may count by terms that came after its window and added the feature: then by the first that grant it.
    """
    numbered = [period for period in periods if period.term == window.term]
    own = period_at(numbered, window.start)
    later = sorted((period for period in numbered if period.since_day > window.start), key=_since)
    candidates = ([] if own is None else [own]) + later
    return next((period for period in candidates if period.feature(window.feature) is not None), None)


def _since(period: PeriodTerms) -> int:
    return period.since_day


def _reading_order(line: Line) -> tuple[bool, str, int, int]:
    assert line.window is not None, "a usage line has a window"
    return (line.kind is LineKind.LATE_USAGE, line.feature_code or "", line.term, line.window.start)
