"""Offers of a catalog document: add-ons, packs, codes, groups and regions as values and back, and checked. Pure.

Invariant: what passes `check_offers` is what the API would take.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

import msgspec

from catalog import rule
from catalog.addon import check_addon, model_of, model_word, slug_of
from catalog.definition import (
    Addon,
    CreditPack,
    DiscountType,
    Feature,
    FeatureKind,
    IntroOffer,
    PlanGroup,
    PromoCode,
    PromoDuration,
)
from catalog.document_part import (
    NOTHING,
    AddonPart,
    CatalogDocument,
    CreditPackPart,
    FeaturePart,
    PlanGroupPart,
    PlanPart,
    PromoCodePart,
    RegionPart,
)
from catalog.document_plan import FINEST, grant_of, intro_of_part, intro_part, price_minor, within
from catalog.promo import check_promo, cycles_of, promo_text
from catalog.regional import ManualPrice, Region, currency_of, rate_of
from catalog.terms import ConsumptionModel
from kernel.errors import invalid
from kernel.money import Money
from kernel.period import date_of, day_of

USD: Final = "usd"  # of packs, everywhere (R-REG-8)
_NOBODY: Final = Feature(id=b"", organization=b"", code="", event_code="", name="", kind=FeatureKind.METERED)


def addon_of(part: AddonPart, feature: Feature, currency: str) -> Addon:
    """Turn an add-on of the document into the catalog's value; id and organization are the reader's to give.

    Its prices are in a currency: that of the organization. Raises Rejected where it has fewer places.
    """
    addon = Addon(
        id="",
        organization=b"",
        slug=slug_of(part.slug),
        name=rule.name_of(part.name),
        base_minor=price_minor(part.price, currency),
        granted=grant_of(part.grant(), feature),
        description=part.description or None,
        model=model_of(part.model),
        interval_minor={
            rule.interval_of(word).value: price_minor(price, currency) for word, price in part.prices.items()
        },
    )
    return check_addon(addon)


def addon_part(addon: Addon, currency: str) -> AddonPart:
    """Spell an add-on whose prices are in a currency: that of its organization."""
    granted = addon.granted
    price = Decimal(granted.unit_price)
    fixed = addon.model is ConsumptionModel.BALANCE and granted.margin is None
    return AddonPart(
        slug=addon.slug,
        name=addon.name,
        feature=granted.feature.code,
        price=Money(addon.base_minor, currency).major(),
        model=model_word(addon),
        description=addon.description or "",
        prices={word: Money(minor, currency).major() for word, minor in sorted(addon.interval_minor.items())},
        included=granted.included or NOTHING,
        unlimited=granted.unlimited,
        overage=price if granted.overage else None,
        unit_price=price if fixed else None,
        credits=Decimal(granted.credits) if addon.model is ConsumptionModel.CREDITS else None,
        margin=None if granted.margin is None else Decimal(granted.margin),
    )


def pack_of(part: CreditPackPart, plans: Mapping[str, str]) -> CreditPack:
    """Turn a pack into the catalog's value; `plans` are ids by code."""
    credits_ = rule.included_of(part.credits)
    if credits_ == 0:
        raise invalid("credits", "must be greater than 0")
    return CreditPack(
        id="",
        organization=b"",
        name=rule.name_of(part.name),
        credits=credits_,
        price_minor=price_minor(part.price, USD),
        description=part.description or None,
        plans=None if part.plans is None else tuple(plans[code] for code in part.plans),
        active=part.active,
    )


def pack_part(pack: CreditPack, codes: Mapping[str, str]) -> CreditPackPart:
    """Spell a pack; `codes` are those of plans by id."""
    return CreditPackPart(
        name=pack.name,
        credits=pack.credits,
        price=Money(pack.price_minor, USD).major(),
        description=pack.description or "",
        active=pack.active,
        plans=_codes(pack.plans, codes),
    )


def promo_of(part: PromoCodePart, plans: Mapping[str, str]) -> PromoCode:
    """Turn a promo code into the catalog's value; `plans` are ids by code."""
    if (part.percent is None) == (part.amount is None):
        raise invalid("percent", "or amount says what the code takes off: one of them")
    value = part.amount if part.percent is None else part.percent
    assert value is not None, "one of them is there"
    durations = {0: PromoDuration.FOREVER, 1: PromoDuration.ONCE}
    promo = PromoCode(
        id="",
        organization=b"",
        code=promo_text(part.code),
        type=DiscountType.FIXED if part.percent is None else DiscountType.PERCENT,
        value=rule.included_of(value),
        duration=durations.get(part.cycles, PromoDuration.REPEATING),
        cycles=part.cycles or None,
        max_redemptions=part.max_redemptions,
        expires_day=_day(part.expires) if part.expires else None,
        plans=None if part.plans is None else tuple(plans[code] for code in part.plans),
        active=part.active,
        interval=rule.interval_of(part.interval) if part.interval else None,
    )
    return check_promo(promo)


def promo_part(promo: PromoCode, codes: Mapping[str, str]) -> PromoCodePart:
    """Spell a promo code; `codes` are those of plans by id."""
    percent = promo.type is DiscountType.PERCENT
    return PromoCodePart(
        code=promo.code,
        percent=promo.value if percent else None,
        amount=None if percent else promo.value,
        cycles=cycles_of(promo) or 0,
        interval="" if promo.interval is None else promo.interval.value,
        max_redemptions=promo.max_redemptions,
        expires="" if promo.expires_day is None else date_of(promo.expires_day).isoformat(),
        active=promo.active,
        plans=_codes(promo.plans, codes),
    )


