"""Promo codes: how they are spelled, and what keeps one from being used. Pure.

What a code takes off, and what it has to leave, is billing's; that it is redeemed once is the store's.
Source: R-DISC-5, R-DISC-8, R-DISC-12, R-DISC-14.
"""

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from catalog.definition import DiscountType, Plan, PromoCode, PromoDuration
from catalog.offer import AmountOff, Offer, OfferAmount, PercentageOff, Phase
from catalog.regional import converted_amount
from kernel import ids
from kernel.errors import Refusal, Rejected, invalid
from kernel.money import minor_places
from kernel.period import Interval
from kernel.quantity import EXACT

_CODE: Final = re.compile(r"[A-Z0-9_-]{1,64}")
_PERCENT_MAX: Final = Decimal(100)
CYCLES_MAX: Final = 1_200  # a century of months: beyond it a code is `forever`
REDEMPTIONS_MAX: Final = 10**9


def promo_text(text: str) -> str:
    """Spell a code in its one way: codes are case-insensitive (R-DISC-12). Raises Rejected for what is none."""
    code = text.strip().upper()
    if not _CODE.fullmatch(code):
        raise invalid("code", "must be 1 to 64 letters, digits, - and _")
    return code


def check_promo(promo: PromoCode) -> PromoCode:
    """Refuse values that a code cannot have (R-DISC-8). Raises Rejected with the field."""
    if promo.value <= 0:
        raise invalid("discountValue", "must be greater than 0")
    if promo.type is DiscountType.PERCENT and promo.value > _PERCENT_MAX:
        raise invalid("discountValue", "must be at most 10,000 basis points: the whole price")
    if promo.duration is PromoDuration.REPEATING and not 1 <= (promo.cycles or 0) <= CYCLES_MAX:
        raise invalid("durationCycles", f"must be from 1 to {CYCLES_MAX}, or null for ever")
    if promo.max_redemptions is not None and not 1 <= promo.max_redemptions <= REDEMPTIONS_MAX:
        raise invalid("maxRedemptions", f"must be from 1 to {REDEMPTIONS_MAX}, or null for any number")
    return promo


def cycles_of(promo: PromoCode) -> int | None:
    """Tell how many billing periods a code covers; None is for ever (R-DISC-5)."""
    if promo.duration is PromoDuration.ONCE:
        return 1
    return None if promo.duration is PromoDuration.FOREVER else promo.cycles


def offer_of_promo(promo: PromoCode, currency: str) -> Offer:
    """Spell what a code takes off as an offer of its own, whose id is the code's (contract row 99)."""
    cycles = cycles_of(promo)
    scaled = EXACT.scaleb(promo.value, 2 if promo.type is DiscountType.PERCENT else minor_places(currency))
    amount = int(scaled.to_integral_value(rounding=ROUND_HALF_UP))
    phase: Phase = (
        PercentageOff(percentage=amount, duration_cycles=cycles)
        if promo.type is DiscountType.PERCENT
        else AmountOff(amounts=(OfferAmount(currency=currency, amount=amount),), duration_cycles=cycles)
    )
    return Offer(
        id=promo.id.replace(ids.PROMO_CODE, ids.OFFER, 1),
        organization=promo.organization,
        name=promo.code,
        phases=(phase,),
        created_ms=promo.created_ms,
        updated_ms=promo.updated_ms,
    )


def value_in(promo: PromoCode, plan: Plan, currency: str, own: str) -> Decimal:
    """Tell what a code takes off a plan's price in a currency: a percentage, or an amount of its major unit.

    A code's amount is in `own`, the organization's currency; in another one it follows the plan's rate, as an offer of
    a price does (R-REG-3, R-DISC-14). Raises Rejected `offer_not_applicable` where there is none.
    """
    if promo.type is DiscountType.PERCENT or currency.lower() == own.lower():
        return promo.value
    rate = plan.exchange_rates.get(currency.lower())
    if rate is None:
        pair = f"{own.upper()} to {currency.upper()}"
        text = f"The code {promo.code} takes an amount off, and the plan {plan.code} has no rate from {pair}."
        raise Rejected(_refused(text, "R-DISC-14"))
    return converted_amount(promo.value, currency, rate)


def refusal_of(promo: PromoCode, plan: str, interval: Interval, day: int) -> Refusal | None:
    """Tell why a code cannot be used for a plan (its id) and interval on a day; None: it can (R-DISC-8, R-DISC-12)."""
    if promo.plans is not None and plan not in promo.plans:
        return _refused(f"The code {promo.code} is not for this plan.")
    if promo.interval is not None and promo.interval is not interval:
        return _refused(f"The code {promo.code} is for {promo.interval} prices.")
    return redemption_refusal_of(promo, day)


def redemption_refusal_of(promo: PromoCode, day: int) -> Refusal | None:
    """Tell why a code cannot be redeemed on a day, by whomever; None: it can.

    `day` is of the organization's now, in UTC; a code is valid through the whole of its last day (R-DISC-12).
    """
    if not promo.active:
        return _refused(f"The code {promo.code} is not active.")
    if promo.expires_day is not None and day > promo.expires_day:
        return Refusal(code="promo_code_expired", message=f"The code {promo.code} has expired.", param="promoCode")
    if promo.max_redemptions is not None and promo.redemptions >= promo.max_redemptions:
        return exhausted(promo)
    return None


def exhausted(promo: PromoCode) -> Refusal:
    """Say that a code is used up."""
    return _refused(f"The code {promo.code} has no redemptions left.", "R-DISC-12")


def redeemed_before(promo: PromoCode) -> Refusal:
    """Say that this customer has used the code."""
    return _refused(f"This customer has used the code {promo.code}.")


def _refused(message: str, rule: str | None = None) -> Refusal:
    return Refusal(code="offer_not_applicable", message=message, param="promoCode", rule=rule)
