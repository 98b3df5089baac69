"""The checker of vector files: the format is closed, and each fault is told with its place."""

import copy
import json
from decimal import Decimal

import pytest

from tests.vectors.vector_file import SCENARIO, STEPS, NotAVectorFile, check, edited, read_file

WHOLE = {
    "id": "V-1",
    "kind": "scenario",
    "given": {
        "plans": {
            "starter": {
                "model": "metered",
                "prices": {"monthly": "29.00", "yearly": "290.00"},
                "features": {
                    "calls": {"type": "metered", "included": 1000, "overage_price": "0.002"},
                    "member": {"type": "seats", "included": 5, "seat_price": "25.00"},
                    "sso": {"type": "boolean"},
                },
                "trial_days": {"monthly": 14},
                "intro_offers": {"yearly": {"type": "fixed", "value": "10.00", "cycles": 2}},
            },
            "talk": {
                "model": "balance",
                "prices": {"monthly": "50.00"},
                "features": {"chat": {"type": "metered", "pricing_mode": "ai_model", "margin_percent": "20"}},
                "included_balance": "60.00",
            },
            "free": {"model": "credits", "free": True, "prices": {}, "features": {}, "included_credits": 10},
        },
        "addons": {"sms": {"base_price": "15.00", "feature": "texts", "model": "metered", "overage_price": "0.03"}},
        "promo_codes": {"VIP": {"type": "percent", "value": "20", "duration": "repeating", "cycles": 3}},
        "credit_packs": {"big": {"credits": 500, "price": "40.00", "price_cents": 4000}},
        "ai_models": {"maker/model-1.5": {"input": "2.50", "output": "10", "cache_read": "1.25"}},
        "subscription": {
            "plan": "starter",
            "interval": "monthly",
            "start": "2026-01-31",
            "seats": {"member": 7},
            "promo": "VIP",
        },
    },
    "when": {
        "steps": [
            {"on": "2026-02-01", "do": "advance"},
            {"on": "2026-02-01", "do": "track", "feature": "calls", "value": "0.5"},
            {
                "on": "2026-02-01",
                "do": "track_ai",
                "feature": "chat",
                "model": "model-1.5",
                "inputTokens": 10,
                "outputTokens": 1,
                "cacheReadTokens": 2,
                "times": 3,
            },
            {"on": "2026-02-01", "do": "set_seats", "seat": "member", "count": 9},
            {"on": "2026-02-01", "do": "edit_plan", "plan": "starter", "set": {"features.calls.included": 2000}},
            {"on": "2026-02-02", "do": "edit_plan", "plan": "starter", "set": {"features.extra": {"type": "metered"}}},
            {"on": "2026-02-02", "do": "track", "feature": "extra", "value": 1},
            {"on": "2026-02-02", "do": "change_plan", "plan": "talk", "interval": "monthly"},
            {"on": "2026-02-02", "do": "activate_addon", "addon": "sms"},
            {"on": "2026-02-03", "do": "deactivate_addon", "addon": "sms"},
            {"on": "2026-02-03", "do": "buy_pack", "pack": "big"},
            {"on": "2026-02-03", "do": "top_up", "amount": "50.00"},
            {"on": "2026-02-03", "do": "adjust", "amount": "-10.00", "reason": "an apology"},
            {"on": "2026-02-03", "do": "cancel"},
        ]
    },
    "then": {
        "invoices": [
            {
                "on": "2026-02-14",
                "type": "recurring",
                "lines": [{"type": "plan_base", "amount": "29.00", "quantity": 1, "unit_amount": "29"}],
                "total": "29.00",
                "amount_due": "29.00",
                "next_renewal": "2026-03-14",
                "final": False,
                "reason": "subscription_start",
            }
        ],
        "invoices_are": "last two only",
        "invoice_lines": [],
        "total": None,
        "no_invoice_on": ["2026-03-01"],
        "state": {"plan": "talk", "status": "active", "plan_balance": "60", "overdraft": 0},
        "log": [
            {"on": "2026-02-01", "blocked": "calls", "value": "0.5"},
            {"on": "2026-02-02", "scheduled": "free", "interval": None, "effective": "2026-03-14"},
        ],
        "accepted": [True, False],
        "deducted": ["0.01", None],
        "event_costs": ["0.01", None],
        "next_full_invoice": {"on": "2026-03-14", "total": "50.00"},
        "requires_checkout": True,
        "a_documented_figure": "12.3",
    },
    "then_if": {
        "plan_change_day_count=actual": [{"on": "2026-02-14", "type": "recurring", "total": "29.00"}],
        "upgrade_charge=full": {"invoices": [], "total": None},
    },
    "note": "all that the format has",
    "depends_on": ["AMB-1"],
}


def changed(path, value):
    """Set a dotted path in a copy of the vector; numbers are places in lists, `...` takes a member away."""
    body = copy.deepcopy(WHOLE)
    *folders, last = [int(name) if name.isdigit() else name for name in path.split("/")]
    place = body
    for name in folders:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return body


