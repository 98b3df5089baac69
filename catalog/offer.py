"""Offers as objects: phases of discount that prices, codes and subscriptions name by id (era D). Pure.

Owns what an offer may say and what it comes to in a currency. Amounts are minor units, percentages basis points, as the
wire has them. Invariant: durations count billing periods (R-DISC-5). Source: contract rows 91 to 95.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from catalog import rule
from catalog.definition import DiscountType, IntroOffer
from catalog.plan_rule import INTRO_CYCLES_MAX, TRIAL_DAYS_MAX
from kernel.errors import invalid, rejected
from kernel.limits import AMOUNT_MINOR_MAX
from kernel.money import minor_places
from kernel.quantity import EXACT
from kernel.wire import Wire

PHASES_MAX: Final = 10  # a trial and some steps: an offer that a buyer can still read
PERCENTAGE_MAX: Final = 10_000  # basis points: the whole
_BASIS_POINTS: Final = Decimal(100)  # of a per cent


class OfferAmount(Wire, frozen=True, kw_only=True):
    """Minor units of a currency."""

    currency: str
    amount: int


class FreeTrial(Wire, frozen=True, kw_only=True, tag_field="type", tag="free_trial"):
    """Days without a charge, before everything else."""

    duration_days: int


class PercentageOff(Wire, frozen=True, kw_only=True, tag_field="type", tag="percentage"):
    """Basis points off the base price; `duration_cycles` None is for ever."""

    percentage: int
    duration_cycles: int | None = None
    duration_interval: str | None = None


class AmountOff(Wire, frozen=True, kw_only=True, tag_field="type", tag="amount_off"):
    """An amount off the base price, by currency."""

    amounts: tuple[OfferAmount, ...]
    duration_cycles: int | None = None
    duration_interval: str | None = None


class FixedPrice(Wire, frozen=True, kw_only=True, tag_field="type", tag="fixed_price"):
    """A base price of its own, by currency."""

    prices: tuple[OfferAmount, ...]
    duration_cycles: int | None = None
    duration_interval: str | None = None


Phase = FreeTrial | PercentageOff | AmountOff | FixedPrice


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What may be taken off: its phases in order. It holds from `starts_ms` until before `ends_ms` (None: always)."""

    id: str
    organization: bytes
    name: str
    phases: tuple[Phase, ...]
    metadata: Mapping[str, Any] = msgspec.field(default_factory=dict)
    starts_ms: int | None = None
    ends_ms: int | None = None
    active: bool = True
    created_ms: int = 0
    updated_ms: int = 0

    def in_force(self, now_ms: int) -> bool:
        """Tell whether it may be used now."""
        begun = self.starts_ms is None or self.starts_ms <= now_ms
        return self.active and begun and (self.ends_ms is None or now_ms < self.ends_ms)


class OfferDiscount(msgspec.Struct, frozen=True, kw_only=True):
    """What an offer takes off the base price: per cent, or an amount in the major unit; `cycles` None is for ever."""

    type: DiscountType
    value: Decimal
    cycles: int | None


def taken_off(kind: DiscountType, value: int, currency: str, field: str) -> Decimal:
    """Read what a discount takes off: basis points as a percentage, minor units as an amount in the major unit.

    Raises Rejected for nothing, for more than the whole, and for more than a price may be.
    """
    if kind is DiscountType.PERCENT:
        if not 1 <= value <= PERCENTAGE_MAX:
            raise invalid(field, f"must be from 1 to {PERCENTAGE_MAX} basis points: the whole price")
        return EXACT.divide(Decimal(value), _BASIS_POINTS)
    if not 1 <= value <= AMOUNT_MINOR_MAX:
        raise invalid(field, f"must be from 1 to {AMOUNT_MINOR_MAX} minor units")
    return EXACT.scaleb(Decimal(value), -minor_places(currency))


