"""What a close writes: from a period's end, its windows' totals and what was billed before to an invoice. Pure.

One function, `plan_close`, serves the closer and the upcoming invoice, so that the two cannot disagree. Invariant: the
result depends on nothing but its arguments; closing the same cut twice gives the same lines in the same order.
Source: DESIGN 3.8 (d); R-INV-2, R-INV-8, R-SUB-7, R-TRACK-20.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from billing.frozen import FrozenFeature, PeriodTerms
from billing.invoice import RECURRING, Basis, InvoiceDraft, Line, LineKind, base_line, decimal_units, kept, span
from billing.rating import Allowance, charge, overage_units
from billing.subscription import Subscription
from kernel.period import DAY_MS, Period
from kernel.quantity import to_units


class Window(NamedTuple):
    """A usage window of one feature (`ftr_…`) under one subscription's term; it starts on day `start`."""

    feature: str
    term: int
    start: int


class WindowUsage(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a window holds: the day it ends and its counted 1e-9 units."""

    end: int
    units: int


class Billed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What earlier lines billed of a window: overage in 1e-9 units, minor units, and the last cut that they cover."""

    units: int
    minor: int
    cut: int


class Close(msgspec.Struct, frozen=True, kw_only=True):
    """A cut and the period that it ends.

    Windows that end by `through_day` are billed; the period started on `start_day` and ended at `end_us`.
    """

    subscription: Subscription
    cut: int
    start_day: int
    through_day: int
    end_us: int
    final: bool


def plan_close(
    close: Close,
    periods: Sequence[PeriodTerms],
    totals: Mapping[Window, WindowUsage],
    billed: Mapping[Window, Billed],
) -> InvoiceDraft | None:
    """Make the invoice of a close; None when there is nothing to bill (a final close without usage, R-SUB-7).

    `periods` are the subscription's frozen terms, `totals` the counted usage with a cut of at most `close.cut`.
    """
    usage = [line for window in sorted(totals) if (line := _usage_line(close, periods, window, totals, billed))]
    following = None if close.final else _period_at(periods, close.through_day)
    base = [] if following is None else [_base(close, following)]
    lines = kept([*base, *sorted(usage, key=_reading_order)])
    if not lines:
        return None
    subscription = close.subscription
    issued_ms = close.end_us // 1000
    ends_day = close.through_day if following is None else following.until_day
    assert ends_day is not None, "a paid plan's period ends"
    return InvoiceDraft(
        organization_id=subscription.organization_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        cut=close.cut,
        kind=RECURRING,
        currency=subscription.currency,
        plan_name=subscription.plan_name if following is None else following.plan_name,
        period_start_ms=close.start_day * DAY_MS if following is None else issued_ms,
        period_end_ms=issued_ms if following is None else ends_day * DAY_MS,
        issued_ms=issued_ms,
        due_ms=issued_ms,
        lines=lines,
        final=close.final,
        basis=Basis(cut=close.cut, terms=tuple(sorted({line.term for line in lines}))),
    )


def _usage_line(
    close: Close,
    periods: Sequence[PeriodTerms],
    window: Window,
    totals: Mapping[Window, WindowUsage],
    billed: Mapping[Window, Billed],
) -> Line | None:
    """Rate one window at its own frozen terms; None while it is open, or when no terms ever granted the feature."""
    total = totals[window]
    granted = _granted(periods, window)
    if window.term != close.subscription.term or total.end > close.through_day or granted is None:
        return None
    allowance = allowance_of(granted, close.subscription.currency)
    before = billed.get(window, Billed(units=0, minor=0, cut=0))
    due = charge(total.units, allowance, billed_units=before.units, billed_minor=before.minor)
    late = total.end <= close.start_day
    period = Period(window.start, total.end)
    return Line(
        kind=LineKind.LATE_USAGE if late else LineKind.OVERAGE,
        description=f"{granted.name} ({granted.code}), {'late usage of ' if late else ''}{span(period)}",
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


def allowance_of(granted: FrozenFeature, currency: str) -> Allowance:
    """Tell the conditions under which a window of the feature is rated."""
    return Allowance(
        included=None if granted.included is None else to_units(granted.included),
        overage=granted.overage,
        unit_price=granted.unit_price,
        currency=currency,
    )


def _base(close: Close, following: PeriodTerms) -> Line:
    assert following.until_day is not None, "a paid plan's period ends"
    period = Period(following.since_day, following.until_day)
    subscription = close.subscription
    return base_line(
        following.plan_name, following.base_minor, subscription.currency, period, term=subscription.term, cut=close.cut
    )


def _period_at(periods: Sequence[PeriodTerms], day: int) -> PeriodTerms | None:
    """Tell the terms in force on a day; a day before the first period counts in it (the slack before a start)."""
    earlier = [period for period in periods if period.since_day <= day]
    return max(earlier, key=lambda period: period.since_day) if earlier else min(periods, default=None, key=_since)


def _granted(periods: Sequence[PeriodTerms], window: Window) -> FrozenFeature | None:
    """Tell the window's frozen terms of its feature.

    A late event may count by terms that came after its window and added the feature: then by the first that grant it.
    """
    own = _period_at(periods, window.start)
    later = sorted((period for period in periods if period.since_day > window.start), key=_since)
    candidates = (period.feature(window.feature) for period in ([] if own is None else [own]) + later)
    return next((granted for granted in candidates if granted is not None), None)


def _since(period: PeriodTerms) -> int:
    return period.since_day


def _reading_order(line: Line) -> tuple[bool, str, int]:
    assert line.window is not None, "a usage line has a window"
    return (line.kind is LineKind.LATE_USAGE, line.feature_code or "", line.window.start)