def test_all_that_the_format_has_passes():
    assert check(copy.deepcopy(WHOLE)).faults == ()
    assert {step["do"] for step in WHOLE["when"]["steps"]} == set(STEPS)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("when/steps/0/do", "jump", "V-1.when.steps[0]: 'jump' is no step"),
        ("when/steps/0/do", ..., "None is no step"),
        ("when/steps/0/by", 3, "'by' is unknown"),
        ("when/steps/1/value", ..., "'value' is missing"),
        ("when/steps/1/value", "-1", "'-1' is not an amount of 0 or more"),
        ("when/steps/1/value", "many", "'many' is not an amount"),
        ("when/steps/1/feature", "nothing", "V-1.when.steps[1]: there is no feature nothing"),
        ("when/steps/1/feature", "member", "there is no feature member"),
        ("when/steps/3/seat", "calls", "there is no seat calls"),
        ("when/steps/3/count", 1.5, "1.5 is not a whole number"),
        ("when/steps/4/set", {"features.calls.colour": "red"}, "after it, starter.features.calls: 'colour' is unknown"),
        ("when/steps/4/set", {"model.x.y": 1}, "model.x.y is not there to be set"),
        ("when/steps/4/set", {"features": 5}, "after it, starter.features: an object is expected"),
        ("when/steps/4/set", {"features.calls": 5}, "after it, starter.features.calls: an object is expected"),
        ("when/steps/4/set", {"prices.monthly": None, "model": None}, "after it, starter: 'model' is missing"),
        ("id", ..., "vectors[0]: 'id' is missing"),
        ("id", 7, "7.id: 7 is not text"),
        ("when/steps/7/plan", "gold", "there is no plan gold"),
        ("when/steps/8/addon", "mms", "there is no addon mms"),
        ("when/steps/10/pack", "small", "there is no pack small"),
        ("when/steps/11/amount", "lots", "'lots' is not an amount"),
        ("when/steps/4/on", "2026-01-31", "2026-01-31 is before 2026-02-01"),
        ("when/steps/2/on", "2026-01-30", "2026-01-30 is before 2026-01-31"),
        ("when/steps/0/on", "1 February", "is not a day"),
        ("when/wishes", [], "'wishes' is unknown"),
        ("given/customers", {}, "V-1.given: 'customers' is unknown"),
        ("given/plans/starter/colour", "red", "V-1.given.plans.starter: 'colour' is unknown"),
        ("given/plans/starter/model", "barter", "'barter' is unknown"),
        ("given/plans/starter/prices/weekly", "9.00", "'weekly' is no key"),
        ("given/plans/starter/features/calls/type", "gauge", "'gauge' is unknown"),
        ("given/plans/starter/features/calls/seat_price", "1", "'seat_price' is unknown"),
        ("given/plans/starter/features/member/overage_price", "1", "'overage_price' is unknown"),
        ("given/plans/talk/features/chat/margin_percent", ..., "go together"),
        ("given/plans/talk/features/calls", {"type": "seats"}, "the feature calls is metered and seats"),
        ("given/plans/starter/intro_offers/yearly/type", "percentage", "'percentage' is unknown"),
        ("given/addons/sms/feature", ..., "'feature' is missing"),
        ("given/addons/sms/price", "1", "'price' is unknown"),
        ("given/promo_codes/VIP/cycles", ..., "cycles go with duration repeating"),
        ("given/promo_codes/VIP/duration", "always", "'always' is unknown"),
        ("given/credit_packs/big/price_cents", 400, "price and price_cents differ"),
        ("given/ai_models/maker~1model", {"input": "1"}, "'output' is missing"),
        ("given/subscription/plan", "gold", "there is no plan gold"),
        ("given/subscription/interval", "quarterly", "has no quarterly price"),
        ("given/subscription/promo", "NONE", "there is no promo code NONE"),
        ("given/subscription/seats", {"guest": 1}, "there is no seat guest"),
        ("given/subscription/card", "4242", "'card' is unknown"),
        ("then/invoices/0/total", ..., "V-1.then.invoices[0]: 'total' is missing"),
        ("then/invoices/0/lines/0/amount", ..., "'amount' is missing"),
        ("then/invoices/0/taxes", [], "a figure is expected, not list"),
        ("then/invoices_are", "some of them", "'some of them' is not understood"),
        ("then/state/mood", "good", "V-1.then.state: 'mood' is unknown"),
        ("then/log/0/blocked", ..., "'blocked' is missing"),
        ("then/log/1/colour", "red", "'colour' is unknown"),
        ("then/accepted", ["yes"], "'yes' is neither true nor false"),
        ("then/webhooks", [{"event": "invoice.created"}], "V-1.then.webhooks: a figure is expected, not list"),
        ("then/next_full_invoice/lines", [], "'lines' is unknown"),
        ("then_if/plan_change_day_count=lunar", [], "'plan_change_day_count=lunar' is no key"),
        ("then_if/upgrade_charge=full", {"state": {"mood": 1}}, "'mood' is unknown"),
        ("kind", "guess", "'guess' is unknown"),
        ("colour", "red", "V-1: 'colour' is unknown"),
    ],
)
def test_a_fault_is_told_with_its_place(path, value, told):
    faults = check(changed(path.replace("~1", "-"), value)).faults
    assert any(told in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("given/subscription/promo", "vip"),
        ("given/subscription/seats/member", "7"),
        ("given/plans/starter/trial_days/monthly", "14.0"),
        ("given/plans/starter/intro_offers/yearly/cycles", Decimal("2.0")),
        ("given/plans/free/prices", {"monthly": "0.00"}),
        ("given/credit_packs/big/price_cents", "4000"),
        ("when/steps/2/times", "3"),
        ("then/log/0/value", None),
        ("when/steps/3/count", Decimal("9.0")),
    ],
)
def test_what_means_the_same_may_be_spelled_otherwise(path, value):
    """R-DISC-12."""
    assert check(changed(path, value)).faults == ()


