"""Plans of a catalog document: their parts turned into the catalog's values and back, and checked. Pure.

Invariant: what passes `check_plan_part` is what the API would take.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

from catalog import plan_rule, rule
from catalog.definition import DiscountType, Feature, FeatureKind, IntroOffer, Plan, PlanFeature, PlanPrice
from catalog.document_part import NOTHING, FeaturePart, GrantPart, IntroPart, PlanPart, PricePart
from catalog.terms import ConsumptionModel
from kernel.errors import Rejected, invalid
from kernel.money import Money, minor_places, parse_unit_price
from kernel.period import Interval
from kernel.quantity import EXACT

# The currency with the most places: a document has none, and is checked once more in its organization's.
FINEST: Final = "KWD"


def grant_of(part: GrantPart, feature: Feature) -> PlanFeature:
    """Turn a grant of the document into the catalog's value."""
    if part.overage is not None and part.unit_price is not None:
        raise invalid("unit_price", "is of balance plans, overage of others: one of them")
    price = part.overage if part.unit_price is None else part.unit_price
    return PlanFeature(
        feature=feature,
        enabled=part.enabled,
        included=rule.included_of(part.included),
        unlimited=part.unlimited,
        overage=part.overage is not None,
        unit_price=rule.unit_price_of(None, _text(price)),
        credits=plan_rule.credits_of(None, _text(part.credits)),
        margin=None if part.margin is None else plan_rule.margin_of(None, _text(part.margin)),
    )


def price_minor(price: Decimal, currency: str, field: str = "price") -> int:
    """Turn a price into minor units. Raises Rejected for what is no price, and where the currency has fewer places."""
    try:
        exact = parse_unit_price(str(price))
    except ValueError as error:
        raise invalid(field, str(error)) from error
    minor = EXACT.scaleb(exact, minor_places(currency))
    if minor != minor.to_integral_value():
        raise invalid(field, f"has more than the {minor_places(currency)} places of {currency}")
    return rule.amount_of(int(minor))


def price_terms(part: PricePart, currency: str) -> tuple[int, IntroOffer | None]:
    """Turn a price's amount and intro offer into values of a currency. Raises Rejected where it has fewer places."""
    return price_minor(part.price, currency), intro_of_part(part.intro, currency)


def intro_of_part(part: IntroPart | None, currency: str) -> IntroOffer | None:
    """Turn an intro offer into a value of a currency. Raises Rejected where it has fewer places."""
    if part is None:
        return None
    return plan_rule.intro_of(part.type, None, _text(part.value), part.cycles, currency)


def plan_part(plan: Plan) -> PlanPart:
    """Spell a plan."""
    prices = {price.interval.value: _price_part(price) for price in plan.prices}
    month = prices.get(Interval.MONTHLY.value)
    short = month if month is not None and month == PricePart(price=month.price) else None
    if short is not None:
        del prices[Interval.MONTHLY.value]
    return PlanPart(
        code=plan.code,
        name=plan.name,
        description=plan.description or "",
        public=plan.is_public,
        free=plan.is_free,
        deprecated=plan.deprecated,
        model=plan.model.value,
        included=plan.included,
        overdraft=plan.overdraft,
        price=None if short is None else short.price,
        prices=dict(sorted(prices.items(), key=lambda item: Interval(item[0]).months)),
        features={
            granted.feature.code: _grant_part(plan, granted)
            for granted in sorted(plan.features, key=lambda granted: granted.feature.code)
        },
    )


def check_plan_part(part: PlanPart, features: Mapping[str, FeaturePart]) -> None:
    """Check a plan by the same rules as the API. Raises Rejected with the field at fault."""
    model = plan_rule.model_of(part.model)
    plan = Plan(id="", organization=b"", code=rule.code_of(part.code), name=part.name, is_free=part.free, model=model)
    rule.name_of(part.name)
    if not part.overdraft and model is not ConsumptionModel.BALANCE:
        raise invalid("overdraft", f"A {model} plan has no balance.")
    _check_pool(model, part.included)
    if part.price is not None and Interval.MONTHLY.value in part.prices:
        raise invalid("price", "is the monthly price, and prices.monthly too: one of them")
    for word, price in part.every_price().items():
        with within("price" if price.price is part.price else f"prices.{word}"):
            _check_price(plan, rule.interval_of(word), price)
    granted: list[PlanFeature] = []
    for code, grant in part.features.items():
        if code not in features:
            raise invalid(f"features.{code}", "is no feature of this document")
        with within(f"features.{code}"):
            granted.append(_checked_grant(plan, grant, features[code], granted))