def group_part(group: PlanGroup, codes: Mapping[str, str]) -> PlanGroupPart:
    """Spell a plan group; `codes` are those of plans by id."""
    return PlanGroupPart(
        name=group.name,
        plans=tuple(codes[plan] for plan in group.plans if plan in codes),
        description=group.description or "",
        public=group.is_public,
    )


def region_of(part: RegionPart, currency: str) -> Region:
    """Turn a region into values of its currency. Raises Rejected where it has fewer places."""
    prices: dict[str, ManualPrice] = {}
    for word in dict.fromkeys((*part.prices, *part.included, *part.intro)):
        amount, balance = part.prices.get(word), part.included.get(word)
        prices[rule.interval_of(word).value] = ManualPrice(
            amount_minor=None if amount is None else price_minor(amount, currency),
            included=None if balance is None else Money(price_minor(balance, currency), currency).major(),
            intro=intro_of_part(part.intro.get(word), currency),
        )
    return Region(
        rate=None if part.rate is None else rate_of(part.rate),
        prices=prices,
        unit_prices={
            code: rule.unit_price_text(price, f"unit_prices.{code}") for code, price in part.unit_prices.items()
        },
    )


def region_part(region: Region, currency: str) -> RegionPart:
    """Spell a region."""
    intros: dict[str, IntroOffer] = {word: one.intro for word, one in region.prices.items() if one.intro is not None}
    return RegionPart(
        rate=None if region.rate is None else Decimal(region.rate),
        prices={
            word: Money(one.amount_minor, currency).major()
            for word, one in region.prices.items()
            if one.amount_minor is not None
        },
        included={word: one.included for word, one in region.prices.items() if one.included is not None},
        intro={word: intro_part(intro) for word, intro in intros.items()},
        unit_prices={code: Decimal(price) for code, price in sorted(region.unit_prices.items())},
    )


def check_offers(document: CatalogDocument, features: Sequence[FeaturePart]) -> None:
    """Check offers by the same rules as the API. Raises Rejected with the field at fault."""
    named = {feature.code: feature for feature in features}
    plans = {plan.code: plan for plan in document.plan}
    taken: set[str] = set()
    for addon in document.addon:
        with within(f"addon.{addon.slug}"):
            if addon.feature not in named:
                raise invalid("feature", f"{addon.feature} is no feature of this document")
            if addon.feature in taken:
                raise invalid("feature", f"{addon.feature} is in another add-on")
            taken.add(addon.feature)
            kind = FeatureKind(named[addon.feature].type)
            addon_of(addon, msgspec.structs.replace(_NOBODY, code=addon.feature, kind=kind), FINEST)
    for pack in document.credit_pack:
        with within(f"credit_pack.{pack.name}"):
            _check_plans(pack.plans, plans)
            for code in pack.plans or ():
                if plans[code].model != ConsumptionModel.CREDITS:
                    raise invalid("plans", f"{code} is no credits plan")
            pack_of(pack, {code: code for code in plans})
    for promo in document.promo_code:
        with within(f"promo_code.{promo.code}"):
            _check_plans(promo.plans, plans)
            promo_of(promo, {code: code for code in plans})
    _check_groups(document.plan_group, plans)
    for plan in document.plan:
        for currency, region in plan.regional.items():
            with within(f"plan.{plan.code}.regional.{currency}"):
                _check_region(plan, currency, region)


def _check_groups(groups: Sequence[PlanGroupPart], plans: Mapping[str, PlanPart]) -> None:
    grouped: set[str] = set()
    for group in groups:
        with within(f"plan_group.{group.name}"):
            rule.name_of(group.name)
            _check_plans(group.plans, plans)
            for code in group.plans:
                if code in grouped:
                    raise invalid("plans", f"{code} is in a group already")
                if plans[code].regional:
                    raise invalid("plans", f"{code} has regional prices: it cannot be in a group")
                grouped.add(code)


def _check_region(plan: PlanPart, currency: str, part: RegionPart) -> None:
    if currency != currency_of(currency, ""):
        raise invalid("currency", "must be written in small letters")
    if part == RegionPart():
        raise invalid("rate", "is required, or what is set by hand")
    region = region_of(part, currency)
    for word in region.prices:
        if word not in plan.every_price():
            raise invalid(f"prices.{word}", "is no price of the plan")
    for code in region.unit_prices:
        if code not in plan.features:
            raise invalid(f"unit_prices.{code}", "is no feature of the plan")


def _check_plans(named: Sequence[str] | None, plans: Mapping[str, PlanPart]) -> None:
    for code in named or ():
        if code not in plans:
            raise invalid("plans", f"{code} is no plan of this document")


def _codes(plans: Sequence[str] | None, codes: Mapping[str, str]) -> tuple[str, ...] | None:
    return None if plans is None else tuple(codes[plan] for plan in plans if plan in codes)


def _day(text: str) -> int:
    try:
        return day_of(date.fromisoformat(text))
    except ValueError as error:
        raise invalid("expires", "must be a day such as 2026-03-31") from error