def test_a_feature_that_was_taken_off_may_still_be_used():
    body = changed("when/steps/4/set", {"features.calls": None})
    body["when"]["steps"][6] = {**body["when"]["steps"][6], "feature": "calls"}
    assert check(body).faults == ()


def test_a_free_plan_has_no_interval_whatever_the_subscription_says():
    free = {"plan": "free", "start": "2026-01-31", "interval": "monthly"}
    assert check(changed("given/subscription", free)).faults == ()
    priced = changed("given/plans/free/prices", {"monthly": "1.00"})
    assert check(priced).faults == ("V-1.given.plans.free: a free plan has a price",)


def test_only_scenarios_are_looked_at():
    assert check({"id": "V-2", "kind": "fact", "given": {"whatever": 1}}).faults == ()


def test_under_a_switch_a_list_is_its_invoices_and_the_tail_stays_a_tail():
    vector = check(copy.deepcopy(WHOLE))
    assert vector.switches == ["plan_change_day_count=actual", "upgrade_charge=full"]
    under = vector.then("plan_change_day_count=actual")
    assert under == {
        "invoices_are": "last two only",
        "invoices": [{"on": "2026-02-14", "type": "recurring", "total": "29.00"}],
    }
    assert vector.then()["invoice_lines"] == []


def test_a_plan_is_edited_in_a_copy():
    plan = WHOLE["given"]["plans"]["starter"]
    after = edited(plan, {"prices.monthly": "39.00", "features.calls": None, "intro_offers.yearly.cycles": 3})
    assert after["prices"] == {"monthly": "39.00", "yearly": "290.00"}
    assert set(after["features"]) == {"member", "sso"}
    assert after["intro_offers"]["yearly"]["cycles"] == 3
    assert plan["prices"]["monthly"] == "29.00"


def test_a_file_is_read_exactly(tmp_path):
    path = tmp_path / "vectors.json"
    path.write_text(json.dumps({"vectors": [WHOLE, WHOLE]}).replace('"0.002"', "0.1234567890123456789"))
    file = read_file(path)
    assert file.faults == ("V-1: the id stands twice",)
    calls = file.vectors[0].body["given"]["plans"]["starter"]["features"]["calls"]
    assert calls["overage_price"] == Decimal("0.1234567890123456789")
    assert file.policy == {
        "plan_change_day_count": "30/360",
        "partial_period_day_count": "actual",
        "upgrade_charge": "prorated",
    }


@pytest.mark.parametrize(
    ("whole", "fault"),
    [
        ({"policy_defaults": {"upgrade_charge": "half"}}, "policy_defaults: upgrade_charge=half is unknown"),
        ({"policy_defaults": {"refunds": "yes"}}, "policy_defaults: refunds=yes is unknown"),
        ({"policy_defaults": {"upgrade_charge": ["full"]}}, "policy_defaults: upgrade_charge=['full'] is unknown"),
        ({"policy_defaults": ["full"]}, "policy_defaults: an object is expected"),
        ({"currency": "EUR"}, "currency: 'EUR' is unknown; known: USD"),
    ],
)
def test_what_holds_for_a_whole_file_is_checked(tmp_path, whole, fault):
    path = tmp_path / "vectors.json"
    path.write_text(json.dumps({"vectors": [], **whole}))
    assert read_file(path).faults == (fault,)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"vectors": {}}'])
def test_what_is_no_file_of_vectors_is_refused(tmp_path, text):
    path = tmp_path / "vectors.json"
    path.write_text(text)
    with pytest.raises(NotAVectorFile, match=r"vectors\.json: "):
        read_file(path)


def test_the_reference_keeps_the_format(shared):
    if shared is None:
        pytest.skip("there is no reference folder")
    file = read_file(shared / "reference" / "vectors.json")
    assert [fault for vector in file.vectors for fault in vector.faults] == []
    assert sum(vector.kind == SCENARIO for vector in file.vectors) > 0
