"""How the runner spells values, and how it reads answers: exactly, or not at all."""

from decimal import Decimal

import pytest

from tests.vectors import wire
from tests.vectors.observation import SeenEvent, SeenInvoice, SeenLine, SeenState

PLAN = {
    "model": "balance",
    "prices": {"monthly": "99.00", "yearly": "899.00"},
    "features": {},
    "included_balance": "100.00",
    "trial_days": {"monthly": 14},
    "intro_offers": {"yearly": {"type": "percent", "value": "12.5", "cycles": 3}},
}


def test_a_price_is_spelled_with_all_that_hangs_on_its_interval():
    assert wire.price(PLAN, "monthly") == {
        "price": 9_900,
        "isDefault": True,
        "trialDays": 14,
        "introOffer": None,
        "includedCredits": None,
        "includedBalance": 10_000,
        "includedBalanceDecimal": None,
    }
    yearly = wire.price(PLAN, "yearly")
    assert (yearly["price"], yearly["isDefault"], yearly["trialDays"]) == (89_900, False, 0)
    assert yearly["introOffer"] == {
        "enabled": True,
        "discountType": "percentage",
        "discountValue": 1_250,
        "durationCycles": 3,
    }
    assert wire.price(PLAN, "quarterly") is None
    exact = wire.price({**PLAN, "included_balance": "0.005"}, "monthly")
    assert (exact["includedBalance"], exact["includedBalanceDecimal"]) == (None, "0.005")


def test_counts_are_sent_as_whole_numbers_however_they_are_spelled():
    offer = {"type": "percent", "value": "12.5", "cycles": Decimal("3.0")}
    spelled = wire.price({**PLAN, "trial_days": {"monthly": "14"}, "intro_offers": {"monthly": offer}}, "monthly")
    assert (spelled["trialDays"], spelled["introOffer"]["durationCycles"]) == (14, 3)


def test_without_an_interval_the_shortest_price_is_meant():
    """R-SUB-2."""
    plan = {**PLAN, "prices": {"yearly": "899.00", "quarterly": "270.00"}}
    assert [wire.price(plan, interval)["isDefault"] for interval in plan["prices"]] == [False, True]


def test_a_free_plan_has_no_price_to_send():
    assert wire.price({**PLAN, "free": True, "prices": {"monthly": "0.00"}}, "monthly") is None


def test_only_a_verdict_on_the_count_refuses_seats():
    """R-SEAT-14."""
    assert wire.refuses_seats("seat_limit_exceeded")
    assert not wire.refuses_seats("validation_error")
    assert not wire.refuses_seats(None)


@pytest.mark.parametrize(
    ("feature", "model", "body"),
    [
        ({"type": "boolean"}, "metered", {"enabled": True}),
        ({"type": "metered"}, "metered", {"overage": {"enabled": False}, "includedAmount": 0}),
        (
            {"type": "metered", "included": "0.5", "overage_price": "0.0005"},
            "metered",
            {"overage": {"enabled": True, "unitPriceDecimal": "0.0005"}, "includedAmount": 0.5},
        ),
        (
            {"type": "seats", "included": 5, "seat_price": "25.00"},
            "credits",
            {"overage": {"enabled": True, "unitPriceDecimal": "25.00"}, "includedAmount": 5},
        ),
        ({"type": "metered", "credits_per_unit": 10}, "credits", {"creditsPerUnit": 10}),
        ({"type": "metered", "credits_per_unit": "0.5"}, "credits", {"creditsPerUnitDecimal": "0.5"}),
        ({"type": "metered", "unit_price": "0.001"}, "balance", {"unitPriceDecimal": "0.001"}),
        (
            {"type": "metered", "pricing_mode": "ai_model", "margin_percent": "20"},
            "balance",
            {"pricingMode": "ai_model", "marginPercent": "20"},
        ),
    ],
)
def test_what_a_plan_grants_is_spelled(feature, model, body):
    assert wire.granted(feature, model) == body


@pytest.mark.parametrize(
    ("promo", "body"),
    [
        ({"type": "percent", "value": "20", "duration": "forever"}, ("percentage", 2_000, None)),
        ({"type": "fixed", "value": "98.51", "duration": "once"}, ("amount", 9_851, 1)),
        ({"type": "fixed", "value": "5", "duration": "repeating", "cycles": 3}, ("amount", 500, 3)),
    ],
)
def test_a_promo_code_is_spelled(promo, body):
    assert tuple(wire.promo_code(promo).values()) == body


def test_what_the_wire_cannot_say_is_told():
    with pytest.raises(wire.Refused, match=r"9\.999 is not a whole number"):
        wire.minor("9.999")
    with pytest.raises(wire.Refused, match="more digits than a double keeps"):
        wire.number("0.1234567890123456789")
    assert [wire.number(value) for value in (3, "4.0", "0.1", Decimal("1E+3"))] == [3, 4, 0.1, 1000]


