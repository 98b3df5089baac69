from decimal import Decimal

import msgspec
import pytest

from billing.life.beginning import first_frame
from billing.life.frozen import framed, freeze, widened
from billing.life.showing import AccountRow, announced, in_force, shown_terms, snapshot_of, terms_of
from catalog.definition import Feature, FeatureKind, Plan, PlanFeature, PlanPrice
from catalog.terms import SubscriptionStatus, decode_snapshot, encode_snapshot
from kernel import ids
from kernel.period import DAY_MS, DAY_US, Interval
from tests.unit.billing.make import ANCHOR, FEATURE, day, granted, period, subscription

CALLS = Feature(
    id=b"f" * 16, organization=b"o" * 16, code="calls", event_code="calls", name="Calls", kind=FeatureKind.METERED
)
SSO = Feature(id=b"x" * 16, organization=b"o" * 16, code="sso", event_code="sso", name="SSO", kind=FeatureKind.BOOLEAN)


def plan(*features, base_minor=5900):
    price = PlanPrice(
        id="pp_1", plan="pln_1", interval=Interval.MONTHLY, amount_minor=base_minor, currency="usd", is_default=True
    )
    return Plan(id="pln_1", organization=b"o" * 16, code="pro", name="Pro", prices=(price,), features=tuple(features))


def offers(**changes):
    return PlanFeature(**{"feature": CALLS, "included": Decimal(10), "overage": True, "unit_price": "0.015", **changes})


def test_a_period_freezes_what_the_plan_offers():
    frozen = freeze(plan(offers()), first_frame(subscription()))
    assert frozen == period(0, base_minor=5900)
    assert msgspec.convert(msgspec.to_builtins(frozen), type(frozen)) == frozen


def test_a_plan_that_lost_its_price_keeps_the_last_one():
    gone = msgspec.structs.replace(plan(offers()), prices=())
    assert freeze(gone, period(1), period(0)).base_minor == 4900
    assert framed(period(0), period(1)) == period(1)


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        (offers(included=Decimal(20)), {"included": "20"}),
        (offers(included=Decimal(9)), {}),
        (offers(included=Decimal("10.5")), {"included": "10.5"}),
        (offers(unlimited=True), {"included": None}),
        (offers(unit_price="0.001"), {}),
        (offers(unit_price="9"), {}),
        (offers(overage=False), {}),
        (offers(enabled=False), {}),
    ],
)
def test_within_a_period_terms_only_widen(offered, wanted):
    assert widened(period(0), plan(offered)) == period(0, granted(**wanted))


def test_an_added_feature_comes_at_once_and_a_removed_one_stays():
    after = widened(period(0), plan(PlanFeature(feature=SSO)))
    assert [one.code for one in after.features] == ["calls", "sso"]
    assert widened(after, plan(PlanFeature(feature=SSO))) == after


def test_unlimited_is_never_taken_back_within_the_period():
    unlimited = period(0, granted(included=None))
    assert widened(unlimited, plan(offers())) == unlimited


def test_the_snapshot_carries_the_current_terms_and_the_announced_ones():
    account = AccountRow(
        customer_id=ids.id_text(ids.CUSTOMER, b"c" * 16),
        organization_id=ids.id_text(ids.ORGANIZATION, b"o" * 16),
        rev=7,
        shown_rev=6,
        cut=2,
        open_cut=None,
        terms=1,
    )
    periods = [period(0), period(1), period(2)]
    made = subscription(period_start_day=day("2026-02-28"), period_end_day=day("2026-03-31"))
    snapshot = snapshot_of(account, made, periods)
    assert (snapshot.customer, snapshot.rev, snapshot.cut) == (b"c" * 16, 7, 2)
    assert snapshot.terms == terms_of(made, period(1))
    assert snapshot.next == terms_of(made, period(2))
    assert (snapshot.terms.since, snapshot.terms.anchor) == (day("2026-02-28"), ANCHOR)
    assert snapshot.terms.features[0].included == 10 * 10**9
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
    empty = snapshot_of(account, None, [])
    assert (empty.status, empty.terms, empty.next) == (None, None, None)


def test_nothing_is_announced_beyond_an_end():
    periods = [period(0), period(1)]
    ends = subscription(end_us=day("2026-02-28") * DAY_US)
    assert announced(ends, periods) is None
    assert announced(subscription(end_us=day("2026-03-31") * DAY_US), periods) == period(1)
    assert in_force(ends, periods) == period(0)


def test_what_is_shown_are_the_terms_of_the_period_that_holds_now():
    periods = [period(0), period(1)]
    assert shown_terms(subscription(), periods, day("2026-02-27") * DAY_MS) == period(0)
    assert shown_terms(subscription(), periods, day("2026-02-28") * DAY_MS) == period(1)
    ended = subscription(status=SubscriptionStatus.CANCELED, end_us=ANCHOR * DAY_US)
    assert shown_terms(ended, periods, day("2026-02-28") * DAY_MS) == period(0)
    assert shown_terms(subscription(), periods, 0) == period(0)
    assert period(0).feature(FEATURE) == granted()
