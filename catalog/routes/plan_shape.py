"""Plans, prices and plan features as the wire shows them, for every era at once (contract 3.9, 3.10, 4.2, 4.5)."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from catalog.definition import DiscountType, FeatureKind, IntroOffer, Plan, PlanFeature, PlanPrice
from catalog.gateway.http import Caller
from catalog.routes.feature import type_word
from catalog.routes.regional_shape import exchange_rates_wire, regional_prices_wire, regional_rates_wire
from catalog.terms import ConsumptionModel
from kernel.money import round_half_away
from kernel.period import instant_text
from kernel.quantity import canonical
from kernel.wire import rate_of_unit_price


def plan_wire(caller: Caller, plan: Plan) -> dict[str, Any]:
    """Spell a plan with its prices and features."""
    return {
        **caller.object("plan"),
        "id": plan.id,
        "code": plan.code,
        "name": plan.name,
        "description": plan.description,
        "consumptionModel": plan.model.value,
        "isPublic": plan.is_public,
        "isDefault": plan.is_default,
        "isFree": plan.is_free,
        "isDeprecated": plan.deprecated,
        "deletion": _deletion(plan),
        "blockOnExhaustion": _blocks(plan),
        **_pool(plan.model, plan.included, caller.organization.currency),
        "sortOrder": plan.sort_order,
        "planGroupId": plan.group_id,
        "metadata": plan.metadata,
        "createdAt": instant_text(plan.created_ms),
        "updatedAt": instant_text(plan.updated_ms),
        "prices": [_price(plan, price) for price in plan.prices],
        "features": [_feature(caller, plan, granted) for granted in plan.features],
        "exchangeRates": exchange_rates_wire(plan),
    }


def price_wire(caller: Caller, plan: Plan, price: PlanPrice) -> dict[str, Any]:
    """Spell a price as an object of its own."""
    return {
        **caller.object("plan_price"),
        **_price(plan, price),
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
        **_use(plan, granted),
    }


def _deletion(plan: Plan) -> dict[str, Any] | None:
    """Say what a deletion does to subscribers at their renewals (R-PLAN-9); None when there is none."""
    if plan.ending is None:
        return None
    cancels = plan.ending == "cancel"
    return {"strategy": "cancel" if cancels else "migrate", "planId": None if cancels else plan.ending}


def _blocks(plan: Plan) -> bool | None:
    if plan.model is ConsumptionModel.METERED:
        return None
    return plan.model is ConsumptionModel.CREDITS or not plan.overdraft


def _pool(model: ConsumptionModel, included: Decimal | None, currency: str) -> dict[str, Any]:
    """Spell a pool: credits as they are, money in minor units and exactly in the major unit."""
    balance = included if model is ConsumptionModel.BALANCE else None
    return {
        "includedCredits": included if model is ConsumptionModel.CREDITS else None,
        "includedBalance": None if balance is None else round_half_away(balance, currency).minor,
        "includedBalanceDecimal": None if balance is None else canonical(balance),
    }


def _use(plan: Plan, granted: PlanFeature) -> dict[str, Any]:
    """Spell what a use costs, by the plan's model."""
    per_use = plan.model is ConsumptionModel.CREDITS and granted.feature.kind is FeatureKind.METERED
    margin = granted.margin
    return {
        "unitPrice": rate_of_unit_price(granted.unit_price),
        "unitPriceDecimal": granted.unit_price,
        "creditsPerUnit": _whole(Decimal(granted.credits)) if per_use else None,
        "creditsPerUnitDecimal": granted.credits if per_use else None,
        "pricingMode": "fixed" if margin is None else "ai_model",
        "margin": None if margin is None else _basis_points(Decimal(margin)),
        "marginPercent": margin,
    }


def _whole(number: Decimal) -> int:
    return int(number.to_integral_value(rounding=ROUND_HALF_UP))


def _basis_points(percent: Decimal) -> int:
    return _whole(percent * 100)


def _overage(granted: PlanFeature) -> dict[str, Any]:
    return {
        "enabled": granted.overage,
        "model": "per_unit" if granted.overage else None,
        "unitPrice": rate_of_unit_price(granted.unit_price),
        "unitPriceDecimal": granted.unit_price,
    }


def _feature(caller: Caller, plan: Plan, granted: PlanFeature) -> dict[str, Any]:
    counted = granted.feature.kind is not FeatureKind.BOOLEAN
    return {
        "featureId": granted.feature.id_text,
        "code": granted.feature.code,
        "name": granted.feature.name,
        "type": type_word(granted.feature.kind, caller.dialect),
        "unitName": granted.feature.unit_name,
        "seatType": granted.feature.seat_type,
        "enabled": granted.enabled,
        "includedAmount": granted.included if counted else None,
        "unlimited": granted.unlimited,
        "overageEnabled": granted.overage,
        "overageUnitPrice": rate_of_unit_price(granted.unit_price) if granted.overage else None,
        "overage": _overage(granted) if counted else None,
        **_use(plan, granted),
        "regionalPrices": regional_rates_wire(granted),
    }


def _intro(offer: IntroOffer | None, currency: str) -> dict[str, Any]:
    """Spell an intro offer as eras A and C read it, and flat as era B does (contract 4.5)."""
    if offer is None:
        shown = None
    else:
        percent = offer.type is DiscountType.PERCENT
        shown = {
            "enabled": True,
            "discountType": "percentage" if percent else "amount",
            "discountValue": _basis_points(offer.value) if percent else round_half_away(offer.value, currency).minor,
            "discountValueDecimal": canonical(offer.value),
            "durationCycles": offer.cycles,
        }
    flat = shown or {}
    return {
        "introOffer": shown,
        "introOfferEnabled": offer is not None,
        "introOfferDiscountType": flat.get("discountType"),
        "introOfferDiscountValue": flat.get("discountValue"),
        "introOfferDurationCycles": flat.get("durationCycles"),
    }


def _price(plan: Plan, price: PlanPrice) -> dict[str, Any]:
    """Spell a price; its pool is what it comes to, said or not (R-BAL-1)."""
    return {
        "id": price.id,
        "billingInterval": price.interval.value,
        "price": price.amount_minor,
        "currency": price.currency,
        "isDefault": price.is_default,
        "trialDays": price.trial_days,
        **_pool(plan.model, plan.pool_of(price), price.currency),
        **_intro(price.intro, price.currency),
        "offerId": price.offer_id,
        "inheritsFromPriceId": None,
        "metadata": price.metadata,
        "marketPrices": [],
        "regionalPrices": regional_prices_wire(price),
    }
