"""What a merchant's change means for who is subscribed: what helps at once, what harms at renewal, row by row."""

from decimal import Decimal

import msgspec
import pytest

from billing.life.beginning import after_trial, first_frame, next_frame
from billing.life.frozen import chain_of, chain_to, framed, freeze, in_currency, raised, refrozen, widened
from billing.life.subscription import TRIAL_WINDOW_DAYS
from catalog.definition import (
    DiscountType,
    Feature,
    FeatureKind,
    IntroOffer,
    Plan,
    PlanFeature,
    PlanPrice,
    RegionalPrice,
    RegionalRate,
)
from catalog.regional import ManualPrice, with_regions
from catalog.terms import ConsumptionModel, PoolChain, SubscriptionStatus
from kernel.period import Interval
from tests.unit.billing.make import ANCHOR, day, subscription


def feature(code: str, kind: FeatureKind) -> Feature:
    return Feature(
        id=code.encode().ljust(16, b"_"), organization=b"o" * 16, code=code, event_code=code, name=code, kind=kind
    )


CALLS, SEATS, SSO = (
    feature("calls", FeatureKind.METERED),
    feature("seats", FeatureKind.SEATS),
    feature("sso", FeatureKind.BOOLEAN),
)


def calls(**changes) -> PlanFeature:
    return PlanFeature(
        **{"feature": CALLS, "included": Decimal(100), "overage": True, "unit_price": "0.002", **changes}
    )


def seats(**changes) -> PlanFeature:
    return PlanFeature(**{"feature": SEATS, "included": Decimal(5), "unit_price": "25", **changes})


def plan(*features: PlanFeature, price: int | None = 9900, **changes) -> Plan:
    monthly = PlanPrice(
        id="pp_1", plan="pln_1", interval=Interval.MONTHLY, amount_minor=price or 0, currency="usd", is_default=True
    )
    values = {
        "id": "pln_1",
        "organization": b"o" * 16,
        "code": "pro",
        "name": "Pro",
        "is_free": price is None,
        "prices": () if price is None else (msgspec.structs.replace(monthly, **changes.pop("priced", {})),),
        "features": features,
    }
    return Plan(**{**values, **changes})


def frozen(offered: Plan, **changes):
    """The terms of who subscribed to the plan as it is."""
    return freeze(offered, first_frame(subscription(free=offered.is_free, **changes)))


def following(current, offered: Plan):
    """The terms of the next period, frozen as the plan is now."""
    return freeze(offered, next_frame(current, current.interval), current)


def told(terms) -> dict[str, object]:
    """What a customer would see: base, pool and each feature."""
    found = {one.code: (one.included, one.overage, one.unit_price, one.credits, one.enabled) for one in terms.features}
    return {"base": terms.base_minor, "pool": terms.pool, **found}


BEFORE = plan(calls(), seats())
WAITS = {
    "R-BH-1, R-PRICE-1: raise the base price": plan(calls(), seats(), price=12900),
    "R-BH-1: lower the base price (an exception)": plan(calls(), seats(), price=100),
    "R-BH-1, R-PRICE-2: raise an overage price": plan(calls(unit_price="0.005"), seats()),
    "R-BH-1: lower an overage price": plan(calls(unit_price="0.001"), seats()),
    "R-BH-1, R-SEAT-12: raise a seat price": plan(calls(), seats(unit_price="30")),
    "R-BH-1: lower a seat price": plan(calls(), seats(unit_price="20")),
    "R-BH-1, R-PRICE-4: lower a limit": plan(calls(included=Decimal(50)), seats()),
    "R-BH-1, R-SEAT-11: lower included seats": plan(calls(), seats(included=Decimal(2))),
    "R-BH-1: remove a feature": plan(calls()),
    "R-BH-1: switch a feature off": plan(calls(enabled=False), seats()),
    "R-BH-1: switch overage off": plan(calls(overage=False), seats()),
    "R-BH-1: switch overage on": plan(calls(), seats(overage=True)),
}
AT_ONCE = {
    "R-BH-1, R-PRICE-4: raise a limit": plan(calls(included=Decimal(200)), seats()),
    "R-BH-1: make it unlimited": plan(calls(unlimited=True), seats()),
    "R-BH-1, R-SEAT-11: raise included seats": plan(calls(), seats(included=Decimal(9))),
    "R-BH-1: add a feature": plan(calls(), seats(), PlanFeature(feature=SSO)),
}


