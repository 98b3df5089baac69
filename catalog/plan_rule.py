"""What a plan may say: its model, what its prices and features must fit, when it is sold. Pure.

Owns how the wire's members of a plan, a price and a plan feature become values. Integers come at the contract's scale
(hundredths of the currency, 10,000 units a rate, basis points), decimals beside them are exact and win. Invariant: what
passes here fits the plan's one consumption model (R-PLAN-2). Source: billing-rules 5 to 8, 12, 13, 19; contract 2.6.
"""

from decimal import Decimal
from typing import Final

from msgspec import UNSET, UnsetType

from catalog.definition import DiscountType, FeatureKind, IntroOffer, Plan, PlanFeature, PlanPrice
from catalog.terms import ConsumptionModel
from kernel.errors import invalid, rejected
from kernel.money import minor_places, parse_unit_price
from kernel.quantity import EXACT, canonical, fit_places, parse_quantity

TRIAL_DAYS_MAX: Final = 730  # two years: longer than any trial that still wants to be one
INTRO_CYCLES_MAX: Final = 120  # ten years of months
PERCENT_PLACES_MAX: Final = 6
MARGIN_MAX: Final = Decimal(10_000)  # a hundred times the cost of a model
_INTEGER_MAX: Final = 10**18  # within 64 bits, whose like every client can send
_BASIS_POINTS: Final = 2  # a percentage on the wire is an integer of hundredths
_DISCOUNTS: Final = {
    "percentage": DiscountType.PERCENT,
    "percent": DiscountType.PERCENT,
    "amount": DiscountType.FIXED,
    "fixed": DiscountType.FIXED,
}


def model_of(word: str | None) -> ConsumptionModel:
    """Read a plan's one consumption model (R-PLAN-2); metered when nothing is said."""
    try:
        return ConsumptionModel.METERED if word is None else ConsumptionModel(word)
    except ValueError as error:
        raise invalid("consumptionModel", f"{word} is not a model: use metered, credits or balance") from error


def overdraft_of(model: ConsumptionModel, block: bool | None) -> bool:
    """Read `blockOnExhaustion`: only a balance may go below zero, unless the plan says that it blocks (R-BAL-6)."""
    if model is ConsumptionModel.BALANCE:
        return not block
    if block and model is ConsumptionModel.METERED:
        raise invalid("blockOnExhaustion", "A metered plan has no pool: say by feature whether there is overage.")
    if block is False and model is ConsumptionModel.CREDITS:
        raise invalid("blockOnExhaustion", "A credits plan always blocks: credits are never owed.")
    return True


def pool_of(
    model: ConsumptionModel,
    currency: str,
    *,
    units: Decimal | UnsetType | None = UNSET,
    balance: int | UnsetType | None = UNSET,
    balance_exact: str | UnsetType | None = UNSET,
) -> Decimal | UnsetType | None:
    """Read what a usage window gets of the pool; None takes it back, UNSET says nothing.

    `units` count credits, of credits plans alone; `balance` (minor units) and `balance_exact` (major unit) of balance
    plans.
    """
    wrong = {
        "includedCredits": model is not ConsumptionModel.CREDITS and units,
        "includedBalance": model is not ConsumptionModel.BALANCE and balance,
        "includedBalanceDecimal": model is not ConsumptionModel.BALANCE and balance_exact,
    }
    for field, value in wrong.items():
        if value not in (False, None, UNSET):
            raise invalid(field, f"does not fit a {model} plan")
    if model is ConsumptionModel.CREDITS:
        return _quantity(units, "includedCredits") if isinstance(units, Decimal) else units
    if isinstance(balance_exact, str):
        return _quantity(_number(balance_exact, "includedBalanceDecimal"), "includedBalanceDecimal")
    if isinstance(balance, int):
        return _quantity(_scaled(balance, minor_places(currency), "includedBalance"), "includedBalance")
    return UNSET if model is ConsumptionModel.METERED else _either(balance_exact, balance)


def _either(exact: UnsetType | None, integer: UnsetType | None) -> UnsetType | None:
    return None if exact is None or integer is None else UNSET


def trial_days_of(days: int) -> int:
    """Check the trial's days (R-TRIAL-1); 0 is none."""
    if not 0 <= days <= TRIAL_DAYS_MAX:
        raise invalid("trialDays", f"must be from 0 to {TRIAL_DAYS_MAX}")
    return days


