"""Add-ons: what one costs when it is switched on, and how its feature joins frozen terms."""

from decimal import Decimal

import msgspec
import pytest

from billing.life.frozen import refrozen, widened
from billing.money.closing import Window, WindowUsage, plan_close
from billing.sale.addon import (
    activation_charge,
    base_lines,
    components,
    components_bought,
    frozen_addon,
    joined,
    opened,
    refusal_of,
    shut,
)
from catalog.definition import Addon, Feature, FeatureKind, Plan, PlanFeature
from catalog.terms import ConsumptionModel, SubscriptionStatus
from kernel.period import Interval, Period
from tests.unit.billing.make import close, day, granted, period

SMS = Feature(
    id=b"sms".ljust(16, b"_"),
    organization=b"o" * 16,
    code="sms_messages",
    event_code="sms_messages",
    name="Messages",
    kind=FeatureKind.METERED,
)
PRO = Plan(id="pln_1", organization=b"o" * 16, code="pro", name="Pro")
MARCH = {"since_day": day("2026-03-01"), "until_day": day("2026-04-01"), "anchor_day": day("2026-03-01")}


def addon(**changes) -> Addon:
    values = {
        "id": "adn_1",
        "organization": b"o" * 16,
        "slug": "sms",
        "name": "SMS",
        "base_minor": 1500,
        "granted": PlanFeature(feature=SMS, included=Decimal(1000), overage=True, unit_price="0.03"),
        "model": ConsumptionModel.METERED,
    }
    return Addon(**{**values, **changes})


def sms(**changes):
    """What the add-on grants in a period of the plan."""
    frozen = frozen_addon(addon(), PRO, period(0))
    assert frozen is not None
    return msgspec.structs.replace(frozen, **changes)


@pytest.mark.parametrize(
    ("on", "base_minor", "charged", "share"),
    [
        ("2026-03-11", 5000, 3226, (20, 31)),  # DOC-ADD-01
        ("2026-03-01", 5000, 4839, (30, 31)),
        ("2026-03-31", 5000, 0, (0, 31)),
    ],
)
def test_an_activation_costs_the_days_that_are_left(on, base_minor, charged, share):
    """R-ADDON-3, R-PRO-3: actual days of the billing period, the day itself used."""
    found = activation_charge(period(0, **MARCH), base_minor, day(on))
    assert (found.amount.minor, found.share) == (charged, share)
    assert found.period == Period(day(on), day("2026-04-01"))


def test_in_a_trial_the_rest_of_it_is_charged_over_a_regular_period():
    """R-ADDON-13, AMB-25: on day 5 of a trial of 14 days 9 are left, the first period has 31."""
    trial = period(0, since_day=day("2026-02-15"), until_day=day("2026-03-01"), trial=True)
    found = activation_charge(trial, 5000, day("2026-02-19"))
    assert (found.share, found.amount.minor) == ((9, 31), 1452)


def test_on_a_free_plan_the_first_month_is_charged_in_full():
    """R-ADDON-13: its own cycle begins with the activation."""
    free = period(0, interval=None, until_day=None)
    found = activation_charge(free, 5000, day("2026-02-15"))
    assert (found.share, found.amount.minor) == ((28, 28), 5000)
    assert found.period == Period(day("2026-02-15"), day("2026-03-15"))


def test_a_base_is_one_billing_periods_at_the_intervals_own_price():
    """R-ADDON-12: not multiplied by months."""
    quarter = period(0, interval=Interval.QUARTERLY)
    assert frozen_addon(addon(), PRO, quarter).base_minor == 1500
    assert frozen_addon(addon(interval_minor={"quarterly": 4000}), PRO, quarter).base_minor == 4000


def test_prices_are_converted_at_the_plans_rate():
    """R-ADDON-14: without a rate there is no price."""
    local = period(0, currency="eur")
    assert frozen_addon(addon(), PRO, local) is None
    found = frozen_addon(addon(), msgspec.structs.replace(PRO, exchange_rates={"eur": "0.915"}), local)
    assert (found.base_minor, found.unit_price) == (1373, "0.02745")


@pytest.mark.parametrize(
    ("status", "started", "model", "code"),
    [
        (SubscriptionStatus.ACTIVE, True, ConsumptionModel.METERED, None),
        (SubscriptionStatus.TRIALING, True, ConsumptionModel.METERED, None),
        (SubscriptionStatus.TRIALING, False, ConsumptionModel.METERED, "invalid_subscription_status"),
        (SubscriptionStatus.PAST_DUE, True, ConsumptionModel.METERED, "invalid_subscription_status"),
        (SubscriptionStatus.PAUSED, True, ConsumptionModel.METERED, "invalid_subscription_status"),
        (SubscriptionStatus.CANCELED, True, ConsumptionModel.METERED, "invalid_subscription_status"),
        (SubscriptionStatus.ACTIVE, True, None, None),
        (SubscriptionStatus.ACTIVE, True, ConsumptionModel.CREDITS, "validation_error"),
    ],
)
def test_when_an_addon_may_be_switched_on(status, started, model, code):
    """R-ADDON-2, R-ADDON-7."""
    refused = refusal_of(addon(model=model), PRO, period(0), status, started=started)
    assert (None if refused is None else refused.code) == code


def test_what_the_plan_has_is_not_sold_again():
    """R-ADDON-9."""
    had = sms(addon="", slug="")
    refused = refusal_of(addon(), PRO, period(0, had), SubscriptionStatus.ACTIVE, started=True)
    assert refused is not None
    off = msgspec.structs.replace(had, enabled=False)
    assert refusal_of(addon(), PRO, period(0, off), SubscriptionStatus.ACTIVE, started=True) is None


