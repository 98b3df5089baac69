"""Which seats a close and a start charge: from the events of a customer to the lines of its invoice. Pure.

Invariant: a billing period's growth is charged by the one close that ends it, its advance by the one that begins it;
a close of a monthly window within a quarter or a year charges no seats (R-SEAT-7, R-SEAT-10).
"""

from collections.abc import Mapping, Sequence

from billing.life.frozen import PeriodTerms, standing
from billing.life.paused import Part, days_of, parts_of
from billing.life.turning import Bill
from billing.money.closing import Close
from billing.money.invoice import InvoiceType, Line
from billing.sale.seat import SeatBook, SeatEvent, advance_lines, book_of, true_up_lines
from kernel.period import day_of_us

# A customer's seat events by feature id, in order of their numbers.
History = Mapping[str, Sequence[SeatEvent]]


def lines_of_close(close: Close, periods: Sequence[PeriodTerms], history: History) -> list[Line]:
    """Make a close's lines of seats: in advance for the period that it begins, trued up for the one that it ends."""
    bill = close.bill
    if bill.kind != InvoiceType.RECURRING:
        return []
    end_ms = bill.end_us // 1000
    lines: list[Line] = []
    following = _following(bill, periods)
    if following is not None:
        # What happens at the very instant of a boundary belongs to the period that begins (R-GEN-5).
        begin = [Part(following.term, end_ms, 0)]
        held = {
            feature: SeatBook(at_start=book_of(events, parts=begin, until_ms=end_ms).at_start)
            for feature, events in history.items()
        }
        lines += advance_lines(following, held, currency=following.currency, term=following.term, cut=close.cut)
    ending = _ending(bill, periods)
    if ending is not None:
        until_ms = end_ms + 1 if bill.final else end_ms  # nothing comes after a final one
        parts, days = parts_of(periods, ending), days_of(periods, ending)
        grown = {
            feature: book_of(events, parts=parts, until_ms=until_ms, days=days) for feature, events in history.items()
        }
        lines += true_up_lines(ending, grown, currency=ending.currency, term=ending.term, cut=close.cut)
    return lines


def lines_of_start(first: PeriodTerms, held: Mapping[str, int], cut: int) -> list[Line]:
    """Charge the extra seats with which a subscription begins, in advance (R-SEAT-6)."""
    books = {feature: SeatBook(at_start=count) for feature, count in held.items()}
    return advance_lines(first, books, currency=first.currency, term=first.term, cut=cut)


def _following(bill: Bill, periods: Sequence[PeriodTerms]) -> PeriodTerms | None:
    if bill.base_term is None:
        return None
    return next(one for one in periods if (one.term, one.since_day) == (bill.base_term, bill.through_day))


def _ending(bill: Bill, periods: Sequence[PeriodTerms]) -> PeriodTerms | None:
    """Tell the billing period that a close ends; None when it ends none: a resume after it, a trial, a free plan."""
    last_day = day_of_us(bill.end_us - 1)
    begun = [one for one in standing(periods) if one.since_day <= last_day and one.start_us < bill.end_us]
    ending = max(begun, key=lambda one: (one.since_day, one.term), default=None)
    if ending is None or ending.trial or ending.free or ending.until_day is None:
        return None
    return ending if ending.until_day > bill.start_day else None
