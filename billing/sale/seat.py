"""Seats: how many a customer holds, and what those beyond the included ones cost. Pure.

Seats are counted in SQL, one transaction a change; every change is an event with the count before and after it, and
what is charged is computed from these events alone. Seats held when a billing period begins are charged in advance, in
full; growth beyond the *paid level* is charged once, for the days that are left, when the period ends. The paid level
is the highest count that was charged in the period, at least the included one: taking seats away gives nothing back,
and adding them again up to it is free (R-SEAT-8, AMB-12). Nothing here is ever discounted (R-SEAT-13).
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from billing.life.frozen import FrozenFeature, PeriodTerms
from billing.life.paused import Part
from billing.money.invoice import Line, LineKind, amount_line, span
from billing.sale.proration import share_left, share_of_amount
from catalog.definition import Feature, FeatureKind
from catalog.terms import SubscriptionStatus
from kernel.errors import Refusal, invalid, rejected
from kernel.limits import AMOUNT_MINOR_MAX, SEATS_MAX
from kernel.money import Money, round_half_away
from kernel.period import DAY_MS, Period, date_of
from kernel.quantity import EXACT

SEATS: Final = FeatureKind.SEATS.value


class Operation(StrEnum):
    """What is asked for (R-SEAT-1)."""

    ADD = "add"
    REMOVE = "remove"
    SET = "set"


class SeatEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a count as its row has it. Instants are unix milliseconds: `ts_ms` the organization's now.

    A customer's events are numbered from 1 without gaps. `term` is the number of the terms in force when it came; a
    count with which a subscription begins carries a lower one, since it was there when its terms began.
    """

    id: str
    organization_id: str
    customer_id: str
    subscription_id: str
    feature_id: str
    feature_code: str
    number: int
    operation: Operation
    quantity: int
    before: int
    after: int
    term: int
    ts_ms: int
    created_ms: int


class SeatChange(NamedTuple):
    """A count before and after a change, on a UTC day; since then a pause moved the period's end by `shift` days."""

    day: int
    before: int
    after: int
    shift: int = 0


class SeatBook(msgspec.Struct, frozen=True, kw_only=True):
    """One feature's seats in one billing period: held when it began, and every change in it, in order.

    `days` are the period's where its terms do not tell them, since a pause cut it in two.
    """

    at_start: int = 0
    changes: tuple[SeatChange, ...] = ()
    days: Period | None = None

    @property
    def at_end(self) -> int:
        """Tell what is held after the last change."""
        return self.changes[-1].after if self.changes else self.at_start


def seat_feature(features: Iterable[Feature], key: str) -> Feature:
    """Find the seats feature that a request names: by its code, its seat type, or either camelized (contract 1.8).

    Raises Rejected: `feature_not_found`, `validation_error` when several fit.
    """
    seats = [feature for feature in features if feature.kind is FeatureKind.SEATS]
    for names in (_codes, _seat_types, _camelized):
        found = [feature for feature in seats if key in names(feature)]
        if len(found) == 1:
            return found[0]
        if found:
            codes = ", ".join(sorted(feature.code for feature in found))
            raise invalid("featureCode", f"{key} may mean {codes}: send one of these codes")
    raise rejected("feature_not_found", f"There are no seats of type {key}.", param="featureCode")


def _codes(feature: Feature) -> set[str]:
    return {feature.code}


def _seat_types(feature: Feature) -> set[str]:
    return set() if feature.seat_type is None else {feature.seat_type}


def _camelized(feature: Feature) -> set[str]:
    return {camelized(name) for name in _codes(feature) | _seat_types(feature)}


def camelized(code: str) -> str:
    """Spell a code as clients that rewrite keys do."""
    first, *rest = code.split("_")
    return first + "".join(part.capitalize() for part in rest)


def count_after(operation: Operation, held: int, count: int) -> int | Refusal:
    """Tell the count after a change, or why there is none: a removal below zero changes nothing (R-SEAT-2)."""
    after = {Operation.ADD: held + count, Operation.REMOVE: held - count, Operation.SET: count}[operation]
    if after < 0:
        return Refusal(code="insufficient_seats", message=f"{held} seats are held: {count} cannot be removed.")
    if after > SEATS_MAX:
        return Refusal(code="seat_limit_exceeded", message=f"At most {SEATS_MAX} seats of a type can be held.")
    return after


def refusal_of(
    granted: FrozenFeature | None, before: int, after: int, *, status: SubscriptionStatus, free: bool, currency: str
) -> Refusal | None:
    """Tell why the terms do not allow a count; None when they do.

    Beyond what is included it takes a price for extra seats, and a plan that is paid and not in trial (R-SEAT-14); a
    period of them may cost no more than a price may be. A count that does not grow is never refused: what is held
    stays.
    """
    if granted is None or granted.kind != SEATS or not granted.enabled:
        return Refusal(code="feature_not_in_plan", message="The customer's plan has no seats of this type.")
    if after <= before or granted.included is None or after <= int(Decimal(granted.included)):
        return None
    if free or status is SubscriptionStatus.TRIALING:
        why = f"{'a free plan' if free else 'a trial'} has no more"
    elif not granted.overage or Decimal(granted.unit_price) == 0:
        why = "no more are sold"
    elif (minor := _period_minor(granted, after, currency)) > AMOUNT_MINOR_MAX:
        why = f"{after} would cost {minor} minor units a period, of at most {AMOUNT_MINOR_MAX}"
    else:
        return None
    return Refusal(code="seat_limit_exceeded", message=f"{granted.included} seats are included, and {why}.")