def discount_of(offer: Offer, currency: str) -> OfferDiscount:
    """Tell the one discount of an offer in a currency.

    Raises Rejected `offer_not_applicable` for an offer of several phases, of a trial or a fixed price, or of other
    currencies.
    """
    if len(offer.phases) == 1:
        phase = offer.phases[0]
        if isinstance(phase, PercentageOff):
            value = EXACT.scaleb(Decimal(phase.percentage), -2)
            return OfferDiscount(type=DiscountType.PERCENT, value=value, cycles=phase.duration_cycles)
        if isinstance(phase, AmountOff):
            for amount in phase.amounts:
                if amount.currency.lower() == currency.lower():
                    value = EXACT.scaleb(Decimal(amount.amount), -minor_places(currency))
                    return OfferDiscount(type=DiscountType.FIXED, value=value, cycles=phase.duration_cycles)
    raise rejected(
        "offer_not_applicable", f"The offer {offer.name} is not one discount in {currency}.", param="offerId"
    )


def intro_of_offer(offer: Offer, currency: str) -> IntroOffer | None:
    """Tell what an offer is as the intro offer of a price (R-DISC-14); None while it is not active.

    Raises Rejected `offer_not_applicable` for one that is not a discount for some periods, or holds for a time only.
    """
    discount = discount_of(offer, currency)
    if discount.cycles is None or offer.starts_ms is not None or offer.ends_ms is not None:
        text = f"The offer {offer.name} has no last period, or dates: a price's offer has the first and not the other."
        raise rejected("offer_not_applicable", text, param="offerId")
    return IntroOffer(type=discount.type, value=discount.value, cycles=discount.cycles) if offer.active else None


def check_offer(offer: Offer) -> Offer:
    """Refuse an offer whose phases, durations or dates say nothing that can be billed."""
    rule.name_of(offer.name)
    if not 1 <= len(offer.phases) <= PHASES_MAX:
        raise invalid("phases", f"must have 1 to {PHASES_MAX} elements")
    for index, phase in enumerate(offer.phases):
        last = index == len(offer.phases) - 1
        _check_phase(phase, f"phases[{index}]", first=index == 0, last=last)
    if offer.starts_ms is not None and offer.ends_ms is not None and offer.ends_ms <= offer.starts_ms:
        raise invalid("endsAt", "must be after startsAt")
    return offer


def _check_phase(phase: Phase, place: str, *, first: bool, last: bool) -> None:
    if isinstance(phase, FreeTrial):
        if not first:
            raise invalid(f"{place}.type", "A trial comes first.")
        if not 1 <= phase.duration_days <= TRIAL_DAYS_MAX:
            raise invalid(f"{place}.durationDays", f"must be from 1 to {TRIAL_DAYS_MAX}")
        return
    if phase.duration_interval is not None:
        raise invalid(f"{place}.durationInterval", "is not supported: durations count billing periods")
    if phase.duration_cycles is None and not last:
        raise invalid(f"{place}.durationCycles", "only the last phase goes on for ever")
    if phase.duration_cycles is not None and not 1 <= phase.duration_cycles <= INTRO_CYCLES_MAX:
        raise invalid(f"{place}.durationCycles", f"must be from 1 to {INTRO_CYCLES_MAX}")
    if isinstance(phase, PercentageOff):
        if not 1 <= phase.percentage <= PERCENTAGE_MAX:
            raise invalid(f"{place}.percentage", f"must be from 1 to {PERCENTAGE_MAX} basis points")
    elif isinstance(phase, AmountOff):
        _check_amounts(phase.amounts, f"{place}.amounts", lowest=1)
    else:
        _check_amounts(phase.prices, f"{place}.prices", lowest=0)


def _check_amounts(amounts: Sequence[OfferAmount], place: str, *, lowest: int) -> None:
    currencies = [amount.currency.lower() for amount in amounts]
    if not amounts or len(set(currencies)) != len(currencies):
        raise invalid(place, "must name each currency once")
    for amount in amounts:
        if not lowest <= amount.amount <= AMOUNT_MINOR_MAX:
            raise invalid(place, f"must be from {lowest} to {AMOUNT_MINOR_MAX} minor units")
