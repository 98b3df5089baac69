from decimal import Decimal

from catalog.definition import Feature, FeatureKind, Organization, Plan, PlanFeature, PlanPrice, Principal
from catalog.terms import FeatureTerms
from kernel.period import Interval


def test_a_full_key_may_everything_and_a_restricted_one_what_it_says():
    full = Principal(organization=b"", key_id="key_1")
    narrow = Principal(organization=b"", key_id="key_2", restricted=True, permissions={"plan": ("read",)})
    assert full.may("plan", "write")
    assert narrow.may("plan", "read")
    assert not narrow.may("plan", "write")
    assert not narrow.may("customer", "read")
    assert not Principal(organization=b"", key_id="key_3", restricted=True).may("plan", "read")


def test_an_organization_lives_by_its_test_clock():
    real = Organization(id=bytes(16), name="x", environment="production")
    simulated = Organization(id=bytes(16), name="x", environment="sandbox", clock_ms=0)
    assert (real.now_ms(7), simulated.now_ms(7)) == (7, 0)
    assert (real.livemode, simulated.livemode) == (True, False)


def test_a_plan_freezes_into_terms():
    calls = Feature(
        id=b"c" * 16, organization=b"", code="calls", event_code="c", name="Calls", kind=FeatureKind.METERED
    )
    sso = Feature(id=b"s" * 16, organization=b"", code="sso", event_code="sso", name="SSO", kind=FeatureKind.BOOLEAN)
    price = PlanPrice(
        id="pp_1", plan="pln_1", interval=Interval.MONTHLY, amount_minor=2000, currency="usd", is_default=True
    )
    plan = Plan(
        id="pln_1",
        organization=b"",
        code="pro",
        name="Pro",
        prices=(price,),
        features=(
            PlanFeature(feature=calls, included=Decimal("1.5"), overage=True, unit_price="0.0000025"),
            PlanFeature(feature=sso, enabled=False),
        ),
    )
    assert plan.feature_terms() == (
        FeatureTerms(
            feature=calls.id,
            code="calls",
            kind="metered",
            included=1_500_000_000,
            overage=True,
            unit_price="0.0000025",
        ),
        FeatureTerms(feature=sso.id, code="sso", kind="boolean", enabled=False, included=0),
    )
    assert PlanFeature(feature=calls, unlimited=True).terms().included is None
    assert plan.price_of(None) == plan.price_of(Interval.MONTHLY) == price
    assert plan.price_of(Interval.YEARLY) is None
