"""Buying credits and balance: who may buy what, and where it counts. Pure.

A credit pack adds to one sum that never expires (R-CREDIT-3); a top-up belongs to the draw window in which it is bought
(R-TOPUP-3). Both are granted once, with the payment that succeeds (R-PACK-3, R-TOPUP-2).
"""

from typing import Final

import msgspec

from billing.money.invoice import Line, LineKind, amount_line
from catalog.definition import CreditPack
from catalog.terms import ConsumptionModel, Snapshot, SubscriptionStatus, Terms
from kernel.errors import Refusal
from kernel.money import Money
from kernel.period import day_of_us
from kernel.quantity import to_units

# The least that a card takes (R-TOPUP-5, AMB-29).
TOP_UP_MIN_MINOR: Final = 50
PACK_CURRENCY: Final = "usd"  # whatever the subscription's (R-REG-8)
_BUYING: Final = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING})


class PackPurchase(msgspec.Struct, frozen=True, kw_only=True):
    """A pack that was bought: `credits` a decimal string, the price in minor units of USD."""

    id: str
    organization_id: str
    customer_id: str
    subscription_id: str
    pack_id: str
    pack_name: str
    credits: str
    price_minor: int
    term: int
    window_day: int
    invoice_id: str
    created_ms: int

    @property
    def units(self) -> int:
        """Tell the credits in 1e-9."""
        return to_units(self.credits)


class TopUpPurchase(msgspec.Struct, frozen=True, kw_only=True):
    """A top-up that was bought, in the draw window that starts on `window_day` under the terms `term`."""

    id: str
    organization_id: str
    customer_id: str
    subscription_id: str
    amount_minor: int
    currency: str
    term: int
    window_day: int
    invoice_id: str
    created_ms: int

    @property
    def units(self) -> int:
        """Tell the money in 1e-9 of the currency's major unit."""
        return top_up_units(self.amount_minor, self.currency)


def pack_line(name: str, credits_text: str, price_minor: int, *, term: int, cut: int) -> Line:
    """Make the line of a pack that is bought; `credits_text` is a decimal string (R-INV-4)."""
    price = Money(price_minor, PACK_CURRENCY)
    return amount_line(LineKind.CREDIT_PACK, f"{name}, {credits_text} credits", price, term=term, cut=cut)


def top_up_line(amount_minor: int, currency: str, *, term: int, cut: int) -> Line:
    """Make the line of a top-up (R-INV-4)."""
    amount = Money(amount_minor, currency)
    return amount_line(LineKind.BALANCE_TOPUP, "Balance top-up", amount, term=term, cut=cut)


def adjustment_line(description: str, amount_minor: int, currency: str, *, term: int, cut: int) -> Line:
    """Make the line of an adjustment, negative when it gives (R-INV-5)."""
    amount = Money(amount_minor, currency)
    return amount_line(LineKind.ADJUSTMENT, description, amount, term=term, cut=cut)


def top_up_units(amount_minor: int, currency: str) -> int:
    """Turn minor units into 1e-9 of the major unit: 50.00 paid adds 50.00 (R-TOPUP-2)."""
    return to_units(Money(amount_minor, currency).major())


def refused_pack(snapshot: Snapshot, day: int, pack: CreditPack) -> Refusal | None:
    """Tell why a pack cannot be bought; None when it can (R-PACK-1, R-PACK-2)."""
    terms, refused = _buying(snapshot, day)
    if terms is None:
        return refused
    if terms.model is not ConsumptionModel.CREDITS:
        return _fault("creditPackId", "is for credits plans: the customer's plan has no credits", "R-PACK-1")
    if not pack.active or (pack.plans is not None and terms.plan not in pack.plans):
        return Refusal(
            code="credit_pack_not_found",
            message=f"The pack {pack.name} is not sold on the customer's plan.",
            param="creditPackId",
        )
    return None


def refused_top_up(snapshot: Snapshot, day: int, amount_minor: int) -> Refusal | None:
    """Tell why a balance cannot be topped up; None when it can (R-TOPUP-1, R-TOPUP-5)."""
    if amount_minor < TOP_UP_MIN_MINOR:
        return _fault("amount", f"must be at least {TOP_UP_MIN_MINOR} minor units", "R-TOPUP-5")
    terms, refused = _buying(snapshot, day)
    if terms is None:
        return refused
    if terms.model is not ConsumptionModel.BALANCE:
        return _fault("amount", "tops up balance plans: the customer's plan has no balance", "R-TOPUP-1")
    return None


def _buying(snapshot: Snapshot, day: int) -> tuple[Terms | None, Refusal | None]:
    """Tell the terms under which a customer buys now, or why there are none: active, trialing or free (R-PACK-2)."""
    terms = None if snapshot.status not in _BUYING else snapshot.terms_on(day)
    if terms is not None and (snapshot.end_us is None or day_of_us(snapshot.end_us - 1) >= day):
        return terms, None
    status = "not subscribed" if snapshot.status is None else snapshot.status.value
    return None, Refusal(
        code="invalid_subscription_status",
        message=f"The customer is {status}: only an active or trialing one buys.",
    )


def _fault(field: str, message: str, rule: str) -> Refusal:
    details = [{"field": field, "message": message}]
    return Refusal(code="validation_error", message=message, param=field, details=details, rule=rule)