def intro_of(kind: str | None, value: int | None, exact: str | None, cycles: int | None, currency: str) -> IntroOffer:
    """Read an intro offer: a percentage (basis points) or an amount (minor units) off the base price (R-DISC-2).

    `exact` is the percentage, or the amount in the major unit, and wins.
    """
    if kind not in _DISCOUNTS:
        raise invalid("introOffer.discountType", "must be percentage or amount")
    type_ = _DISCOUNTS[kind]
    field = "introOffer.discountValue" if exact is None else "introOffer.discountValueDecimal"
    places = _BASIS_POINTS if type_ is DiscountType.PERCENT else minor_places(currency)
    if exact is not None:
        places = PERCENT_PLACES_MAX if type_ is DiscountType.PERCENT else places
        amount = _places(_number(exact, field), places, field)
    else:
        amount = _scaled(value or 0, places, field)
    if amount <= 0 or (type_ is DiscountType.PERCENT and amount > 100):  # noqa: PLR2004 - a whole is 100 per cent
        raise invalid(field, "must be above 0, and a percentage at most 100")
    _quantity(amount, field)
    if cycles is None or not 1 <= cycles <= INTRO_CYCLES_MAX:
        raise invalid("introOffer.durationCycles", f"must be from 1 to {INTRO_CYCLES_MAX}")
    return IntroOffer(type=type_, value=amount, cycles=cycles)


def credits_of(integer: int | None, exact: str | None, field: str = "creditsPerUnit") -> str:
    """Read what one use costs on a credits plan (R-CREDIT-1); `exact` came as the field's decimal."""
    if exact is not None:
        return canonical(_quantity(_number(exact, f"{field}Decimal"), f"{field}Decimal"))
    return canonical(_quantity(_scaled(integer or 0, 0, field), field))


def margin_of(basis_points: int | None, percent: str | None) -> str:
    """Read an AI margin: basis points, or a percentage as a decimal string (R-AI-1)."""
    field = "margin" if percent is None else "marginPercent"
    margin = _scaled(basis_points or 0, _BASIS_POINTS, field) if percent is None else _number(percent, field)
    if not 0 <= margin <= MARGIN_MAX:
        raise invalid(field, f"must be from 0 to {MARGIN_MAX} per cent")
    return canonical(_places(margin, PERCENT_PLACES_MAX, field))


def price_of(plan: Plan, price_id: str) -> PlanPrice:
    """Find a plan's price by its id. Raises Rejected `price_not_found`."""
    for price in plan.prices:
        if price.id == price_id:
            return price
    raise rejected("price_not_found", f"The plan {plan.code} has no price {price_id}.", param="priceId")


def granted_of(plan: Plan, reference: str) -> PlanFeature:
    """Find what a plan grants of a feature, by the feature's id or code. Raises Rejected `feature_not_found`."""
    for granted in plan.features:
        if reference in (granted.feature.id_text, granted.feature.code):
            return granted
    raise rejected("feature_not_found", f"The plan {plan.code} has no feature {reference}.", param="featureId")


def check_price(plan: Plan, price: PlanPrice) -> PlanPrice:
    """Refuse prices and trials on a free plan (R-PLAN-6), and a pool on a plan that has none."""
    if plan.is_free and price.trial_days:
        raise invalid("trialDays", "A free plan has no trial.")
    if plan.is_free:
        raise invalid("billingInterval", "A free plan has no prices.")
    if plan.model is ConsumptionModel.METERED and price.included is not None:
        raise invalid("consumptionModel", f"The {price.interval} price includes a pool: a metered plan has none.")
    return price


def check_granted(plan: Plan, granted: PlanFeature) -> PlanFeature:
    """Refuse what does not fit the plan: overage on a free one (R-PLAN-6), prices of another model (R-FEAT-5)."""
    if plan.is_free and granted.overage:
        raise invalid("overage", "A free plan has no overage.")
    kind = granted.feature.kind
    priced = granted.credits != "0" or granted.margin is not None
    if kind is FeatureKind.BOOLEAN and (granted.overage or granted.unlimited or granted.included or priced):
        raise invalid("includedAmount", "A boolean feature has no quantity: it is enabled or not.")
    if kind is FeatureKind.SEATS:
        _check_seats(plan, granted)
    elif kind is FeatureKind.METERED and plan.model is not ConsumptionModel.METERED:
        _check_pooled(plan.model, granted)
    if granted.credits != "0" and plan.model is not ConsumptionModel.CREDITS:
        raise invalid("creditsPerUnit", f"Credits are of credits plans: this one is a {plan.model} plan.")
    if granted.margin is not None and plan.model is not ConsumptionModel.BALANCE:
        raise invalid("pricingMode", f"AI models are priced on balance plans: this one is a {plan.model} plan.")
    return granted