@pytest.mark.parametrize(
    ("status", "code", "ai", "refuses"),
    [
        (402, "included_limit_reached", False, True),
        (403, "feature_not_in_plan", False, True),
        (422, "anything", False, True),
        (404, "no_active_subscription", False, True),
        (404, "feature_not_found", False, False),
        (404, "model_not_found", True, True),
        (400, "validation_error", True, True),
        (400, "validation_error", False, False),
        (409, "duplicate", False, False),
        (401, "unauthorized", False, False),
        (503, "service_unavailable", True, False),
    ],
)
def test_only_a_verdict_refuses_an_event(status, code, ai, refuses):
    assert wire.refuses_event(status, code, ai=ai) is refuses


def test_a_code_that_is_not_taken_is_no_fault_of_the_subscription():
    assert wire.refuses_promo_code({"code": "offer_not_applicable", "error": {"param": "promoCode"}})
    assert not wire.refuses_promo_code({"code": "offer_not_applicable", "error": {"param": "offerId"}})
    assert not wire.refuses_promo_code({"code": "already_has_active_subscription"})


def test_a_late_event_may_be_too_late():
    assert wire.refuses_event(400, "validation_error", ai=False, late=True)


def test_an_accepted_event_is_read():
    told = {
        "consumption": {"deductedDecimal": "0.0081", "costDecimal": "0.0091"},
        "costs": {
            "nonCachedInputTokens": 2_000,
            "inputCost": "0.006",
            "outputCost": "0.03",
            "cacheReadCost": "0.0021",
            "cacheWriteCost": "0.00375",
            "subtotal": "0.04185",
            "total": "0.05022",
        },
    }
    seen = wire.accepted_event(told, "2026-01-05", "chat", Decimal(3))
    assert (seen.accepted, seen.deducted, seen.cost) == (True, Decimal("0.0081"), Decimal("0.0091"))
    assert (seen.costs["cache_cost"], seen.costs["total"]) == (Decimal("0.00585"), Decimal("0.05022"))
    bare = SeenEvent(on="2026-01-05", feature="chat", value=Decimal(1), accepted=True)
    assert wire.accepted_event({}, "2026-01-05", "chat", Decimal(1)) == bare


SUBSCRIPTION = {
    "status": "active",
    "consumptionModel": "balance",
    "nextBillingDate": "2026-02-15T00:00:00.000Z",
    "trialEndsAt": None,
    "offerApplications": [
        {"name": "spent", "status": "applied", "remainingCycles": 0},
        {"name": "VIP", "status": "applied", "remainingCycles": 2},
        {"name": "quoted", "status": "quoted", "remainingCycles": 9},
    ],
    "credits": None,
    "balance": {"planDecimal": "9.9919", "topUpDecimal": "0", "overdraftDecimal": "0.000000001"},
}


def test_a_subscription_is_read():
    assert wire.state(SUBSCRIPTION, "pro") == SeenState(
        plan="pro",
        status="active",
        next_renewal="2026-02-15",
        trial_ends_on=None,
        discount_cycles=2,
        discounts=("VIP",),
        plan_credits=Decimal(0),
        purchased_credits=Decimal(0),
        plan_balance=Decimal("9.9919"),
        topup_balance=Decimal(0),
        overdraft=Decimal("0.000000001"),
    )


def test_a_pool_that_the_model_has_and_nobody_shows_is_unknown():
    seen = wire.state({**SUBSCRIPTION, "balance": None}, "pro")
    assert (seen.plan_balance, seen.overdraft, seen.plan_credits) == (None, None, 0)
    assert wire.state({**SUBSCRIPTION, "balance": {"remaining": 10}}, "pro").plan_balance is None


def test_an_invoice_is_read():
    told = {
        "issueDate": "2026-01-15T00:00:00.000Z",
        "invoiceType": "plan_change",
        "total": -1_000,
        "amountDue": 0,
        "creditedToAccount": 1_000,
        "daysRemaining": 15,
        "daysInCycle": 30,
        "final": False,
        "lineItems": [
            {
                "id": "line_1",
                "kind": "overage",
                "lineType": "feature_overage",
                "description": "API calls",
                "featureCode": "api_calls",
                "featureName": None,
                "quantityDecimal": "0.5",
                "unitPriceDecimal": "0.10",
                "amount": 5,
            }
        ],
    }
    line = SeenLine(
        type="overage",
        amount=Decimal("0.05"),
        quantity=Decimal("0.5"),
        unit_amount=Decimal("0.1"),
        words="API calls | api_calls",
    )
    assert wire.invoice(told, "2026-02-15") == SeenInvoice(
        on="2026-01-15",
        type="plan_change",
        total=Decimal(-10),
        lines=(line,),
        amount_due=Decimal(0),
        credited_to_account=Decimal(10),
        days_remaining=15,
        days_in_cycle=30,
        next_renewal="2026-02-15",
        final=False,
    )


@pytest.mark.parametrize(
    ("addon", "body"),
    [
        ({"model": "boolean"}, {}),
        ({"included": 1000, "overage_price": "0.03"}, {"includedUnits": 1000, "unitPriceDecimal": "0.03"}),
        ({"credits_per_unit": 5}, {"creditCost": 5}),
        ({"unit_price": "0.00001"}, {"unitPriceDecimal": "0.00001"}),
    ],
)
def test_what_an_addon_grants_is_spelled(addon, body):
    assert wire.addon_terms(addon) == body
