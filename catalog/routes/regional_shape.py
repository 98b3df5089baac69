"""Prices in other currencies as the wire shows them beside a plan (contract 4.2, Plan)."""

from decimal import Decimal
from typing import Any, Final

from catalog.definition import DiscountType, IntroOffer, Plan, PlanFeature, PlanPrice, RegionalPrice
from kernel.money import minor_places
from kernel.quantity import EXACT
from kernel.wire import rate_of_unit_price

_BASIS_POINTS: Final = Decimal(100)  # of a per cent


def exchange_rates_wire(plan: Plan) -> list[dict[str, Any]]:
    """Spell a plan's exchange rates."""
    rates = sorted(plan.exchange_rates.items())
    return [{"currency": currency, "exchangeRate": Decimal(rate)} for currency, rate in rates]


def regional_prices_wire(price: PlanPrice) -> list[dict[str, Any]]:
    """Spell a price in other currencies: minor units of each."""
    return [
        {
            "currency": one.currency,
            "price": one.amount_minor,
            "includedBalance": _minor(one.included, one.currency),
            "autoSynced": one.synced,
            "introOffer": _intro(one),
        }
        for one in price.regional
    ]


def regional_rates_wire(granted: PlanFeature) -> list[dict[str, Any]]:
    """Spell a feature's unit price in other currencies: at the rate scale, and as a decimal (decision 6)."""
    return [
        {
            "currency": one.currency,
            "overageUnitPrice": rate_of_unit_price(one.unit_price),
            "unitPriceDecimal": one.unit_price,
            "autoSynced": one.synced,
        }
        for one in granted.regional
    ]


def _minor(amount: Decimal | None, currency: str) -> int | None:
    return None if amount is None else int(EXACT.scaleb(amount, minor_places(currency)))


def _intro(price: RegionalPrice) -> dict[str, Any] | None:
    offer: IntroOffer | None = price.intro
    if offer is None:
        return None
    percent = offer.type is DiscountType.PERCENT
    return {
        "enabled": True,
        "discountType": "percentage" if percent else "amount",
        "discountValue": int(offer.value * _BASIS_POINTS) if percent else _minor(offer.value, price.currency),
        "durationCycles": offer.cycles,
    }
