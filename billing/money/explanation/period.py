"""Why a line that charges a period costs what it does: base, discount, seats, add-ons. Pure.

Source: R-PRICE-1, R-DISC-11, R-SEAT-6 to R-SEAT-9, R-ADDON-3, R-ADDON-4.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final, NamedTuple

import msgspec

from billing.life.frozen import PeriodTerms
from billing.life.paused import days_of as paused_days
from billing.life.paused import parts_of
from billing.money.explanation.fact import Fact, Input, Why
from billing.money.invoice import InvoiceType, Line
from billing.sale.discount import Discount
from billing.sale.proration import Share, share_left, share_of_amount
from billing.sale.seat import book_of, days_of, growth
from catalog.definition import DiscountType
from kernel.money import Money, minor_places, round_half_away
from kernel.period import DAY_MS, date_of
from kernel.quantity import EXACT, canonical

_PERCENT: Final = Decimal(100)
_WHOLE: Final = Share(1, 1)


def base_why(line: Line, fact: Fact) -> Why:
    """Explain a plan's base price: the one that was frozen when the period began (R-PRICE-1)."""
    terms = fact.begun(line.term)
    minor = line.amount_minor if terms is None else terms.base_minor
    return Why(
        rules=("R-PRICE-1", "R-INV-8"),
        formula="basePrice",
        inputs={"basePrice": fact.major(minor)},
        amount=fact.money(minor),
        words=f"{line.description}: the base price, frozen when the period started, charged in advance.",
        terms=terms,
    )


def discount_why(line: Line, fact: Fact) -> Why:
    """Explain what a discount takes off the base, or off the part of it that a change of plan charges."""
    terms = fact.begun(line.term)
    base = fact.money(0 if terms is None else terms.base_minor)
    changing = fact.invoice.kind is InvoiceType.PLAN_CHANGE
    share = _share_of_change(fact) if changing else _WHOLE
    kind, value, name = _discount(line, fact.invoice.basis.discount)
    exact = (
        EXACT.divide(EXACT.multiply(Decimal(base.minor), value), _PERCENT)
        if kind is DiscountType.PERCENT
        else EXACT.scaleb(value, minor_places(base.currency))
    )
    off = Money(min(base.minor, int(exact.to_integral_value(rounding=ROUND_HALF_UP))), base.currency)
    amount = share_of_amount(EXACT.minus(off.major()), share, base.currency)
    inputs: dict[str, Input] = {"basePrice": fact.major(base.minor), kind.value: canonical(value)}
    how = "round(basePrice * percent / 100)" if kind is DiscountType.PERCENT else "fixed"
    told = f"{canonical(value)} %" if kind is DiscountType.PERCENT else canonical(value)
    return Why(
        rules=("R-DISC-7", "R-DISC-11") if changing else ("R-DISC-11", "R-DISC-3"),
        formula=_shared(f"-min(basePrice, {how})", share),
        inputs={**inputs, **_share_inputs(share)},
        amount=amount,
        words=f"{name} takes {told} off the base price of {inputs['basePrice']}, and off nothing else{_part(share)}.",
        terms=terms,
    )


def seats_why(line: Line, fact: Fact) -> Why:
    """Explain extra seats that were held when the period began (R-SEAT-5, R-SEAT-6)."""
    extra = max(Decimal(0), Decimal(line.used or "0") - Decimal(line.included or "0"))
    amount = round_half_away(EXACT.multiply(extra, Decimal(line.unit_price)), fact.invoice.currency)
    return Why(
        rules=("R-SEAT-6", "R-SEAT-5"),
        formula="round(max(0, held - included) * unitPrice)",
        inputs={"held": line.used, "included": line.included, "unitPrice": line.unit_price},
        amount=amount,
        words=(
            f"{line.feature_code}: {line.used} seats held when the period begins, {line.included} included:"
            f" {canonical(extra)} more at {line.unit_price} each, for the whole period in advance."
        ),
        terms=fact.begun(line.term),
    )


class Grown(NamedTuple):
    """Seats that were added beyond the paid level on a day, and the share of the period that was left."""

    day: int
    seats: int
    share: Share


def true_up_why(line: Line, fact: Fact) -> Why:
    """Explain seats added within a period, for the days then left (R-SEAT-7 to R-SEAT-9)."""
    terms = _ending(line, fact)
    found = None if terms is None else _grown(line, fact, terms)
    share = _WHOLE if found is None else found.share
    exact = EXACT.multiply(Decimal(line.quantity), Decimal(line.unit_price))
    day = None if found is None else date_of(found.day).isoformat()
    return Why(
        rules=("R-SEAT-7", "R-SEAT-8", "R-SEAT-9"),
        formula=_shared("added * unitPrice", share),
        inputs={
            "added": line.quantity,
            "unitPrice": line.unit_price,
            "day": day,
            **_share_inputs(share),
        },
        amount=share_of_amount(exact, share, fact.invoice.currency),
        words=(
            f"{line.feature_code}: {line.quantity} seats more than the paid level from {day} on, at {line.unit_price}"
            f" each{_part(share)}."
        ),
        terms=terms,
    )