def _period_minor(granted: FrozenFeature, held: int, currency: str) -> int:
    """Tell what the extra seats of a count cost in a whole period, in minor units (R-SEAT-5)."""
    exact = EXACT.multiply(Decimal(extra_seats(granted, held)), Decimal(granted.unit_price))
    return round_half_away(exact, currency).minor


def book_of(
    events: Sequence[SeatEvent], *, parts: Sequence[Part], until_ms: int, days: Period | None = None
) -> SeatBook:
    """Make a feature's book of the period of one or, if it was paused, more parts, up to, but without, `until_ms`.

    `events` are all of the feature's in order of their numbers. At the very instant of the begin an event belongs to
    the period when it came under its terms, and before it when it came under earlier ones (a change of plan then); at
    the instant of the end one that came under later terms is theirs.
    """
    first, last = parts[0], parts[-1]
    before = [event for event in events if (event.ts_ms, event.term) < (first.since_ms, first.term)]
    inside = [event for event in events[len(before) :] if event.ts_ms < until_ms and event.term <= last.term]
    shifts = {part.term: part.shift for part in parts}
    return SeatBook(
        at_start=before[-1].after if before else 0,
        changes=tuple(
            SeatChange(event.ts_ms // DAY_MS, event.before, event.after, shifts.get(event.term, 0)) for event in inside
        ),
        days=days,
    )


def extra_seats(granted: FrozenFeature, held: int) -> int:
    """Tell the seats beyond the included ones (R-SEAT-5)."""
    return 0 if granted.included is None else max(0, held - int(Decimal(granted.included)))


def seat_lines(
    ending: PeriodTerms | None,
    following: PeriodTerms | None,
    books: Mapping[str, SeatBook],
    *,
    currency: str,
    term: int,
    cut: int,
) -> list[Line]:
    """Make all lines of seats of an invoice: in advance for the period that follows, trued up for the one that ends.

    `ending` is None on a start invoice, `following` on a final one; an invoice of a monthly window within a quarter or
    a year calls this not at all (R-SEAT-10). `books` are by feature id, of the ending period, or with what is held at
    the start. Each seat type has its own allowance and price (R-SEAT-15).
    """
    advance = [] if following is None else advance_lines(following, books, currency=currency, term=term, cut=cut)
    grown = [] if ending is None else true_up_lines(ending, books, currency=currency, term=term, cut=cut)
    return advance + grown


def advance_lines(
    period: PeriodTerms, books: Mapping[str, SeatBook], *, currency: str, term: int, cut: int
) -> list[Line]:
    """Charge the extra seats held when a period begins, in full, at its price (R-SEAT-6, R-SEAT-12)."""
    lines = []
    for granted in _of(period, books):
        held = books[granted.feature].at_end
        extra = extra_seats(granted, held)
        amount = Money(_period_minor(granted, held, currency), currency)
        if extra and granted.overage:
            text = f"{granted.name} (seats:{granted.code}), {span(days_of(period))}"
            line = amount_line(
                LineKind.SEATS,
                text,
                amount,
                term=term,
                cut=cut,
                quantity=str(extra),
                unit_price=granted.unit_price,
            )
            lines.append(_of_feature(line, granted, held))
    return lines


def true_up_lines(
    period: PeriodTerms, books: Mapping[str, SeatBook], *, currency: str, term: int, cut: int
) -> list[Line]:
    """Charge what grew beyond the paid level, a line a day of growth, for the days then left (R-SEAT-7 to R-SEAT-9).

    Included seats that were raised meanwhile lift the level (R-SEAT-11); the period's own price holds (R-SEAT-12).
    """
    lines = []
    for granted in _of(period, books):
        book = books[granted.feature]
        for day, shift, grown in growth(granted, book):
            share = share_left(book.days or days_of(period), day + shift)
            exact = EXACT.multiply(Decimal(grown), Decimal(granted.unit_price))
            text = (
                f"{granted.name} (seats:{granted.code}), added {date_of(day).isoformat()}:"
                f" {share.remaining} of {share.days} days"
            )
            line = amount_line(
                LineKind.SEAT_TRUE_UP,
                text,
                share_of_amount(exact, share, currency),
                term=term,
                cut=cut,
                quantity=str(grown),
                unit_price=granted.unit_price,
            )
            lines.append(_of_feature(line, granted, book.at_end))
    return lines


def growth(granted: FrozenFeature, book: SeatBook) -> list[tuple[int, int, int]]:
    """Tell on which days, with their shift, a count rose above the paid level, and by how many seats (R-SEAT-8)."""
    if granted.included is None or not granted.overage:
        return []
    level = max(int(Decimal(granted.included)), book.at_start)
    grown: dict[tuple[int, int], int] = {}
    for change in book.changes:
        if change.after > level:
            place = change.day, change.shift
            grown[place] = grown.get(place, 0) + change.after - level
            level = change.after
    return [(day, shift, seats) for (day, shift), seats in sorted(grown.items())]


def _of(period: PeriodTerms, books: Mapping[str, SeatBook]) -> list[FrozenFeature]:
    """List the seats features of a period that have a book, by code."""
    found = [granted for granted in period.features if granted.kind == SEATS and granted.feature in books]
    return sorted(found, key=lambda granted: granted.code)


def days_of(period: PeriodTerms) -> Period:
    """Tell the days of a billing period."""
    assert period.until_day is not None, "seats are charged in billing periods"
    return Period(period.since_day, period.until_day)


def _of_feature(line: Line, granted: FrozenFeature, held: int) -> Line:
    return msgspec.structs.replace(
        line,
        feature_id=granted.feature,
        feature_code=granted.code,
        feature_name=granted.name,
        included=granted.included,
        used=str(held),
        overage=str(extra_seats(granted, held)),
    )
