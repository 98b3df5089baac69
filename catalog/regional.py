"""Prices in other currencies: what follows the exchange rate, and what a seller set by hand. Pure.

Invariant: a synced value is a function of the rate and the price in the plan's own currency, so it follows both; a
manual one follows neither. Source: section 27 of the rules (R-REG-1 to R-REG-6).
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import msgspec

from catalog.definition import DiscountType, IntroOffer, Plan, PlanFeature, PlanPrice, RegionalPrice, RegionalRate
from catalog.plan_rule import INTRO_CYCLES_MAX
from catalog.terms import ConsumptionModel
from kernel.errors import invalid
from kernel.money import Money, minor_places, parse_unit_price, round_half_away
from kernel.quantity import EXACT, canonical

# The 20 of R-REG-1 with USD; the newest clients' enumeration adds gbp (contract 6, Currency21).
CURRENCIES: Final = frozenset(
    (
        *("usd", "ars", "brl", "clp", "cop", "pen", "uyu", "pyg", "bob", "mxn", "cad", "eur", "jpy", "cny"),
        *("krw", "hkd", "sgd", "twd", "inr", "thb", "gbp"),
    )
)
_UNIT_PRICE_STEP: Final = Decimal("0.000001")
# Twice what the dearest unit of money is in the cheapest of these; with it the greatest price, of a currency without a
# minor unit, is 5e18 in another's, which 64 bits hold.
RATE_MAX: Final = Decimal(50_000)


class ManualPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a seller set by hand of a price in one currency; None follows the rate."""

    amount_minor: int | None = None
    included: Decimal | None = None
    intro: IntroOffer | None = None


class Region(msgspec.Struct, frozen=True, kw_only=True):
    """What a seller said of a plan in one currency: prices by interval, unit prices by feature code."""

    rate: str | None
    prices: Mapping[str, ManualPrice]
    unit_prices: Mapping[str, str]


def currency_of(text: str, own: str) -> str:
    """Check the currency of a regional price; `own` is the plan's own. Raises Rejected."""
    currency = text.lower()
    if currency not in CURRENCIES:
        raise invalid("currency", f"must be one of {', '.join(sorted(CURRENCIES))}")
    if currency == own.lower():
        raise invalid("currency", f"{own} is the currency of the prices themselves")
    return currency


def rate_of(value: Decimal) -> str:
    """Check an exchange rate and spell it in its one way. Raises Rejected."""
    try:
        rate = parse_unit_price(str(value))
    except ValueError as error:
        raise invalid("exchangeRate", str(error)) from error
    if not 0 < rate <= RATE_MAX:
        raise invalid("exchangeRate", f"must be greater than 0 and at most {RATE_MAX}")
    return canonical(rate)


def check_ungrouped(plan: Plan) -> Plan:
    """Refuse regional prices of a plan in a group (R-GROUP-2). Raises Rejected."""
    if plan.group_id is not None:
        raise invalid("planId", f"The plan {plan.code} is in a plan group: grouped plans have no regional prices.")
    return plan


def has_regions(plan: Plan) -> bool:
    """Tell whether a plan has regional prices, which keeps it out of groups (R-GROUP-2)."""
    return bool(
        plan.exchange_rates
        or any(price.regional for price in plan.prices)
        or any(granted.regional for granted in plan.features)
    )


def converted_minor(amount_minor: int, own: str, currency: str, rate: str) -> int:
    """Convert an amount: half-up to the minor unit of the other currency, which may have none (R-REG-6)."""
    major = EXACT.scaleb(Decimal(amount_minor), -minor_places(own))
    return round_half_away(EXACT.multiply(major, Decimal(rate)), currency.upper()).minor


def converted_amount(amount: Decimal, currency: str, rate: str) -> Decimal:
    """Convert an amount of the major unit: half-up to the minor unit of the other currency (R-REG-6)."""
    return round_half_away(EXACT.multiply(amount, Decimal(rate)), currency.upper()).major()


def converted_unit_price(unit_price: str, rate: str) -> str:
    """Convert a unit price: half-up to 6 places (R-REG-6)."""
    exact = EXACT.multiply(Decimal(unit_price), Decimal(rate))
    return canonical(_rounded(exact, _UNIT_PRICE_STEP))