def _check_seats(plan: Plan, granted: PlanFeature) -> None:
    """Seats are counted whole, in any model; one feature of a seat type a plan (R-SEAT-2, R-SEAT-15)."""
    if granted.included != granted.included.to_integral_value():
        raise invalid("includedAmount", "Seats are counted whole.")
    if granted.credits != "0":
        raise invalid("creditsPerUnit", "Seats have a price, no credits.")
    if granted.margin is not None:
        raise invalid("pricingMode", "Seats have a price, no AI model.")
    for other in plan.features:
        if other.feature.seat_type == granted.feature.seat_type and other.feature.id != granted.feature.id:
            raise invalid("featureId", f"{other.feature.code} has the same seat type: seats would be counted twice.")


def _check_pooled(model: ConsumptionModel, granted: PlanFeature) -> None:
    """Every use draws on the plan's pool: there is nothing to include, and nothing beyond it (R-CREDIT-5)."""
    if granted.overage:
        raise invalid("overage", f"A {model} plan has no overage: use draws on its pool.")
    if granted.included:
        raise invalid("includedAmount", f"A {model} plan includes its pool: a feature of it has no amount of its own.")
    if granted.unlimited:
        raise invalid("unlimited", "Every use draws on the plan's pool: make it free with a price of 0.")
    if granted.unit_price != "0" and model is ConsumptionModel.CREDITS:
        raise invalid("overage.unitPrice", "A credits plan has no unit prices: say creditsPerUnit.")
    if granted.unit_price != "0" and granted.margin is not None:
        raise invalid("overage.unitPrice", "A feature priced by AI model has no unit price.")


def check_model(after: Plan, *, in_use: bool) -> Plan:
    """Refuse another model once customers are subscribed (R-PLAN-2), and one that prices and features do not fit."""
    if in_use:
        raise invalid("consumptionModel", "Customers are subscribed: the model of their plan never changes.")
    for price in after.prices:
        if price.included is not None:
            raise invalid("consumptionModel", f"The {price.interval} price includes a pool: take it back first.")
    for granted in after.features:
        check_granted(after, granted)
    return after


def check_sold(plan: Plan) -> Plan:
    """Refuse a new subscription to a deprecated plan, by whatever way (R-PLAN-8, AMB-46).

    Raises Rejected `plan_unavailable`.
    """
    if plan.deprecated:
        raise rejected("plan_unavailable", f"The plan {plan.code} takes no new subscribers.", param="planId")
    return plan


def check_kept(plan: Plan) -> Plan:
    """Refuse what would keep a subscriber on a deleted plan beyond its renewal (R-PLAN-9). Raises like `check_sold`."""
    if plan.ending is not None:
        raise rejected(
            "plan_unavailable", f"The plan {plan.code} was deleted: its subscribers leave it when they renew."
        )
    return plan


def check_target(plan: Plan, target: Plan) -> Plan:
    """Refuse a plan to which the subscribers of `plan` cannot move when it is deleted (R-PLAN-9).

    A migration takes effect at the renewal, at which the new plan's price is paid. A free plan has none, and from it to
    a paid one the customer goes by a checkout (R-FREE-1, R-FREE-6): there the seller cancels, or names a free plan.
    """
    if target.id == plan.id:
        raise invalid("planId", "must be another plan")
    if target.deprecated:
        raise invalid("planId", f"The plan {target.code} takes no new subscribers.")
    if not target.is_free and not target.prices:
        raise invalid("planId", f"The plan {target.code} has no price yet.")
    if plan.is_free and not target.is_free:
        raise invalid("planId", "must be a free plan: a free plan's subscribers come to a paid one by its checkout")
    return target


def _number(text: str, field: str) -> Decimal:
    try:
        return parse_unit_price(text)
    except ValueError as error:
        raise invalid(field, str(error)) from error


def _scaled(integer: int, places: int, field: str) -> Decimal:
    if abs(integer) > _INTEGER_MAX:
        raise invalid(field, f"must be at most {_INTEGER_MAX}")
    return EXACT.scaleb(Decimal(integer), -places)


def _places(number: Decimal, places: int, field: str) -> Decimal:
    try:
        return fit_places(number, places)
    except ValueError as error:
        raise invalid(field, str(error)) from error


def _quantity(number: Decimal, field: str) -> Decimal:
    try:
        return parse_quantity(number)
    except ValueError as error:
        raise invalid(field, str(error)) from error