def _ending(line: Line, fact: Fact) -> PeriodTerms | None:
    """Tell the period whose seats are trued up: the latest of the line's number that had begun before the invoice."""
    last_ms = fact.invoice.issued_ms - (0 if _to_the_instant(fact) else 1)
    begun = [one for one in fact.periods if one.term == line.term and one.since_day <= last_ms // DAY_MS]
    return max(begun, key=lambda one: one.since_day, default=None)


def _to_the_instant(fact: Fact) -> bool:
    """Tell whether seats count that came at the very instant of the invoice: nothing comes after a final one."""
    return fact.invoice.final or fact.invoice.kind is InvoiceType.PLAN_CHANGE


def _grown(line: Line, fact: Fact, terms: PeriodTerms) -> Grown | None:
    """Find the growth that a line charges: of one seat type the lines come in the order of the days."""
    granted = terms.feature(line.feature_id or "")
    if granted is None or terms.until_day is None:
        return None
    parts, days = parts_of(fact.periods, terms), paused_days(fact.periods, terms) or days_of(terms)
    until_ms = fact.invoice.issued_ms + (1 if _to_the_instant(fact) else 0)
    events = fact.seats.get(granted.feature, ())
    book = book_of(events, parts=parts, until_ms=until_ms)
    grown = [Grown(day, seats, share_left(days, day + shift)) for day, shift, seats in growth(granted, book)]
    charged = [one for one in grown if _amount(one, granted.unit_price, terms.currency).minor]  # R-INV-7
    mine = [one for _, one in fact.lines if one.kind is line.kind and one.feature_id == line.feature_id]
    at = mine.index(line)
    return charged[at] if at < len(charged) else None


def _amount(grown: Grown, unit_price: str, currency: str) -> Money:
    return share_of_amount(EXACT.multiply(Decimal(grown.seats), Decimal(unit_price)), grown.share, currency)


def addon_base_why(line: Line, fact: Fact) -> Why:
    """Explain an add-on's price for a period: with the plan's in advance, or a month of its own on a free plan."""
    terms = fact.begun(line.term)
    granted = None if terms is None else terms.feature(line.feature_id or "")
    minor = line.amount_minor if granted is None or granted.paid_apart else granted.base_minor
    own_month = terms is not None and terms.free
    return Why(
        rules=("R-ADDON-13",) if own_month else ("R-ADDON-4", "R-ADDON-12"),
        formula="basePrice",
        inputs={"basePrice": fact.major(minor)},
        amount=fact.money(minor),
        words=f"{line.description}: the add-on's base price {'a month' if own_month else 'a billing period'}.",
        terms=terms,
    )


def activation_why(line: Line, fact: Fact) -> Why:
    """Explain what switching an add-on on costs at once: its base for the days that are left (R-ADDON-3, R-PRO-3)."""
    terms = fact.standing(line.term, fact.day)
    granted = None if terms is None else terms.feature(line.feature_id or "")
    share = _share_of_change(fact)
    whole = share.remaining == share.days
    minor = line.amount_minor if whole or granted is None else granted.base_minor
    base = fact.money(minor)
    return Why(
        rules=("R-ADDON-13",) if terms is not None and (terms.free or terms.trial) else ("R-ADDON-3", "R-PRO-3"),
        formula=_shared("basePrice", share),
        inputs={"basePrice": fact.major(minor), **_share_inputs(share)},
        amount=share_of_amount(base.major(), share, base.currency),
        words=f"{line.description}: the add-on's base price of {fact.major(minor)}{_part(share)}, the day itself used.",
        terms=terms,
    )


def _share_of_change(fact: Fact) -> Share:
    """Tell the share that an invoice's prorated lines have; a change that charges in full has the whole."""
    invoice = fact.invoice
    if invoice.basis.facts.get("whole") or not invoice.days_in_cycle or invoice.days_remaining is None:
        return _WHOLE
    return Share(invoice.days_remaining, invoice.days_in_cycle)


def _discount(line: Line, stored: Mapping[str, Any] | None) -> tuple[DiscountType, Decimal, str]:
    """Tell type, value and name of the discount: on the line itself, or in the basis of a change."""
    if line.discount_type is not None and line.discount_value is not None:
        return DiscountType(line.discount_type), Decimal(line.discount_value), line.discount_name or ""
    discount = msgspec.convert(stored, Discount)
    return discount.type, discount.value, discount.name


def _shared(formula: str, share: Share) -> str:
    return f"round(({formula}) * daysRemaining / daysInPeriod)" if share is not _WHOLE else formula


def _share_inputs(share: Share) -> dict[str, Input]:
    return {} if share is _WHOLE else {"daysRemaining": share.remaining, "daysInPeriod": share.days}


def _part(share: Share) -> str:
    return "" if share is _WHOLE else f", for {share.remaining} of {share.days} days"
