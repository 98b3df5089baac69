"""Why a line of a change of plan, a purchase, an adjustment or of account credit costs what it does. Pure.

Source: R-PRO-1 to R-PRO-6, R-CHG-3 to R-CHG-5, R-CHG-11, R-PACK-3, R-TOPUP-2, R-INV-5.
"""

from decimal import Decimal
from typing import Any

from billing.life.frozen import PeriodTerms
from billing.money.explanation.fact import Fact, Input, Why
from billing.money.invoice import VOID, Line, LineKind
from billing.sale.proration import Share, share_of_amount
from billing.sale.seat import SEATS
from kernel.quantity import EXACT, canonical


def credit_why(line: Line, fact: Fact) -> Why:
    """Explain what a change gives back of the old period: what was paid for it, for the days that are left."""
    terms = _left(fact)
    minor = _paid_minor(line, fact, terms)
    share = _share(fact)
    amount = share_of_amount(EXACT.minus(fact.money(minor).major()), share, fact.invoice.currency)
    what = "its base price" if line.feature_id is None else line.feature_code
    return Why(
        rules=("R-PRO-1", "R-PRO-6", "R-PRO-2"),
        formula="-round(paid * daysRemaining / daysInPeriod)",
        inputs={"paid": fact.major(minor), **_inputs(share)},
        amount=amount,
        words=(
            f"{fact.major(minor)} was paid for {what} in the period that ends, net of discounts;"
            f" {share.remaining} of its {share.days} days are left and given back."
        ),
        terms=terms,
    )


def charge_why(line: Line, fact: Fact) -> Why:
    """Explain what a change charges of the new plan: for the same days, or whole (R-CHG-4, R-CHG-5)."""
    terms = fact.begun(line.term)
    whole = bool(fact.invoice.basis.facts.get("whole"))
    share = Share(1, 1) if whole else _share(fact)
    price, inputs = _price(line, fact, terms)
    words = "in full" if whole else f"for the {share.remaining} of {share.days} days that were left of the old period"
    return Why(
        rules=("R-CHG-5", "R-PRO-1") if whole else ("R-CHG-4", "R-PRO-1", "R-PRO-2"),
        formula="round(price)" if whole else "round(price * daysRemaining / daysInPeriod)",
        inputs={**inputs, **({} if whole else _inputs(share))},
        amount=share_of_amount(price, share, fact.invoice.currency),
        words=f"{canonical(price)} is the new period's price of {line.feature_code or 'the plan'}, charged {words}.",
        terms=terms,
    )


def _price(line: Line, fact: Fact, terms: PeriodTerms | None) -> tuple[Decimal, dict[str, Input]]:
    granted = None if terms is None else terms.feature(line.feature_id or "")
    if granted is not None and granted.kind == SEATS:
        price = EXACT.multiply(Decimal(line.quantity), Decimal(line.unit_price))
        return price, {"price": canonical(price), "seats": line.quantity, "unitPrice": line.unit_price}
    minor = terms.base_minor if terms is not None and granted is None else 0 if granted is None else granted.base_minor
    return fact.money(minor).major(), {"price": fact.major(minor)}


def _left(fact: Fact) -> PeriodTerms | None:
    """Tell the terms that a change ended."""
    return fact.standing(min(fact.invoice.basis.terms, default=0), fact.day)


def _paid_minor(line: Line, fact: Fact, terms: PeriodTerms | None) -> int:
    """Tell what was paid for a part of the old period: its base, a seat type with its true-up, an add-on."""
    facts: dict[str, Any] = dict(fact.invoice.basis.facts)
    if line.feature_id is None:
        return int(facts.get("paidMinor", 0))
    parts: dict[str, int] = facts.get("partsPaid", {})
    paid = parts.get(line.feature_id, 0)
    granted = None if terms is None else terms.feature(line.feature_id)
    if granted is not None and granted.addon:
        return min(paid, granted.base_minor)
    grown = [one for _, one in fact.lines if one.kind is LineKind.SEAT_TRUE_UP and one.feature_id == line.feature_id]
    return paid + sum(one.amount_minor for one in grown)


def _share(fact: Fact) -> Share:
    return Share(fact.invoice.days_remaining or 0, fact.invoice.days_in_cycle or 1)


def _inputs(share: Share) -> dict[str, Input]:
    return {"daysRemaining": share.remaining, "daysInPeriod": share.days}


def pack_why(line: Line, fact: Fact) -> Why:
    """Explain a credit pack: its price when it was bought (R-PRICE-5)."""
    facts = fact.invoice.basis.facts
    price, credits_text = int(facts["priceMinor"]), str(facts["credits"])
    return Why(
        rules=("R-PACK-3", "R-PRICE-5"),
        formula="price",
        inputs={"price": fact.major(price), "credits": credits_text, "creditPackId": facts["pack"]},
        amount=fact.money(price),
        words=f"{line.description} for {fact.major(price)}: the price when it was bought; its credits never expire.",
        terms=fact.standing(line.term, fact.day),
    )


def top_up_why(line: Line, fact: Fact) -> Why:
    """Explain a top-up: what is paid is what is added (R-TOPUP-2)."""
    minor = int(fact.invoice.basis.facts["amountMinor"])
    return Why(
        rules=("R-TOPUP-2", "R-TOPUP-3"),
        formula="topUp",
        inputs={"topUp": fact.major(minor)},
        amount=fact.money(minor),
        words=f"{fact.major(minor)} added to the balance, an overdraft first; what is left goes with the renewal.",
        terms=fact.standing(line.term, fact.day),
    )


def adjustment_why(line: Line, fact: Fact) -> Why:
    """Explain a correction that the seller made by hand (R-INV-5)."""
    minor = int(fact.invoice.basis.facts["amountMinor"])
    did = "charged" if minor > 0 else "gave"
    return Why(
        rules=("R-INV-5",),
        formula="adjustment",
        inputs={"adjustment": fact.major(minor)},
        amount=fact.money(minor),
        words=f"The seller {did} {fact.major(abs(minor))} by hand: {line.description}.",
        terms=fact.standing(line.term, fact.day),
    )


def credit_applied_why(line: Line, fact: Fact) -> Why:
    """Explain account credit that the invoice took: the oldest first, at most what it charges (R-CHG-11).

    A void one gave it back, so that no credit tells any more what it took: the invoice does.
    """
    owed = sum(one.amount_minor for _, one in fact.lines if one.kind is not LineKind.ACCOUNT_CREDIT_APPLIED)
    taken = sum(minor for _, minor in fact.credits)
    given: dict[str, Input] = {f"credit {credit}": fact.major(minor) for credit, minor in fact.credits}
    back = ""
    if fact.invoice.status == VOID:
        taken = fact.invoice.credit_applied_minor
        given, back = {"credit": fact.major(taken)}, " It was given back when the invoice was voided."
    return Why(
        rules=("R-CHG-11",),
        formula="-min(owed, sum of the credits taken)",
        inputs={"owed": fact.major(owed), **given},
        amount=fact.money(-min(owed, taken)),
        words=f"{fact.major(taken)} of account credit pays for what the other lines charge, {fact.major(owed)}.{back}",
        terms=fact.standing(line.term, fact.day),
    )