@pytest.mark.parametrize("after", WAITS.values(), ids=WAITS)
def test_what_harms_waits_for_the_renewal(after):
    """R-BH-1, R-PRICE-1, R-PRICE-3."""
    current = frozen(BEFORE)
    assert told(widened(current, after)) == told(current)
    assert told(following(current, after)) == told(frozen(after)) != told(current)


@pytest.mark.parametrize("after", AT_ONCE.values(), ids=AT_ONCE)
def test_what_helps_comes_at_once(after):
    """R-BH-1, R-PRICE-4."""
    assert told(widened(frozen(BEFORE), after)) == told(frozen(after))


def test_new_customers_get_the_current_configuration():
    """R-BH-2."""
    assert told(frozen(plan(calls(unit_price="0.005"), price=12900))) == {
        "base": 12900,
        "pool": "0",
        "calls": ("100", True, "0.005", "0", True),
    }


def test_raised_and_lowered_in_one_period_the_highest_value_holds():
    """R-BH-3, AMB-51."""
    current = frozen(BEFORE)
    for included in (300, 50, 200):
        current = widened(current, plan(calls(included=Decimal(included)), seats()))
    assert current.features[0].included == "300"
    assert following(current, BEFORE).features[0].included == "100"


def credit_plan(amount: int, use: str = "10", **changes) -> Plan:
    granted = PlanFeature(feature=CALLS, credits=use)
    return plan(granted, model=ConsumptionModel.CREDITS, included=Decimal(amount), **changes)


@pytest.mark.parametrize(("raised", "pool"), [(150, "150"), (80, "100")])
def test_on_a_paid_plan_a_pool_is_raised_at_once_and_lowered_at_renewal(raised, pool):
    """R-BH-4, AMB-51."""
    current = frozen(credit_plan(100))
    assert widened(current, credit_plan(raised)).pool == pool
    assert following(current, credit_plan(raised)).pool == str(raised)


@pytest.mark.parametrize("changed", [150, 80])
def test_on_a_free_plan_a_pool_follows_both_ways_at_once(changed):
    """R-FREE-7, R-BH-1: the row of the free plan's balance or credits."""
    assert widened(frozen(credit_plan(100, price=None)), credit_plan(changed, price=None)).pool == str(changed)


@pytest.mark.parametrize(("use", "now"), [("12", "10"), ("8", "8")])
def test_what_a_use_costs_in_credits_only_falls_within_a_period(use, now):
    """R-CREDIT-7, AMB-51."""
    current = frozen(credit_plan(100))
    assert widened(current, credit_plan(100, use)).features[0].credits == now
    assert following(current, credit_plan(100, use)).features[0].credits == use


def balance(price: int | None = 5000, **changes) -> Plan:
    granted = PlanFeature(feature=CALLS, unit_price="0.001", margin="20")
    return plan(granted, price=price, **{"model": ConsumptionModel.BALANCE, **changes})


def test_a_balance_is_the_base_price_unless_the_plan_says_another():
    """R-BAL-1, R-BH-4, AMB-20: a higher price of tomorrow is no higher balance of today."""
    current = frozen(balance())
    assert (current.pool, current.overdraft) == ("50", True)
    assert widened(current, balance(9000)).pool == "50"
    assert following(current, balance(9000)).pool == "90"
    assert widened(current, balance(included=Decimal(60))).pool == "60"
    assert frozen(balance(included=Decimal(60))).pool == "60"
    assert frozen(balance(priced={"included": Decimal(70)}, included=Decimal(60))).pool == "70"


def test_unit_prices_and_margins_of_a_balance_plan_are_frozen():
    """R-PRICE-1, R-AI-1."""
    current = frozen(balance())
    dearer = balance()
    dearer = msgspec.structs.replace(dearer, features=(PlanFeature(feature=CALLS, unit_price="0.002", margin="30"),))
    kept = widened(current, dearer).features[0]
    assert (kept.unit_price, kept.margin) == ("0.001", "20")
    new = following(current, dearer).features[0]
    assert (new.unit_price, new.margin) == ("0.002", "30")


