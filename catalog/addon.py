"""Add-ons: which plans they go with, and what they cost a billing period. Pure. Source: section 20 of the rules."""

import re
from decimal import Decimal
from typing import Final

from catalog.definition import Addon, FeatureKind, Plan
from catalog.plan_rule import check_granted
from catalog.regional import converted_unit_price
from catalog.terms import ConsumptionModel
from kernel.errors import invalid
from kernel.money import Money, round_half_away
from kernel.period import Interval
from kernel.quantity import EXACT

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,199}")
_NO_SLUG: Final = re.compile(r"[^a-z0-9_]+")
_BOOLEAN: Final = "boolean"
MODEL_WORDS: Final = {_BOOLEAN: None, **{model.value: model for model in ConsumptionModel}}


def slug_of(text: str) -> str:
    """Check a slug. Raises Rejected."""
    if not _SLUG.fullmatch(text):
        raise invalid("slug", "must be 1 to 200 of the characters a to z, 0 to 9, - and _, and begin with no sign")
    return text


def slug_from(name: str) -> str:
    """Make a slug of a name: `SSO access` is `sso-access`. Raises Rejected for a name without letters."""
    return slug_of(_NO_SLUG.sub("-", name.lower()).strip("-")[:200])


def model_of(word: str) -> ConsumptionModel | None:
    """Read an add-on's model; `boolean` is none (R-ADDON-1). Raises Rejected."""
    if word not in MODEL_WORDS:
        raise invalid("consumptionModel", f"{word} is not supported: use {', '.join(MODEL_WORDS)}")
    return MODEL_WORDS[word]


def model_word(addon: Addon) -> str:
    """Spell an add-on's model."""
    return _BOOLEAN if addon.model is None else addon.model.value


def check_addon(addon: Addon) -> Addon:
    """Refuse a model that the add-on's one feature cannot have, and prices of another model (R-ADDON-1)."""
    kind = addon.granted.feature.kind
    if kind is FeatureKind.SEATS:
        raise invalid("featureId", "An add-on brings a boolean or a metered feature, no seats.")
    if (addon.model is None) != (kind is FeatureKind.BOOLEAN):
        raise invalid("consumptionModel", f"An add-on of a {kind} feature is {_WORDS_OF[kind]}.")
    if addon.model is ConsumptionModel.CREDITS and Decimal(addon.granted.credits) <= 0:
        raise invalid("creditCost", "A credits add-on says how many credits one use costs.")
    model = addon.model or ConsumptionModel.METERED
    check_granted(Plan(id="", organization=addon.organization, code="", name="", model=model), addon.granted)
    return addon


_WORDS_OF: Final = {FeatureKind.BOOLEAN: _BOOLEAN, FeatureKind.METERED: "metered, credits or balance"}


def fits(addon: Addon, plan: Plan) -> bool:
    """Tell whether an add-on may go with a plan: a boolean one with all, others with those of its model (R-ADDON-2)."""
    return addon.model is None or addon.model is plan.model


def offered(addon: Addon, plan: Plan) -> bool:
    """Tell whether an add-on is shown to a plan's customer: it fits, and brings what the plan lacks (R-ADDON-9)."""
    has = any(granted.feature.id == addon.granted.feature.id and granted.enabled for granted in plan.features)
    return fits(addon, plan) and not has and not addon.archived


def base_minor(addon: Addon, interval: Interval) -> int:
    """Tell an add-on's price a billing period: the interval's own, else the one for every interval (R-ADDON-12)."""
    return addon.interval_minor.get(interval.value, addon.base_minor)


def base_in(addon: Addon, interval: Interval, currency: str, plan: Plan) -> Money | None:
    """Tell that price in a subscription's currency, by the plan's exchange rate (R-ADDON-14); None without a rate."""
    base = Money(base_minor(addon, interval), _own_currency(plan))
    if currency.upper() == base.currency:
        return base
    rate = plan.exchange_rates.get(currency.lower())
    return None if rate is None else round_half_away(EXACT.multiply(base.major(), Decimal(rate)), currency.upper())


def rate_in(addon: Addon, currency: str, plan: Plan) -> str | None:
    """Tell an add-on's unit price in a subscription's currency, to 6 places (R-ADDON-14, R-REG-6).

    None without a rate, and for tokens, which cost dollars.
    """
    if currency.upper() == _own_currency(plan):
        return addon.granted.unit_price
    if addon.granted.margin is not None:
        return None
    rate = plan.exchange_rates.get(currency.lower())
    return None if rate is None else converted_unit_price(addon.granted.unit_price, rate)


def _own_currency(plan: Plan) -> str:
    """Tell in which currency add-ons have their prices: that from which the plan's rates convert (R-ADDON-14)."""
    return plan.prices[0].currency.upper() if plan.prices else "USD"
