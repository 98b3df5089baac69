"""What an offer may be used for: add-ons, promo codes, plan groups. Pure rules."""

from decimal import Decimal

import msgspec
import pytest

from catalog.addon import base_in, base_minor, check_addon, fits, offered, rate_in, slug_from
from catalog.definition import (
    Addon,
    DiscountType,
    Feature,
    FeatureKind,
    Plan,
    PlanFeature,
    PlanGroup,
    PlanPrice,
    PromoCode,
    PromoDuration,
)
from catalog.offer import taken_off
from catalog.plan_group import changes_offered, placed, reordered
from catalog.promo import check_promo, cycles_of, promo_text, refusal_of, value_in
from catalog.terms import ConsumptionModel
from kernel.errors import Rejected
from kernel.limits import AMOUNT_MINOR_MAX
from kernel.money import Money
from kernel.period import Interval

DAY = 20_500


def feature(kind=FeatureKind.METERED, code="sso"):
    return Feature(id=code.encode(), organization=b"o", code=code, event_code=code, name=code, kind=kind)


def addon(model, kind=FeatureKind.METERED, **more):
    granted = PlanFeature(feature=feature(kind), **more)
    return Addon(id="a", organization=b"o", slug="a", name="A", base_minor=5000, granted=granted, model=model)


def plan(model=ConsumptionModel.METERED, **more):
    return Plan(id="p", organization=b"o", code="p", name="P", model=model, **more)


@pytest.mark.parametrize("of_plan", list(ConsumptionModel))
@pytest.mark.parametrize("of_addon", [None, *ConsumptionModel])
def test_an_addon_goes_with_plans_of_its_model_and_a_boolean_one_with_all(of_addon, of_plan):
    """R-ADDON-2."""
    one = addon(of_addon, FeatureKind.BOOLEAN if of_addon is None else FeatureKind.METERED)
    assert fits(one, plan(of_plan)) is (of_addon is None or of_addon == of_plan)


def test_an_addon_is_not_offered_for_what_the_plan_has():
    """R-ADDON-9."""
    one = addon(ConsumptionModel.METERED)
    assert offered(one, plan())
    assert not offered(one, plan(features=(PlanFeature(feature=feature()),)))
    assert not offered(one, plan(ConsumptionModel.CREDITS))
    assert not offered(msgspec.structs.replace(one, archived=True), plan())


def test_an_addon_costs_one_price_a_billing_period_or_the_intervals_own():
    """R-ADDON-12: not multiplied by months."""
    one = addon(ConsumptionModel.METERED)
    assert [base_minor(one, interval) for interval in Interval] == [5000, 5000, 5000]
    yearly = msgspec.structs.replace(one, interval_minor={"yearly": 48_000})
    assert [base_minor(yearly, interval) for interval in Interval] == [5000, 5000, 48_000]


def test_an_addons_price_is_converted_with_the_plans_rate():
    """R-ADDON-14."""
    one = addon(ConsumptionModel.METERED, unit_price="0.0000015")
    priced = plan(exchange_rates={"brl": "5.123", "jpy": "151.37"})
    assert base_in(one, Interval.MONTHLY, "usd", priced) == Money(5000, "USD")
    assert base_in(one, Interval.MONTHLY, "brl", priced) == Money(25_615, "BRL")
    assert base_in(one, Interval.MONTHLY, "jpy", priced) == Money(7569, "JPY")
    assert base_in(one, Interval.MONTHLY, "eur", priced) is None
    assert rate_in(one, "brl", priced) == "0.000008"
    assert rate_in(one, "usd", priced) == "0.0000015"


@pytest.mark.parametrize(
    ("model", "kind", "more"),
    [
        (None, FeatureKind.METERED, {}),
        (ConsumptionModel.METERED, FeatureKind.BOOLEAN, {}),
        (ConsumptionModel.METERED, FeatureKind.SEATS, {}),
        (ConsumptionModel.METERED, FeatureKind.METERED, {"margin": "20"}),
        (ConsumptionModel.CREDITS, FeatureKind.METERED, {}),
        (None, FeatureKind.BOOLEAN, {"included": Decimal(1)}),
    ],
)
def test_an_addon_that_its_feature_cannot_be_is_refused(model, kind, more):
    """R-ADDON-1."""
    with pytest.raises(Rejected):
        check_addon(addon(model, kind, **more))


def test_a_slug_is_made_of_the_name():
    assert slug_from("SSO access!") == "sso-access"
    assert slug_from("sso-access") == "sso-access"
    with pytest.raises(Rejected):
        slug_from("???")


def promo(**more):
    values = {
        "id": "c",
        "organization": b"o",
        "code": "LAUNCH",
        "type": DiscountType.PERCENT,
        "value": Decimal(20),
        "duration": PromoDuration.ONCE,
    }
    return PromoCode(**(values | more))


def test_a_code_is_valid_through_the_end_of_its_last_day():
    """R-DISC-12: inclusive, in UTC."""
    one = promo(expires_day=DAY)
    assert refusal_of(one, "p", Interval.MONTHLY, DAY) is None
    assert refusal_of(one, "p", Interval.MONTHLY, DAY + 1).code == "promo_code_expired"
    assert refusal_of(promo(), "p", Interval.MONTHLY, DAY + 100_000) is None


