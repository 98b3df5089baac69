"""What plans may say, at the edges of every number."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from catalog import plan_rule
from catalog.definition import DiscountType, Feature, FeatureKind, IntroOffer, Plan, PlanFeature, PlanPrice
from catalog.terms import ConsumptionModel
from kernel.errors import Rejected
from kernel.period import Interval

METERED, CREDITS, BALANCE = ConsumptionModel
HUGE = 10**60


def field_of(call, *arguments, **named):
    with pytest.raises(Rejected) as refused:
        call(*arguments, **named)
    assert refused.value.refusal.code == "validation_error"
    return refused.value.refusal.param


def priced(model, included=None, of_price=None, amount=2000, currency="usd", **members):
    price = PlanPrice(
        id="pp_1",
        plan="pln_1",
        interval=Interval.YEARLY,
        amount_minor=amount,
        currency=currency,
        is_default=True,
        included=of_price,
    )
    return Plan(
        id="pln_1",
        organization=b"",
        code="pro",
        name="Pro",
        model=model,
        included=included,
        prices=(price,),
        **members,
    )


@pytest.mark.parametrize(
    ("model", "plan_says", "price_says", "pool"),
    [
        (BALANCE, None, None, "20"),
        (BALANCE, "5", None, "5"),
        (BALANCE, "5", "7.5", "7.5"),
        (BALANCE, None, "0", "0"),
        (CREDITS, None, None, "0"),
        (CREDITS, "100", None, "100"),
        (CREDITS, "100", "250", "250"),
        (METERED, None, None, "0"),
    ],
)
def test_the_pool_is_the_prices_the_plans_or_the_base_price(model, plan_says, price_says, pool):
    """R-BAL-1, R-INT-7: on every interval the same, a month's."""
    included, of_price = (None if text is None else Decimal(text) for text in (plan_says, price_says))
    plan = priced(model, included, of_price)
    assert plan.pool_of(plan.prices[0]) == Decimal(pool)


def test_a_base_price_counts_in_its_currency():
    """R-BAL-1: minor units are the currency's own."""
    pools = {
        currency: plan.pool_of(plan.prices[0])
        for currency in ("usd", "jpy", "kwd")
        for plan in [priced(BALANCE, amount=1500, currency=currency)]
    }
    assert pools == {"usd": 15, "jpy": 1500, "kwd": Decimal("1.5")}


@given(st.integers(0, 10**12), st.sampled_from([("usd", 2), ("jpy", 0), ("kwd", 3)]))
def test_minor_units_and_decimals_say_the_same(minor, currency):
    name, places = currency
    exact = Decimal(minor).scaleb(-places)
    assert plan_rule.pool_of(BALANCE, name, balance=minor) == exact
    assert plan_rule.pool_of(BALANCE, name, balance_exact=format(exact, "f"), balance=7) == exact


@given(st.integers(0, 10**6))
def test_basis_points_and_per_cent_say_the_same(points):
    per_cent = format(Decimal(points).scaleb(-2), "f")
    assert plan_rule.margin_of(points, None) == plan_rule.margin_of(None, per_cent)


def test_silence_and_nothing_are_not_the_same():
    assert plan_rule.pool_of(BALANCE, "usd") is UNSET
    assert plan_rule.pool_of(CREDITS, "usd") is UNSET
    assert plan_rule.pool_of(BALANCE, "usd", balance=None) is None
    assert plan_rule.pool_of(CREDITS, "usd", units=None) is None
    assert plan_rule.pool_of(METERED, "usd", units=None, balance=None, balance_exact=None) is UNSET


@pytest.mark.parametrize("model", [METERED, CREDITS, BALANCE])
def test_numbers_beyond_all_pools_are_refused(model):
    if model is BALANCE:
        assert field_of(plan_rule.pool_of, model, "usd", balance=HUGE) == "includedBalance"
        assert field_of(plan_rule.pool_of, model, "usd", balance=10**15) == "includedBalance"
        assert field_of(plan_rule.pool_of, model, "usd", balance_exact="1e-10") == "includedBalanceDecimal"
    elif model is CREDITS:
        assert field_of(plan_rule.pool_of, model, "usd", units=Decimal(HUGE)) == "includedCredits"
        assert field_of(plan_rule.pool_of, model, "usd", units=Decimal(-1)) == "includedCredits"
    assert field_of(plan_rule.credits_of, HUGE, None) == "creditsPerUnit"
    assert field_of(plan_rule.credits_of, -1, None) == "creditsPerUnit"
    assert field_of(plan_rule.credits_of, None, "-1") == "creditsPerUnitDecimal"
    assert field_of(plan_rule.margin_of, HUGE, None) == "margin"
    assert field_of(plan_rule.margin_of, 1_000_001, None) == "margin"
    assert field_of(plan_rule.margin_of, None, "0.0000001") == "marginPercent"


