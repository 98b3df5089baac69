"""How frozen terms look in an explanation. Pure."""

from typing import Any

import msgspec

from billing.life.frozen import FrozenFeature, PeriodTerms
from catalog.terms import ConsumptionModel
from kernel.money import Money
from kernel.period import date_of
from kernel.quantity import canonical


def terms_wire(terms: PeriodTerms, feature_id: str | None = None) -> dict[str, Any]:
    """Spell the terms in force: number, plan, period, prices, pool, discount, and what they say of one feature.

    `priceId` and `currency` tell which of the plan's prices was frozen, a regional one included.
    """
    granted = None if feature_id is None else terms.feature(feature_id)
    return {
        "number": terms.term,
        "planId": terms.plan_id,
        "planCode": terms.plan_code,
        "consumptionModel": terms.model.value,
        "billingInterval": None if terms.interval is None else terms.interval.value,
        "trial": terms.trial,
        "since": date_of(terms.since_day).isoformat(),
        "until": None if terms.until_day is None else date_of(terms.until_day).isoformat(),
        "priceId": terms.price_id,
        "currency": terms.currency,
        "basePrice": canonical(Money(terms.base_minor, terms.currency).major()),
        "pool": None if terms.model is ConsumptionModel.METERED else terms.pool,
        "overdraft": terms.overdraft,
        "discount": None if terms.discount is None else msgspec.to_builtins(terms.discount),
        "feature": None if granted is None else feature_wire(granted),
    }


def feature_wire(granted: FrozenFeature) -> dict[str, Any]:
    """Spell what terms say of a feature: decimals as strings, `included` None is unlimited."""
    return {
        "featureId": granted.feature,
        "featureCode": granted.code,
        "enabled": granted.enabled,
        "included": granted.included,
        "overage": granted.overage,
        "unitPrice": granted.unit_price,
        "credits": granted.credits,
        "marginPercent": granted.margin,
        "addon": granted.slug or None,
    }
