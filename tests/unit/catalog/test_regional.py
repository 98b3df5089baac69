"""Prices in other currencies: synced and manual, pure."""

from decimal import Decimal

import msgspec
import pytest

from catalog.definition import DiscountType, Feature, FeatureKind, IntroOffer, Plan, PlanFeature, PlanPrice
from catalog.regional import (
    CURRENCIES,
    RATE_MAX,
    ManualPrice,
    converted_minor,
    converted_unit_price,
    currency_of,
    intro_by_hand,
    rate_of,
    with_regions,
)
from catalog.terms import ConsumptionModel
from kernel.errors import Rejected
from kernel.limits import AMOUNT_MINOR_MAX
from kernel.period import Interval

TWENTY = "USD ARS BRL CLP COP PEN UYU PYG BOB MXN CAD EUR JPY CNY KRW HKD SGD TWD INR THB".lower().split()
INTRO = IntroOffer(type=DiscountType.PERCENT, value=Decimal(50), cycles=3)


def plan(amount_minor=4900, included=None, intro=None, unit_price="0.01", model=ConsumptionModel.BALANCE):
    calls = Feature(id=b"c", organization=b"o", code="calls", event_code="calls", name="C", kind=FeatureKind.METERED)
    prices = tuple(
        PlanPrice(
            id=interval.value,
            plan="p",
            interval=interval,
            amount_minor=amount_minor,
            currency="usd",
            is_default=interval is Interval.MONTHLY,
            included=included,
            intro=intro,
        )
        for interval in (Interval.MONTHLY, Interval.YEARLY)
    )
    granted = PlanFeature(feature=calls, overage=True, unit_price=unit_price)
    return Plan(id="p", organization=b"o", code="p", name="P", model=model, prices=prices, features=(granted,))


def regions(plan, rates, prices=None, units=None):
    return with_regions(
        plan, rates, prices or {}, {(plan.features[0].feature.id_text, c): u for c, u in (units or {}).items()}
    )


def test_the_twenty_currencies_can_be_priced():
    """R-REG-1."""
    assert len(set(TWENTY)) == 20
    assert set(TWENTY) | {"gbp"} == CURRENCIES
    for currency in set(TWENTY) - {"usd"}:
        assert currency_of(currency.upper(), "usd") == currency
        assert regions(plan(), {currency: "2"}).prices[0].in_currency(currency) is not None
    for wrong in ("usd", "chf", "xx", ""):
        with pytest.raises(Rejected):
            currency_of(wrong, "usd")


def test_a_currency_prices_base_overage_included_balance_and_intro_offer():
    """R-REG-2."""
    one = regions(plan(included=Decimal(30), intro=INTRO), {"brl": "5"})
    assert [price.in_currency("brl").amount_minor for price in one.prices] == [24_500, 24_500]
    assert one.prices[0].in_currency("brl").included == 150
    assert one.prices[0].in_currency("brl").intro == INTRO
    assert [(rate.currency, rate.unit_price, rate.synced) for rate in one.features[0].regional] == [
        ("brl", "0.05", True)
    ]
    amount = msgspec.structs.replace(INTRO, type=DiscountType.FIXED, value=Decimal("9.99"))
    assert regions(plan(intro=amount), {"jpy": "150"}).prices[0].in_currency("jpy").intro.value == 1499


def test_a_balance_plans_pool_is_by_hand_or_by_the_rate_or_the_price_there():
    """R-BAL-1, R-REG-2."""
    by_hand = {("monthly", "brl"): ManualPrice(amount_minor=19_900)}

    def pool(plan, rates, manual=by_hand):
        return regions(plan, rates, manual).prices[0].in_currency("brl").included

    assert pool(plan(), {"brl": "5"}, {}) == 245
    assert pool(plan(), {"brl": "5"}) == 199
    assert pool(plan(included=Decimal(30)), {"brl": "5"}) == 150
    assert pool(plan(included=Decimal(30)), {}) == 199, "without a rate nothing can be converted"
    assert pool(plan(), {"brl": "5"}, {("monthly", "brl"): ManualPrice(included=Decimal(7))}) == 7
    assert pool(plan(model=ConsumptionModel.METERED), {"brl": "5"}) is None


