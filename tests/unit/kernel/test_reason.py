"""Every error code that the code base raises rests on a rule, and every rule that it names exists."""

import ast
import re
from pathlib import Path

import pytest

from aggregator import access, measure, pool_measure
from kernel import wire
from kernel.errors import Refusal, invalid, rejected
from kernel.reason import ACCESS_RULES, RULES, rule_of
from tests import rules

ROOT = Path(__file__).parents[3]
PACKAGES = ("kernel", "catalog", "ingest", "aggregator", "billing", "meterline")
RAISING = {"rejected": 0, "Refusal": None, "Outcome": None}
RULE = re.compile(r"R-[A-Z]+-\d+")


def trees():
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def codes_of(tree):
    """Yield the literal codes that a module raises: `rejected("…")`, `Refusal(code="…")`, `Outcome(code="…")`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
        if name not in RAISING:
            continue
        given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        if RAISING[name] is not None:
            given += node.args[:1]
        yield from (value.value for value in given if isinstance(value, ast.Constant))


def test_every_code_that_is_raised_rests_on_a_rule():
    """R-ERR-2: a new code needs a status and a rule."""
    raised = {code for _, tree in trees() for code in codes_of(tree)} - {""}
    assert len(raised) > 50
    assert sorted(raised - set(RULES)) == []
    assert set(RULES) == set(wire.STATUS)


def test_every_word_of_access_rests_on_a_rule():
    """R-ACC-11."""
    words = {measure.LIMIT_REACHED, measure.NO_SEATS, pool_measure.CREDITS_EXHAUSTED, pool_measure.BALANCE_EXHAUSTED}
    assert set(ACCESS_RULES) == words | {access.NOT_SUBSCRIBED, access.INACTIVE, access.NOT_IN_PLAN}


def test_every_rule_that_the_code_answers_exists(shared):
    if shared is None:
        pytest.skip("there is no reference folder")
    known = rules.read_rules((shared / rules.RULES).read_text(encoding="utf-8"))
    named = {
        (str(path.relative_to(ROOT)), node.value)
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and RULE.fullmatch(node.value)
    }
    assert len(named) > 100
    assert sorted((path, rule) for path, rule in named if rule not in known) == []


@pytest.mark.parametrize(
    ("refusal", "path", "rule"),
    [
        (Refusal(code="insufficient_credits", message=""), "/usage/events", "R-CREDIT-5"),
        (Refusal(code="duplicate", message=""), "/usage/events/batch", "R-TRACK-13"),
        (Refusal(code="duplicate", message=""), "/plans", "R-PLAN-11"),
        (Refusal(code="duplicate", message=""), "/elsewhere", "R-ERR-2"),
        (Refusal(code="charge_failed", message=""), "/subscriptions/sub_1/addons", "R-ADDON-15"),
        (Refusal(code="charge_failed", message=""), "/subscriptions/sub_1/credits", "R-DUN-5"),
        (Refusal(code="invalid_subscription_status", message=""), "/subscriptions/sub_1/pause", "R-SUB-13"),
        (invalid("value", "must not be negative").refusal, "/usage/events", "R-TRACK-3"),
        (invalid("limit", "is too much").refusal, "/invoices", "R-PAGE-2"),
        (invalid("name", "is required").refusal, "/plans", "R-ERR-3"),
        (rejected("validation_error", "", rule="R-TOPUP-5").refusal, "/subscriptions/s/balance/topup", "R-TOPUP-5"),
        (rejected("offer_not_applicable", "", rule="R-DISC-9").refusal, "/subscriptions", "R-DISC-9"),
    ],
)
def test_the_exact_rule_is_told_by_the_refusal_the_field_or_the_path(refusal, path, rule):
    assert rule_of(refusal, path) == rule