def test_an_offer_is_a_percentage_or_an_amount():
    """R-DISC-2, R-DISC-10: up to the whole."""

    def offer(kind, value):
        return IntroOffer(type=kind, value=Decimal(value), cycles=3)

    percent, fixed = DiscountType.PERCENT, DiscountType.FIXED
    assert plan_rule.intro_of("percentage", 10_000, None, 3, "usd") == offer(percent, 100)
    assert plan_rule.intro_of("percentage", None, "33.333333", 3, "usd") == offer(percent, "33.333333")
    assert plan_rule.intro_of("amount", 500, None, 3, "jpy") == offer(fixed, 500)
    assert plan_rule.intro_of("amount", 500, None, 3, "kwd") == offer(fixed, "0.5")
    for value, exact in ((10_001, None), (0, None), (-1, None), (None, None), (HUGE, None), (None, "0.0000001")):
        assert field_of(plan_rule.intro_of, "percentage", value, exact, 3, "usd").startswith("introOffer.discountValue")
    assert field_of(plan_rule.intro_of, "amount", None, "0.5", 3, "jpy") == "introOffer.discountValueDecimal"
    for cycles in (None, 0, 121):
        assert field_of(plan_rule.intro_of, "amount", 1, None, cycles, "usd") == "introOffer.durationCycles"


def test_a_trial_has_an_end():
    """R-TRIAL-1."""
    assert [plan_rule.trial_days_of(days) for days in (0, 7, 730)] == [0, 7, 730]
    assert [field_of(plan_rule.trial_days_of, days) for days in (-1, 731)] == ["trialDays"] * 2


def granted(kind, seat_type=None, **members):
    feature = Feature(
        id=b"f" * 16,
        organization=b"",
        code="calls",
        event_code="calls",
        name="Calls",
        kind=kind,
        seat_type=seat_type,
    )
    return PlanFeature(feature=feature, **members)


@pytest.mark.parametrize(
    ("model", "members", "field"),
    [
        (METERED, {"credits": "1"}, "creditsPerUnit"),
        (METERED, {"margin": "0"}, "pricingMode"),
        (CREDITS, {"margin": "0"}, "pricingMode"),
        (CREDITS, {"unit_price": "1"}, "overage.unitPrice"),
        (CREDITS, {"overage": True}, "overage"),
        (CREDITS, {"included": Decimal(1)}, "includedAmount"),
        (BALANCE, {"unlimited": True}, "unlimited"),
        (BALANCE, {"credits": "1"}, "creditsPerUnit"),
        (BALANCE, {"overage": True}, "overage"),
        (BALANCE, {"unit_price": "1", "margin": "0"}, "overage.unitPrice"),
    ],
)
def test_only_what_fits_the_model_is_granted(model, members, field):
    """R-PLAN-2, R-FEAT-5, R-AI-1."""
    assert field_of(plan_rule.check_granted, priced(model), granted(FeatureKind.METERED, **members)) == field


@pytest.mark.parametrize(
    ("model", "members"),
    [
        (METERED, {"included": Decimal(1), "overage": True, "unit_price": "1"}),
        (METERED, {"unlimited": True}),
        (CREDITS, {"credits": "2.5"}),
        (BALANCE, {"unit_price": "0.5"}),
        (BALANCE, {"margin": "20"}),
    ],
)
def test_what_fits_is_granted(model, members):
    """R-PLAN-2, R-FEAT-5."""
    fits = granted(FeatureKind.METERED, **members)
    assert plan_rule.check_granted(priced(model), fits) == fits
    sold = granted(FeatureKind.SEATS, "member", included=Decimal(3), overage=True, unit_price="25")
    assert plan_rule.check_granted(priced(model), sold) == sold


def test_a_price_fits_its_plan():
    """R-PLAN-6, R-PLAN-2."""
    free = priced(METERED, is_free=True)
    assert field_of(plan_rule.check_price, free, free.prices[0]) == "billingInterval"
    pooled = priced(METERED, of_price=Decimal(1))
    assert field_of(plan_rule.check_price, pooled, pooled.prices[0]) == "consumptionModel"
    assert plan_rule.check_price(priced(BALANCE), pooled.prices[0]) == pooled.prices[0]