def test_overdraft_is_for_paid_active_plans_that_do_not_switch_it_off():
    """R-BAL-3, R-BAL-6, R-BAL-7."""
    assert not frozen(balance(overdraft=False)).overdraft
    assert not frozen(balance(price=None, included=Decimal(5))).overdraft
    trial = {"status": SubscriptionStatus.TRIALING, "trial_end_day": ANCHOR + 14, "period_end_day": ANCHOR + 14}
    assert not frozen(balance(), **trial).overdraft


def test_a_trial_blocks_overage_and_takes_the_price_of_its_end():
    """R-TRIAL-5, R-TRIAL-6, R-MODEL-1: the row of the trial that starts, and of the one that ends."""
    trial = subscription(
        status=SubscriptionStatus.TRIALING, trial_days=45, trial_end_day=ANCHOR + 45, period_end_day=ANCHOR + 45
    )
    current = freeze(BEFORE, first_frame(trial))
    assert (current.trial, current.window_days, current.features[0].overage) == (True, TRIAL_WINDOW_DAYS, False)
    announced = freeze(BEFORE, after_trial(trial, current, 2), current)
    dearer = refrozen(announced, plan(calls(), seats(), price=12900))
    assert (dearer.base_minor, dearer.features[0].overage, dearer.months) == (12900, True, 1)
    assert (dearer.term, dearer.since_day, dearer.anchor_day) == (2, ANCHOR + 45, ANCHOR + 45)
    assert dearer.chain == chain_of(current) == PoolChain(term=1, window=ANCHOR)


def test_a_paid_balance_takes_over_what_was_bought_on_a_free_one():
    """R-FREE-6, R-TOPUP-3, AMB-20: until its own first renewal; no other model or currency."""
    free = frozen(balance(None, included=Decimal(1)))
    since = PoolChain(term=1, window=ANCHOR)
    assert chain_to(free, ConsumptionModel.BALANCE, "USD") == since
    assert freeze(balance(), first_frame(subscription(term=2), since)).chain == since
    assert chain_to(free, ConsumptionModel.BALANCE, "eur") is None
    assert chain_to(free, ConsumptionModel.METERED, "usd") is None
    assert chain_to(None, ConsumptionModel.BALANCE, "usd") is None
    assert chain_to(frozen(BEFORE), ConsumptionModel.BALANCE, "usd") is None
    assert frozen(balance()).chain is None


def test_a_long_trial_resets_its_limits_every_thirty_days():
    """R-TRIAL-7."""
    trial = subscription(
        status=SubscriptionStatus.TRIALING, trial_days=45, trial_end_day=ANCHOR + 45, period_end_day=ANCHOR + 45
    )
    current = freeze(BEFORE, first_frame(trial))
    assert [current.window_of(ANCHOR + after).start - ANCHOR for after in (0, 29, 30, 44)] == [0, 0, 30, 30]


def test_a_renewal_of_a_quarter_is_its_end_and_not_the_months():
    """R-BH-5, AMB-23."""
    offered = plan(calls(), seats(), priced={"interval": Interval.QUARTERLY})
    current = freeze(
        offered,
        first_frame(subscription(billing_interval=Interval.QUARTERLY, period_end_day=day("2026-04-30"))),
    )
    frame = next_frame(current, Interval.QUARTERLY)
    assert (frame.since_day, frame.until_day) == (day("2026-04-30"), day("2026-07-31"))


def test_a_new_price_in_the_subscriptions_currency_is_taken_at_renewal():
    """R-REG-2, R-REG-7."""
    regional = {"regional": (RegionalPrice(currency="brl", amount_minor=50000),)}
    granted = calls(regional=(RegionalRate(currency="brl", unit_price="0.01"),))
    current = frozen(plan(granted, priced=regional), currency="brl")
    assert told(current)["base"] == 50000
    assert current.features[0].unit_price == "0.01"
    dearer = plan(granted, priced={"regional": (RegionalPrice(currency="brl", amount_minor=60000),)})
    assert widened(current, dearer).base_minor == 50000
    assert following(current, dearer).base_minor == 60000


