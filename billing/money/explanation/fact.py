"""What an invoice is explained from, and what an explanation of a line says. Pure.

Everything here is stored with the invoice, is a frozen term, or is counted again in RAW: nothing is guessed from a
line's words. Source: R-INV-6; ADR 9.
"""

from collections.abc import Mapping, Sequence

import msgspec

from aggregator.usage import EventSums
from billing.life.frozen import PeriodTerms
from billing.money.closing import Billed, Window
from billing.money.invoice import Invoice, Line
from billing.sale.seat import SeatEvent
from kernel.money import Money
from kernel.period import DAY_MS
from kernel.quantity import canonical

# Decimals are strings in the major unit or in units of the feature, counts and amounts in minor units are whole.
Input = str | int | bool | None


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """One invoice and what it was made from.

    `periods` are the subscription's frozen terms as they stood, `billed` what earlier invoices billed of each window,
    `events` the sums of the events behind a line, by its id, `seats` the customer's seat events by feature id,
    `credits` what the invoice took of each account credit, in minor units.
    """

    invoice: Invoice
    lines: Sequence[tuple[str, Line]]
    periods: Sequence[PeriodTerms] = ()
    billed: Mapping[Window, Billed] = msgspec.field(default_factory=dict)
    events: Mapping[str, EventSums] = msgspec.field(default_factory=dict)
    seats: Mapping[str, Sequence[SeatEvent]] = msgspec.field(default_factory=dict)
    credits: Sequence[tuple[str, int]] = ()

    @property
    def day(self) -> int:
        """Tell the day at which the invoice was made: the boundary that it bills, or the moment of a purchase."""
        return self.invoice.issued_ms // DAY_MS

    def begun(self, term: int) -> PeriodTerms | None:
        """Tell the terms of a number that begin with the invoice's period, else the latest that had begun by then."""
        start = self.invoice.period_start_ms // DAY_MS
        own = [one for one in self.periods if one.term == term]
        exact = next((one for one in own if one.since_day == start), None)
        return exact or self.standing(term, self.day)

    def standing(self, term: int, day: int) -> PeriodTerms | None:
        """Tell the latest terms of a number that had begun on a day."""
        begun = [one for one in self.periods if one.term == term and one.since_day <= day]
        return max(begun, key=lambda one: one.since_day, default=None)

    def money(self, minor: int) -> Money:
        """Tell minor units of the invoice's currency."""
        return Money(minor, self.invoice.currency)

    def major(self, minor: int) -> str:
        """Spell minor units in the major unit."""
        return canonical(self.money(minor).major())


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """How a line's amount comes about.

    `rules` name the main rule first. `inputs` are the numbers that `formula` takes, and `amount` is what it gives:
    computed from them, not read from the line. `words` say it in one sentence. `terms` are those that the line is rated
    by, None where none are (an adjustment of a customer without a subscription).
    """

    rules: tuple[str, ...]
    formula: str
    inputs: Mapping[str, Input]
    amount: Money
    words: str
    terms: PeriodTerms | None