def test_doc_reg_01_manual_values_stay_and_synced_ones_follow_the_rate():
    """DOC-REG-01, R-REG-3: the vector's figures, in ARS."""
    by_hand = IntroOffer(type=DiscountType.PERCENT, value=Decimal(20), cycles=3)
    prices = {("monthly", "ars"): ManualPrice(included=Decimal(50_000), intro=by_hand)}
    before = regions(plan(8990), {"ars": "1000"}, prices, {"ars": "9.50"})
    after = regions(plan(8990), {"ars": "1100"}, prices, {"ars": "9.50"})
    monthly, later = (one.prices[0].in_currency("ars") for one in (before, after))
    assert monthly.amount_minor == 8_990_000, "89900 ARS"
    assert later.amount_minor == 9_889_000, "recomputed from the price in USD"
    assert monthly.synced
    assert later.included == monthly.included == 50_000
    assert later.intro == monthly.intro == by_hand
    for one in (before, after):
        (rate,) = one.features[0].regional
        assert (rate.unit_price, rate.synced) == ("9.50", False)
    dearer = regions(plan(9990), {"ars": "1000"}, prices, {"ars": "9.50"}).prices[0].in_currency("ars")
    assert dearer.amount_minor == 9_990_000, "a synced price follows the price in USD as well"
    fixed = regions(plan(9990), {"ars": "1100"}, {("monthly", "ars"): ManualPrice(amount_minor=1)})
    assert (fixed.prices[0].in_currency("ars").amount_minor, fixed.prices[0].in_currency("ars").synced) == (1, False)
    assert fixed.prices[1].in_currency("ars").synced


def test_doc_reg_02_a_currency_may_have_an_intro_offer_of_its_own():
    """DOC-REG-02, R-DISC-14: 50 % in USD, 40 % in BRL."""
    forty = msgspec.structs.replace(INTRO, value=Decimal(40))
    (monthly, _) = regions(plan(intro=INTRO), {"brl": "5"}, {("monthly", "brl"): ManualPrice(intro=forty)}).prices
    assert (monthly.intro.value, monthly.in_currency("brl").intro.value) == (50, 40)


@pytest.mark.parametrize(
    ("minor", "currency", "rate", "converted"),
    [
        (4999, "jpy", "151.37", 7567),  # 7566.9863
        (1, "jpy", "50", 1),  # 0.5: half-up
        (1, "krw", "49.9", 0),
        (999, "clp", "950.05", 9491),  # 9490.9995
        (1050, "pyg", "7300.1", 76_651),  # 76651.05
        (4900, "brl", "5.123", 25_103),  # 251.027
        (1, "eur", "0.5", 1),  # half a cent
        (1, "eur", "0.49", 0),
    ],
)
def test_a_synced_price_is_rounded_half_up_to_the_minor_unit(minor, currency, rate, converted):
    """R-REG-6: JPY, KRW, CLP and PYG have none."""
    assert converted_minor(minor, "usd", currency, rate) == converted


def test_a_unit_price_keeps_six_places():
    """R-REG-6."""
    assert converted_unit_price("0.0005", "5.1234567") == "0.002562"
    assert converted_unit_price("0.000001", "0.5") == "0.000001"
    assert converted_unit_price("0.000001", "0.49") == "0"


def test_without_rate_or_price_by_hand_a_price_is_the_plans_own():
    """R-REG-5."""
    one = regions(plan(), {}, {("yearly", "eur"): ManualPrice(amount_minor=4500)})
    assert one.prices[0].in_currency("eur") is None
    assert one.prices[1].in_currency("eur").amount_minor == 4500
    assert one.features[0].regional == ()
    assert one.exchange_rates == {}


@pytest.mark.parametrize("wrong", ["0", "-1", "1000000001", "NaN", "0.0000000000001"])
def test_a_rate_that_is_none_is_refused(wrong):
    with pytest.raises(Rejected):
        rate_of(Decimal(wrong))
    assert rate_of(Decimal("5.10")) == "5.1"


@pytest.mark.parametrize(("cycles", "own", "runs"), [(1, None, 1), (120, INTRO, 120), (None, INTRO, 3)])
def test_an_intro_offer_by_hand_runs_for_its_own_periods_or_the_prices(cycles, own, runs):
    """R-DISC-14."""
    price = plan(intro=own).prices[0]
    assert intro_by_hand(price, DiscountType.PERCENT, Decimal(10), cycles).cycles == runs


@pytest.mark.parametrize("cycles", [0, -1, 121, 10**30, None])
def test_an_intro_offer_by_hand_ends(cycles):
    """R-DISC-14, R-ERR-3: no price's own offer says how long, and a column holds no more."""
    with pytest.raises(Rejected) as refused:
        intro_by_hand(plan().prices[0], DiscountType.PERCENT, Decimal(10), cycles)
    assert refused.value.refusal.param == "introOffers.durationCycles"


@pytest.mark.parametrize("own", ["usd", "jpy", "kwd"])
def test_the_greatest_price_fits_its_column_in_every_currency(own):
    """R-REG-6: a synced price is stored with the terms that have it."""
    assert max(converted_minor(AMOUNT_MINOR_MAX, own, one, str(RATE_MAX)) for one in CURRENCIES) < 2**63