@pytest.mark.parametrize("rate", [{}, {"eur": "0.9"}])
@pytest.mark.parametrize("said", [{}, {"included": Decimal(60)}])
def test_a_dearer_price_by_hand_is_no_higher_balance_of_today(rate, said):
    """R-PRICE-1, R-BAL-1, R-REG-7: as in the plan's own currency; a balance that is raised is higher at once."""

    def in_euro(amount_minor, included=None):
        by_hand = {("pp_1", "eur"): ManualPrice(amount_minor=amount_minor, included=included)}
        return with_regions(balance(priced=said), rate, by_hand, {})

    current = frozen(in_euro(5000), currency="eur")
    pool = "54" if said and rate else "50"  # what can be converted, else the price there
    assert (current.base_minor, current.pool) == (5000, pool)
    assert widened(current, in_euro(10_000)) == current
    assert following(current, in_euro(10_000)).pool == ("54" if said and rate else "100")
    assert widened(current, in_euro(5000, Decimal(70))).pool == "70"
    assert widened(current, in_euro(10_000, Decimal(100))).pool == "100"


TEN_OFF = IntroOffer(type=DiscountType.FIXED, value=Decimal(10), cycles=3)
HALF_OFF = IntroOffer(type=DiscountType.PERCENT, value=Decimal(50), cycles=3)


@pytest.mark.parametrize(
    ("own", "rate", "by_hand", "there"),
    [
        (TEN_OFF, {}, None, None),
        (TEN_OFF, {"krw": "1400"}, None, Decimal(14_000)),
        (TEN_OFF, {}, msgspec.structs.replace(TEN_OFF, value=Decimal(9_000)), Decimal(9_000)),
        (HALF_OFF, {}, None, Decimal(50)),
        (None, {}, None, None),
    ],
)
def test_an_offers_amount_is_in_the_prices_currency(own, rate, by_hand, there):
    """R-DISC-14: ten dollars are not ten won; what nothing says there is no offer there."""
    manual = {("pp_1", "krw"): ManualPrice(amount_minor=40_000, intro=by_hand)}
    offered = with_regions(plan(priced={"intro": own}), rate, manual, {})
    found = in_currency(offered.prices[0], "krw")
    assert (found.amount_minor, found.currency) == (40_000, "krw")
    assert (None if found.intro is None else found.intro.value) == there
    assert in_currency(offered.prices[0], "usd").intro == own


def quarter(**changes):
    """Terms of a quarter from the anchor on, and the first days of its three windows."""
    first = frozen(plan(calls(), seats(), **changes))
    windows = [ANCHOR, day("2026-02-28"), day("2026-03-31")]
    return msgspec.structs.replace(first, until_day=day("2026-04-30")), windows


def test_what_is_raised_in_a_later_month_does_not_reach_back():
    """R-INT-4, R-BH-1, R-BH-3: closed months of a quarter keep what they had; a month that runs has the most."""
    terms, windows = quarter(model=ConsumptionModel.CREDITS, included=Decimal(50))
    for moment, included, pool in ((5, 150, 60), (40, 300, 60), (45, 400, 70), (46, 350, 65), (70, 400, 80)):
        offered = plan(
            calls(included=Decimal(included)), seats(), model=ConsumptionModel.CREDITS, included=Decimal(pool)
        )
        terms = raised(terms, widened(terms, offered), ANCHOR + moment)
    told = [(one.features[0].included, one.pool) for one in map(terms.of_window, windows)]
    assert told == [("150", "60"), ("400", "70"), ("400", "80")]
    assert [one.before_day for one in terms.earlier] == windows[1:]
    assert framed(terms, terms).earlier == ()


def test_seats_and_a_month_of_its_own_have_nothing_earlier():
    """R-SEAT-11: raised seats lift the level of the whole billing period."""
    terms, _ = quarter()
    assert raised(terms, widened(terms, plan(calls(), seats(included=Decimal(9)))), ANCHOR + 40).earlier == ()
    monthly = frozen(BEFORE)
    assert raised(monthly, widened(monthly, plan(calls(included=Decimal(150)))), ANCHOR + 20).earlier == ()