def regional_price(
    plan: Plan, price: PlanPrice, currency: str, rate: str | None, manual: ManualPrice | None
) -> RegionalPrice | None:
    """Tell a price in another currency: manual values as they are, all others by the rate (R-REG-2, R-REG-3).

    None when there is neither a rate nor an amount by hand: then the price in the plan's own currency holds (R-REG-5).
    """
    by_hand = manual or ManualPrice()
    if by_hand.amount_minor is not None:
        amount = by_hand.amount_minor
    elif rate is not None:
        amount = converted_minor(price.amount_minor, price.currency, currency, rate)
    else:
        return None
    said = _pool(plan, price, currency, rate, by_hand)
    pool_is_price = said is None and plan.model is ConsumptionModel.BALANCE
    return RegionalPrice(
        currency=currency,
        amount_minor=amount,
        included=Money(amount, currency.upper()).major() if pool_is_price else said,
        synced=by_hand.amount_minor is None,
        intro=by_hand.intro or _converted_intro(price.intro, currency, rate),
        pool_is_price=pool_is_price,
    )


def _pool(plan: Plan, price: PlanPrice, currency: str, rate: str | None, by_hand: ManualPrice) -> Decimal | None:
    """Tell a balance plan's pool in another currency: by hand, else by the rate; None: it is the price there."""
    if by_hand.included is not None or plan.model is not ConsumptionModel.BALANCE:
        return by_hand.included
    own = plan.included if price.included is None else price.included
    return None if own is None or rate is None else converted_amount(own, currency, rate)


def regional_rate(granted: PlanFeature, currency: str, rate: str | None, by_hand: str | None) -> RegionalRate | None:
    """Tell a feature's unit price in another currency; None when it has none, or nothing says it."""
    if by_hand is not None:
        return RegionalRate(currency=currency, unit_price=by_hand, synced=False)
    if rate is None or Decimal(granted.unit_price) == 0:
        return None
    return RegionalRate(currency=currency, unit_price=converted_unit_price(granted.unit_price, rate))


def intro_by_hand(price: PlanPrice, discount: DiscountType, value: Decimal, cycles: int | None) -> IntroOffer:
    """Make an intro offer of one currency; without `cycles` it runs as long as the price's own. Raises Rejected."""
    own = None if price.intro is None else price.intro.cycles
    runs = own if cycles is None else cycles
    if runs is None:
        raise invalid("introOffers.durationCycles", "is required where the price has no intro offer of its own")
    if not 1 <= runs <= INTRO_CYCLES_MAX:
        raise invalid("introOffers.durationCycles", f"must be from 1 to {INTRO_CYCLES_MAX}")
    return IntroOffer(type=discount, value=value, cycles=runs)


def _converted_intro(intro: IntroOffer | None, currency: str, rate: str | None) -> IntroOffer | None:
    """A percentage is the same in every currency; an amount follows the rate (R-DISC-14)."""
    if intro is None or intro.type is DiscountType.PERCENT:
        return intro
    if rate is None:
        return None
    return msgspec.structs.replace(intro, value=converted_amount(intro.value, currency, rate))


def _rounded(value: Decimal, step: Decimal) -> Decimal:
    return value.quantize(step, rounding=ROUND_HALF_UP)


def with_regions(
    plan: Plan,
    rates: Mapping[str, str],
    prices: Mapping[tuple[str, str], ManualPrice],
    units: Mapping[tuple[str, str], str],
) -> Plan:
    """Tell a plan its exchange rates, and what its prices and features cost in every currency that it has.

    `prices` are set by hand, by price id and currency, `units` unit prices by feature id and currency.
    """
    currencies = sorted({*rates, *(currency for _, currency in prices), *(currency for _, currency in units)})
    own_prices, own_features = [], []
    for price in plan.prices:
        said = [regional_price(plan, price, one, rates.get(one), prices.get((price.id, one))) for one in currencies]
        own_prices.append(msgspec.structs.replace(price, regional=tuple(one for one in said if one is not None)))
    for granted in plan.features:
        by_hand = [units.get((granted.feature.id_text, one)) for one in currencies]
        told = [
            regional_rate(granted, one, rates.get(one), hand) for one, hand in zip(currencies, by_hand, strict=True)
        ]
        own_features.append(msgspec.structs.replace(granted, regional=tuple(one for one in told if one is not None)))
    return msgspec.structs.replace(plan, exchange_rates=rates, prices=tuple(own_prices), features=tuple(own_features))
