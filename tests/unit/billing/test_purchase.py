from decimal import Decimal

import msgspec
import pytest

from aggregator.standing import usage_window
from billing.sale.purchase import PackPurchase, TopUpPurchase, refused_pack, refused_top_up
from catalog.definition import CreditPack
from catalog.terms import ConsumptionModel, Snapshot, SubscriptionStatus, Terms
from kernel.period import DAY_US
from tests.unit.billing.make import day

START = day("2026-01-31")
TODAY = day("2026-03-10")


def terms(model="credits", **changes):
    values = {
        "number": 1,
        "subscription": "sub_1",
        "plan": "pln_1",
        "start_us": START * DAY_US,
        "anchor": START,
        "since": START,
        "free": False,
        "features": (),
        "model": ConsumptionModel(model),
    }
    return Terms(**{**values, **changes})


def snapshot(model="credits", status="active", **changes):
    values = {
        "organization": b"o" * 16,
        "customer": b"c" * 16,
        "rev": 1,
        "status": None if status is None else SubscriptionStatus(status),
        "end_us": None,
        "terms": terms(model),
        "next": None,
        "cut": 0,
    }
    return Snapshot(**{**values, **changes})


def pack(**changes):
    values = {"id": "cpk_1", "organization": b"o" * 16, "name": "Power", "credits": Decimal(500), "price_minor": 4000}
    return CreditPack(**{**values, **changes})


def code(refused):
    return refused and refused.code


@pytest.mark.parametrize(
    ("status", "refusal"),
    [
        ("active", None),
        ("trialing", None),
        ("past_due", "invalid_subscription_status"),
        ("paused", "invalid_subscription_status"),
        ("canceled", "invalid_subscription_status"),
        ("pending_payment", "invalid_subscription_status"),
        (None, "invalid_subscription_status"),
    ],
)
def test_who_may_buy(status, refusal):
    """R-PACK-2, R-PORTAL-4, AMB-55: active, trialing and free; not past due."""
    assert code(refused_pack(snapshot(status=status), TODAY, pack())) == refusal
    assert code(refused_top_up(snapshot("balance", status), TODAY, 50)) == refusal
    free = snapshot(status=status, terms=terms(free=True))
    assert code(refused_pack(free, TODAY, pack())) == refusal


def test_a_subscription_that_ended_or_never_began_buys_nothing():
    """R-PACK-2: the end of access counts, whatever the row still says."""
    ended = snapshot(end_us=TODAY * DAY_US)
    assert code(refused_pack(ended, TODAY, pack())) == "invalid_subscription_status"
    assert refused_pack(ended, TODAY - 1, pack()) is None
    assert code(refused_pack(snapshot(terms=None), TODAY, pack())) == "invalid_subscription_status"


@pytest.mark.parametrize(("model", "packs", "top_ups"), [("credits", 1, 0), ("balance", 0, 1), ("metered", 0, 0)])
def test_packs_are_for_credits_plans_and_top_ups_for_balance_plans(model, packs, top_ups):
    """R-TOPUP-1, R-METER-5, R-MODEL-2: what a portal of each model sells beside the plan."""
    assert code(refused_pack(snapshot(model), TODAY, pack())) == (None if packs else "validation_error")
    assert code(refused_top_up(snapshot(model), TODAY, 5000)) == (None if top_ups else "validation_error")


def test_the_terms_in_force_now_decide():
    """R-MODEL-3: a change of model that is announced is not in force before its day."""
    changing = snapshot(next=terms("balance", number=2, since=TODAY + 1))
    assert refused_pack(changing, TODAY, pack()) is None
    assert code(refused_pack(changing, TODAY + 1, pack())) == "validation_error"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, None),
        ({"plans": ("pln_1", "pln_2")}, None),
        ({"plans": ("pln_2",)}, "credit_pack_not_found"),
        ({"plans": ()}, "credit_pack_not_found"),
        ({"active": False}, "credit_pack_not_found"),
    ],
)
def test_a_pack_is_sold_on_all_credits_plans_or_on_chosen_ones(changes, refusal):
    """R-PACK-1."""
    assert code(refused_pack(snapshot(), TODAY, pack(**changes))) == refusal


@pytest.mark.parametrize(
    ("minor", "refusal"), [(-1, "validation_error"), (0, "validation_error"), (49, "validation_error"), (50, None)]
)
def test_the_least_top_up(minor, refusal):
    """R-TOPUP-5, AMB-29."""
    assert code(refused_top_up(snapshot("balance"), TODAY, minor)) == refusal


@pytest.mark.parametrize(
    ("on", "changes", "window"),
    [
        ("2026-03-10", {}, "2026-02-28"),
        ("2026-03-31", {}, "2026-03-31"),
        ("2026-01-30", {}, "2026-01-31"),
        ("2026-03-10", {"months": 12}, "2026-02-28"),
        ("2026-03-10", {"window_days": 30}, "2026-03-02"),
    ],
)
def test_a_purchase_counts_in_the_draw_window_that_holds_it(on, changes, window):
    """R-TOPUP-3, R-INT-1, R-TRIAL-7: monthly from the anchor on every interval, by days in a trial."""
    shown = snapshot(terms=terms(**changes))
    assert usage_window(shown, shown.terms, day(on)).start == day(window)


def test_what_is_paid_is_what_is_granted():
    """R-TOPUP-2, R-GEN-4: 50.00 adds 50.00, 5,000 yen add 5,000; half a credit counts."""
    top_up = TopUpPurchase(
        id="pur_1",
        organization_id="org_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        amount_minor=5000,
        currency="usd",
        term=1,
        window_day=START,
        invoice_id="inv_1",
        created_ms=0,
    )
    assert top_up.units == 50 * 10**9
    assert msgspec.structs.replace(top_up, currency="jpy").units == 5000 * 10**9
    bought = PackPurchase(
        id="pur_1",
        organization_id="org_1",
        customer_id="cus_1",
        subscription_id="sub_1",
        pack_id="cpk_1",
        pack_name="Power",
        credits="500.5",
        price_minor=4000,
        term=1,
        window_day=START,
        invoice_id="inv_1",
        created_ms=0,
    )
    assert bought.units == 500_500_000_000