def test_the_period_of_the_activation_does_not_charge_the_base_again():
    """R-ADDON-4: from the next period on it is a line."""
    days = Period(0, 31)
    now = opened(period(0), sms())
    assert base_lines(now, days, 1) == []
    [line] = base_lines(joined(period(1), [sms()]), days, 1)
    assert (line.kind, line.amount_minor, line.charge_type) == ("addon_base", 1500, "advance")
    assert line.description.startswith("sms,")


def test_its_usage_is_a_line_of_its_own_even_when_it_was_switched_off():
    """R-ADDON-4, R-ADDON-5: 1800 used, 1000 included, at 0.03."""
    for first in (joined(period(0), [sms()]), shut(opened(period(0), sms()), "adn_1")):
        used = {Window(sms().feature, 1, first.since_day): WindowUsage(end=first.until_day, units=1800 * 10**9)}
        draft = plan_close(close(0, cut=1), [first, joined(period(1), [])], used, {})
        assert [(line.kind, line.amount_minor) for line in draft.lines] == [
            ("plan_base", 4900),
            ("addon_overage", 2400),
        ]


def test_switched_off_it_grants_nothing_at_once_and_on_again_what_was_frozen():
    """R-ADDON-5, R-PRICE-1: prices of a period never change."""
    off = shut(opened(period(0), sms()), "adn_1")
    assert off.feature(sms().feature).enabled is False
    again = opened(off, sms(included="2000", unit_price="0.05")).feature(sms().feature)
    assert (again.enabled, again.included, again.unit_price, again.paid_apart) == (True, "2000", "0.03", True)
    assert len(off.features) == len(opened(off, sms()).features) == 2


def test_a_changed_plan_does_not_lose_what_an_addon_brings():
    """R-BH-1, R-ADDON-4: widening keeps it, freezing anew takes it from what is active."""
    now = opened(period(0), sms())
    assert widened(now, PRO).feature(sms().feature) == now.feature(sms().feature)
    assert refrozen(now, PRO).feature(sms().feature) is None
    assert joined(refrozen(now, PRO), [sms()]).feature(sms().feature) == sms()
    planned = granted(feature=sms().feature, included="5000", unit_price="9")
    both = joined(period(1, planned), [sms()]).feature(sms().feature)
    assert (both.addon, both.included, both.unit_price) == ("adn_1", "5000", "0.03")


def test_a_change_of_plan_credits_what_is_on():
    """R-PRO-1, R-CHG-13: a part of the period's price each, at the price of the period."""
    now = opened(period(0), sms())
    assert [(part.name, part.amount) for part in components(now)] == [("addon:sms", Decimal(15))]
    assert components(shut(now, "adn_1")) == []


def test_terms_that_follow_have_what_is_active_alone():
    """R-ADDON-5: what was switched off is not taken along, not even where terms are kept as they are."""
    off = shut(opened(period(0), sms()), "adn_1")
    assert joined(off, []).feature(sms().feature) is None
    assert joined(off, [sms()]).feature(sms().feature) == sms()


def test_a_change_charges_what_its_period_began_with():
    """R-INV-6: neither an add-on that is switched on later in the period nor one that is switched off changes it."""
    begun = joined(period(0), [sms()])
    for now in (begun, shut(begun, "adn_1"), opened(shut(begun, "adn_1"), sms())):
        assert [part.name for part in components_bought(now)] == ["addon:sms"]
    assert components_bought(opened(period(0), sms())) == []


def plan_with(**changes) -> Plan:
    """The plan, which has come to grant the add-on's feature."""
    return msgspec.structs.replace(PRO, features=(PlanFeature(feature=SMS, **changes),))


def test_what_is_off_stays_off_when_the_plan_gains_its_feature():
    """R-ADDON-5, R-BH-1: the feature is there, as the plan's: no change of plan credits the add-on, nobody buys it."""
    off = shut(opened(period(0), sms()), "adn_1")
    now = widened(off, plan_with(included=Decimal(5000)))
    granted_now = now.feature(sms().feature)
    assert (granted_now.enabled, granted_now.included, granted_now.unit_price) == (True, "5000", "0.03")
    assert components(now) == []
    assert refusal_of(addon(), PRO, now, SubscriptionStatus.ACTIVE, started=True).rule == "R-ADDON-9"
    assert widened(now, plan_with(included=Decimal(5000))) == now
    closed = widened(off, plan_with(enabled=False))
    assert closed.feature(sms().feature).enabled is False
    assert components(opened(closed, sms())) == components(opened(period(0), sms()))


@pytest.mark.parametrize(
    "on",
    [
        widened(opened(period(0), sms()), plan_with(included=Decimal(5000))),
        joined(period(0, granted(feature=sms().feature)), [sms()]),
    ],
)
def test_what_the_plan_grants_too_stays_when_the_addon_is_switched_off(on):
    """R-BH-1, R-BH-3: the plan came to grant it within the period, or before it began."""
    assert [part.name for part in components(on)] == ["addon:sms"]
    off = shut(on, "adn_1")
    assert off.feature(sms().feature).enabled is True
    assert components(off) == []
    disabled = joined(period(0, granted(feature=sms().feature, enabled=False)), [sms()])
    assert shut(disabled, "adn_1").feature(sms().feature).enabled is False