@contextmanager
def within(place: str) -> Iterator[None]:
    """Say where in the document a rule was broken."""
    try:
        yield
    except Rejected as error:
        name = error.refusal.param
        raise invalid(place if name is None or place == name else f"{place}.{name}", error.refusal.message) from error


def _check_pool(model: ConsumptionModel, included: Decimal | None) -> None:
    if included is None:
        return
    if model is ConsumptionModel.METERED:
        raise invalid("included", "A metered plan has no pool: say by feature what is included.")
    rule.included_of(included)


def _check_price(plan: Plan, interval: Interval, part: PricePart) -> None:
    try:
        parse_unit_price(str(part.price))
    except ValueError as error:
        raise invalid("price", str(error)) from error
    _check_pool(plan.model, part.included)
    price = PlanPrice(
        id="",
        plan="",
        interval=interval,
        amount_minor=0,
        currency=FINEST,
        is_default=True,
        trial_days=plan_rule.trial_days_of(part.trial_days),
        included=part.included,
        intro=intro_of_part(part.intro, FINEST),
    )
    plan_rule.check_price(plan, price)


def _checked_grant(plan: Plan, part: GrantPart, named: FeaturePart, others: list[PlanFeature]) -> PlanFeature:
    feature = Feature(
        id=named.code.encode(),
        organization=b"",
        code=named.code,
        event_code=named.code,
        name=named.code,
        kind=FeatureKind(named.type),
        seat_type=(named.seat_type or named.code) if named.type == FeatureKind.SEATS else None,
    )
    with_others = Plan(
        id="", organization=b"", code="", name="", is_free=plan.is_free, model=plan.model, features=tuple(others)
    )
    granted = plan_rule.check_granted(with_others, grant_of(part, feature))
    _check_said(plan.model, feature.kind, part)
    return granted


def _check_said(model: ConsumptionModel, kind: FeatureKind, part: GrantPart) -> None:
    """Ask for what a use costs where it draws on a pool, and refuse prices that nothing would read."""
    pooled = kind is FeatureKind.METERED and model is not ConsumptionModel.METERED
    if pooled and model is ConsumptionModel.CREDITS and part.credits is None:
        raise invalid("credits", "is required on a credits plan")
    if pooled and model is ConsumptionModel.BALANCE and part.unit_price is None and part.margin is None:
        raise invalid("unit_price", "is required on a balance plan, or margin")
    if part.unit_price is not None and not (pooled and model is ConsumptionModel.BALANCE):
        raise invalid("unit_price", "is of metered features of balance plans")


def _price_part(price: PlanPrice) -> PricePart:
    intro = price.intro
    return PricePart(
        price=Money(price.amount_minor, price.currency).major(),
        trial_days=price.trial_days,
        included=price.included,
        intro=None if intro is None else intro_part(intro),
    )


def intro_part(intro: IntroOffer) -> IntroPart:
    """Spell an intro offer."""
    percent = intro.type is DiscountType.PERCENT
    return IntroPart(type="percent" if percent else "fixed", value=intro.value, cycles=intro.cycles)


def _grant_part(plan: Plan, granted: PlanFeature) -> GrantPart:
    pooled = granted.feature.kind is FeatureKind.METERED
    price = Decimal(granted.unit_price)
    fixed = pooled and plan.model is ConsumptionModel.BALANCE and granted.margin is None
    return GrantPart(
        enabled=granted.enabled,
        included=granted.included or NOTHING,
        unlimited=granted.unlimited,
        overage=price if granted.overage else None,
        unit_price=price if fixed else None,
        credits=Decimal(granted.credits) if pooled and plan.model is ConsumptionModel.CREDITS else None,
        margin=None if granted.margin is None else Decimal(granted.margin),
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)
