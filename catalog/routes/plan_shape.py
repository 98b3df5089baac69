"""Plans, prices and plan features as the wire shows them, for every era at once (contract 3.9, 3.10, 4.2, 4.5)."""

from typing import Any

from catalog.definition import FeatureKind, Plan, PlanFeature, PlanPrice
from catalog.gateway.http import Caller
from catalog.routes.feature import type_word
from kernel.period import instant_text
from kernel.wire import rate_of_unit_price


def plan_wire(caller: Caller, plan: Plan) -> dict[str, Any]:
    """Spell a plan with its prices and features."""
    return {
        **caller.object("plan"),
        "id": plan.id,
        "code": plan.code,
        "name": plan.name,
        "description": plan.description,
        "consumptionModel": "metered",
        "isPublic": plan.is_public,
        "isDefault": plan.is_default,
        "isFree": plan.is_free,
        "blockOnExhaustion": None,
        "sortOrder": plan.sort_order,
        "planGroupId": None,
        "metadata": plan.metadata,
        "createdAt": instant_text(plan.created_ms),
        "updatedAt": instant_text(plan.updated_ms),
        "prices": [_price(price) for price in plan.prices],
        "features": [_feature(caller, granted) for granted in plan.features],
        "exchangeRates": [],
    }


def price_wire(caller: Caller, price: PlanPrice) -> dict[str, Any]:
    """Spell a price as an object of its own."""
    return {
        **caller.object("plan_price"),
        **_price(price),
        "planId": price.plan,
        "createdAt": instant_text(price.created_ms),
        "updatedAt": instant_text(price.updated_ms),
    }


def plan_feature_wire(caller: Caller, plan: Plan, granted: PlanFeature) -> dict[str, Any]:
    """Spell the link of a plan and a feature as an object of its own."""
    return {
        **caller.object("plan_feature"),
        "id": granted.feature.id_text,
        "planId": plan.id,
        "featureId": granted.feature.id_text,
        "code": granted.feature.code,
        "enabled": granted.enabled,
        "includedAmount": granted.included,
        "unlimited": granted.unlimited,
        "overage": _overage(granted),
        "overageEnabled": granted.overage,
        "overageUnitPrice": rate_of_unit_price(granted.unit_price),
        "creditsPerUnit": None,
        "pricingMode": "fixed",
        "margin": None,
    }


def _overage(granted: PlanFeature) -> dict[str, Any]:
    return {
        "enabled": granted.overage,
        "model": "per_unit" if granted.overage else None,
        "unitPrice": rate_of_unit_price(granted.unit_price),
        "unitPriceDecimal": granted.unit_price,
    }


def _feature(caller: Caller, granted: PlanFeature) -> dict[str, Any]:
    metered = granted.feature.kind is FeatureKind.METERED
    return {
        "featureId": granted.feature.id_text,
        "code": granted.feature.code,
        "name": granted.feature.name,
        "type": type_word(granted.feature.kind, caller.dialect),
        "unitName": granted.feature.unit_name,
        "enabled": granted.enabled,
        "includedAmount": granted.included if metered else None,
        "unlimited": granted.unlimited,
        "overageEnabled": granted.overage,
        "overageUnitPrice": rate_of_unit_price(granted.unit_price) if granted.overage else None,
        "overage": _overage(granted) if metered else None,
        "regionalPrices": [],
    }


def _price(price: PlanPrice) -> dict[str, Any]:
    return {
        "id": price.id,
        "billingInterval": price.interval.value,
        "price": price.amount_minor,
        "currency": price.currency,
        "isDefault": price.is_default,
        "trialDays": 0,
        "includedBalance": None,
        "includedCredits": None,
        "introOffer": None,
        "offerId": None,
        "inheritsFromPriceId": None,
        "metadata": price.metadata,
        "marketPrices": [],
        "regionalPrices": [],
    }