def test_a_codes_amount_is_the_organizations_and_follows_the_plans_rate():
    """R-DISC-14, R-REG-3: half-up to the minor unit; ten dollars are neither ten won nor ten yen."""
    plan = Plan(id="p", organization=b"o", code="pro", name="P", exchange_rates={"krw": "1400.05", "brl": "5.123"})
    ten = promo(type=DiscountType.FIXED, value=Decimal("9.99"))
    assert value_in(ten, plan, "USD", "usd") == Decimal("9.99")
    assert value_in(ten, plan, "krw", "usd") == 13_986  # 13986.4995
    assert value_in(ten, plan, "brl", "usd") == Decimal("51.18")  # 51.17877
    assert value_in(promo(), plan, "jpy", "usd") == 20
    with pytest.raises(Rejected) as refused:
        value_in(ten, plan, "jpy", "usd")
    assert (refused.value.refusal.code, refused.value.refusal.param) == ("offer_not_applicable", "promoCode")


@pytest.mark.parametrize(
    "more",
    [
        {"active": False},
        {"plans": ("other",)},
        {"plans": ()},
        {"interval": Interval.YEARLY},
        {"max_redemptions": 3, "redemptions": 3},
    ],
)
def test_a_code_is_refused_where_it_does_not_apply(more):
    """R-DISC-8."""
    assert refusal_of(promo(), "p", Interval.MONTHLY, DAY) is None
    assert refusal_of(promo(**more), "p", Interval.MONTHLY, DAY).code == "offer_not_applicable"


def test_a_code_is_the_same_in_any_case():
    """R-DISC-12."""
    assert promo_text(" launch-20 ") == promo_text("LAUNCH-20") == "LAUNCH-20"
    for wrong in ("", "two words", "ü", "x" * 65):
        with pytest.raises(Rejected):
            promo_text(wrong)


def test_a_code_runs_once_some_cycles_or_for_ever():
    """R-DISC-5: billing periods, not months."""
    assert cycles_of(promo()) == 1
    assert cycles_of(promo(duration=PromoDuration.REPEATING, cycles=3)) == 3
    assert cycles_of(promo(duration=PromoDuration.FOREVER)) is None


@pytest.mark.parametrize(
    "more",
    [
        {"value": Decimal(0)},
        {"value": Decimal("100.01")},
        {"max_redemptions": 0},
        {"duration": PromoDuration.REPEATING, "cycles": 0},
        {"duration": PromoDuration.REPEATING, "cycles": None},
    ],
)
def test_a_code_with_impossible_values_is_refused(more):
    """R-DISC-8."""
    assert check_promo(promo(value=Decimal(100)))
    with pytest.raises(Rejected):
        check_promo(promo(**more))


PERCENT, FIXED = DiscountType.PERCENT, DiscountType.FIXED


@pytest.mark.parametrize(
    ("kind", "value", "currency", "taken"),
    [
        (PERCENT, 1, "usd", "0.01"),
        (PERCENT, 10_000, "jpy", "100"),
        (FIXED, 150, "USD", "1.50"),
        (FIXED, 150, "jpy", "150"),
        (FIXED, AMOUNT_MINOR_MAX, "usd", "10000000000"),
    ],
)
def test_a_discount_is_read_in_basis_points_or_minor_units(kind, value, currency, taken):
    """R-DISC-2."""
    assert taken_off(kind, value, currency, "discountValue") == Decimal(taken)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(PERCENT, 0), (PERCENT, 10_001), (FIXED, 0), (FIXED, AMOUNT_MINOR_MAX + 1), (PERCENT, 10**61), (FIXED, 10**400)],
)
def test_a_discount_of_nothing_or_beyond_all_prices_is_refused(kind, value):
    """R-DISC-8, R-ERR-3: also what no arithmetic of ours holds."""
    with pytest.raises(Rejected) as refused:
        taken_off(kind, value, "usd", "discountValue")
    assert refused.value.refusal.param == "discountValue"


def test_plans_stand_in_a_group_in_order():
    """R-GROUP-1."""
    group = PlanGroup(id="g", organization=b"o", name="G", plans=("free", "pro"))
    assert placed(group, plan(), 1) == ("free", "p", "pro")
    assert placed(group, plan(), None) == ("free", "pro", "p")
    assert reordered(group, ["pro", "free"]) == ("pro", "free")
    for wrong in (["pro"], ["pro", "pro"], ["pro", "free", "p"]):
        with pytest.raises(Rejected):
            reordered(group, wrong)


def test_a_plan_is_in_one_group_and_has_no_regional_prices():
    """R-GROUP-2."""
    group = PlanGroup(id="g", organization=b"o", name="G")
    priced = PlanPrice(id="pp", plan="p", interval=Interval.MONTHLY, amount_minor=1, currency="usd", is_default=True)
    assert placed(group, plan(prices=(priced,)), None) == ("p",)
    for wrong in (plan(group_id="other"), plan(exchange_rates={"brl": "5"})):
        with pytest.raises(Rejected):
            placed(group, wrong, None)


def test_without_a_group_no_change_is_offered():
    """R-GROUP-3."""
    group = PlanGroup(id="g", organization=b"o", name="G", plans=("free", "starter", "pro"))
    assert changes_offered(None, "pro") == ()
    assert changes_offered(group, "elsewhere") == ()
    assert changes_offered(group, "starter") == ("free", "pro")
