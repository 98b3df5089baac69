"""Feature access, row by row of R-ACC-8, and its shapes in eras A, C and D."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from aggregator.access import FeatureAccess, all_access, feature_access
from aggregator.access_answer import access_wire, can_use_wire, usage_check_wire
from aggregator.account import Account, WindowTotal
from catalog.definition import Feature, FeatureKind
from catalog.terms import FeatureTerms, Snapshot, SubscriptionStatus, Terms
from kernel.period import DAY_MS, parse_instant_us
from kernel.quantity import UNITS_PER_ONE, to_units
from kernel.wire import Dialect

NOW_MS = parse_instant_us("2026-02-10T12:00:00") // 1_000
START_US = parse_instant_us("2026-01-31T10:00:00")
CALLS = Feature(
    id=b"f" * 16,
    organization=b"o" * 16,
    code="calls",
    event_code="calls",
    name="Calls",
    kind=FeatureKind.METERED,
    unit_name="call",
)
SSO = replace(CALLS, id=b"s" * 16, code="sso", event_code="sso", name="SSO", kind=FeatureKind.BOOLEAN, unit_name=None)


def day(text: str) -> int:
    return parse_instant_us(text) // (DAY_MS * 1_000)


def granted(**change: Any) -> FeatureTerms:
    base = FeatureTerms(feature=CALLS.id, code="calls", kind="metered", included=10 * UNITS_PER_ONE)
    return replace(base, **change)


def under(*features: FeatureTerms, **change: Any) -> Snapshot:
    first = day("2026-01-31")
    terms = Terms(
        number=2,
        subscription="sub_1",
        plan="pln_1",
        start_us=START_US,
        anchor=first,
        since=first,
        free=False,
        features=features,
    )
    base = Snapshot(
        organization=b"o" * 16,
        customer=b"c" * 16,
        rev=1,
        status=SubscriptionStatus.ACTIVE,
        end_us=None,
        terms=terms,
        next=None,
        cut=0,
    )
    return replace(base, **change)


def used(amount: str) -> Account:
    total = WindowTotal(end=day("2026-02-28"), now=to_units(amount), at_cut=0)
    return Account(rev=1, totals={(CALLS.id, 2, day("2026-01-31")): total})


def state(terms: FeatureTerms, amount: str = "0") -> FeatureAccess:
    return feature_access(CALLS, under(terms), used(amount), NOW_MS)


PRICED = {"overage": True, "unit_price": "0.01"}
ROWS = [
    # terms, used; check, canUse, willBeCharged; current, included, remaining, overage, unlimited
    ({"included": None}, "7", (True, True, False), ("7", None, None, "0", True)),
    (PRICED, "9", (True, True, False), ("9", "10", "1", "0", False)),
    (PRICED, "9.5", (True, True, True), ("9.5", "10", "0.5", "0", False)),
    (PRICED, "10", (True, True, True), ("10", "10", "0", "0", False)),
    (PRICED, "12.5", (True, True, True), ("12.5", "10", "0", "2.5", False)),
    ({**PRICED, "unit_price": "0"}, "12", (True, True, False), ("12", "10", "0", "2", False)),
    ({}, "9", (True, True, False), ("9", "10", "1", "0", False)),
    ({}, "9.000000001", (True, False, False), ("9.000000001", "10", "0.999999999", "0", False)),
    ({}, "10", (False, False, False), ("10", "10", "0", "0", False)),
    ({"included": 0}, "0", (False, False, False), ("0", "0", "0", "0", False)),
]


@pytest.mark.parametrize(("terms", "amount", "answers", "numbers"), ROWS)
def test_the_table_of_metered_features(terms: dict, amount: str, answers: tuple, numbers: tuple) -> None:
    access = state(granted(**terms), amount)
    may = can_use_wire(access)
    assert (access.allowed, may["allowed"], may["willBeCharged"]) == answers
    current, included, remaining, overage, unlimited = (
        Decimal(number) if isinstance(number, str) else number for number in numbers
    )
    assert (access.current, access.included, access.remaining) == (current, included, remaining)
    assert (access.overage, access.unlimited) == (overage, unlimited)
    assert ("reason" in may) is not may["allowed"]
    assert access.reason == (None if access.allowed else "included_limit_reached")


DENIED = [
    ("no snapshot", None, "no_subscription", "none"),
    ("no subscription", {"status": None, "terms": None}, "no_subscription", "none"),
    ("canceled", {"status": SubscriptionStatus.CANCELED}, "subscription_inactive", "canceled"),
    ("ended", {"end_us": NOW_MS * 1_000}, "subscription_inactive", "active"),
]


@pytest.mark.parametrize(("change", "reason", "status"), [row[1:] for row in DENIED], ids=[row[0] for row in DENIED])
def test_without_a_live_subscription_nothing_is_allowed_and_numbers_are_0(
    change: dict | None, reason: str, status: str
) -> None:
    """R-ACC-2."""
    snapshot = None if change is None else under(granted(included=None), **change)
    access = feature_access(CALLS, snapshot, used("3"), NOW_MS)
    assert (access.allowed, access.reason, access.status) == (False, reason, status)
    assert can_use_wire(access) == {"allowed": False, "willBeCharged": False, "reason": reason}
    assert (access.current, access.included, access.remaining, access.overage) == (0, 0, 0, 0)
    assert all_access({CALLS.id: CALLS}.get, snapshot, None, NOW_MS) == []


def test_one_that_ends_later_is_live_until_then() -> None:
    assert feature_access(CALLS, under(granted(), end_us=NOW_MS * 1_000 + 1), None, NOW_MS).allowed


@pytest.mark.parametrize("terms", [(), (granted(enabled=False),)])
def test_a_feature_outside_the_plan_is_a_value_not_an_error(terms: tuple[FeatureTerms, ...]) -> None:
    """R-ACC-3."""
    access = feature_access(CALLS, under(*terms), None, NOW_MS)
    assert (access.allowed, access.reason, access.current) == (False, "feature_not_in_plan", 0)


def test_usage_reads_0_once_the_window_has_rolled() -> None:
    account = used("10")
    at = day("2026-02-28") * DAY_MS
    assert feature_access(CALLS, under(granted()), account, at - 1).current == 10
    rolled = feature_access(CALLS, under(granted()), account, at)
    assert (rolled.current, rolled.allowed, rolled.window) == (0, True, (day("2026-02-28"), day("2026-03-31")))


def test_announced_terms_rule_in_their_window() -> None:
    following = replace(under(granted(included=5 * UNITS_PER_ONE)).terms, since=day("2026-02-28"))
    snapshot = under(granted(), next=following)
    assert feature_access(CALLS, snapshot, None, NOW_MS).included == 10
    assert feature_access(CALLS, snapshot, None, day("2026-02-28") * DAY_MS).included == 5


def test_all_features_come_by_code_and_only_those_of_the_plan() -> None:
    switch = FeatureTerms(feature=SSO.id, code="sso", kind="boolean")
    gone = FeatureTerms(feature=b"g" * 16, code="gone", kind="boolean")
    states = all_access({CALLS.id: CALLS, SSO.id: SSO}.get, under(switch, gone, granted()), None, NOW_MS)
    assert [state.feature.code for state in states] == ["calls", "sso"]


@pytest.mark.parametrize(
    ("brought", "listed"),
    [({"addon": "add_1"}, True), ({"addon": "add_1", "enabled": False}, False), ({"enabled": False}, True)],
    ids=["an add-on's", "one's that was switched off", "a plan's that is off"],
)
def test_of_an_add_on_only_an_active_one_is_listed(brought: dict[str, Any], listed: bool) -> None:
    """R-ACC-6, R-ADDON-5."""
    switch = FeatureTerms(feature=SSO.id, code="sso", kind="boolean", **brought)
    states = all_access({CALLS.id: CALLS, SSO.id: SSO}.get, under(switch, granted()), None, NOW_MS)
    assert [state.feature.code for state in states] == (["calls", "sso"] if listed else ["calls"])


def boolean(*, enabled: bool) -> FeatureAccess:
    terms = FeatureTerms(feature=SSO.id, code="sso", kind="boolean", enabled=enabled)
    return feature_access(SSO, under(terms), None, NOW_MS)


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("enabled", [True, False])
def test_a_boolean_feature_has_no_numbers(dialect: Dialect, enabled: bool) -> None:
    told = access_wire(boolean(enabled=enabled), dialect, "usd")
    assert (told["type"], told["allowed"], told["enabled"]) == ("boolean", enabled, enabled)
    assert not {"current", "consumption", "included"} & told.keys()
    assert can_use_wire(boolean(enabled=enabled))["allowed"] is enabled
    assert can_use_wire(boolean(enabled=enabled))["willBeCharged"] is False


def test_era_a() -> None:
    told = access_wire(state(granted(**PRICED), "12.5"), Dialect.A, "usd")
    assert told == {
        "code": "calls",
        "name": "Calls",
        "type": "metered",
        "allowed": True,
        "access": True,
        "current": Decimal("12.5"),
        "included": 10,
        "remaining": 0,
        "overage": Decimal("2.5"),
        "unlimited": False,
        "overageEnabled": True,
        "overageUnitPrice": 100,
        "unitPriceDecimal": "0.01",
    }


def test_era_c() -> None:
    told = access_wire(state(granted(), "10"), Dialect.C, "usd")
    assert (told["type"], told["overageQuantity"], told["reason"]) == ("usage", 0, "included_limit_reached")
    assert not {"overage", "overageUnitPrice"} & told.keys()


def test_era_d() -> None:
    told = access_wire(state(granted(overage=True, unit_price="0.0000025"), "12.5"), Dialect.D, "usd")
    assert told == {
        "code": "calls",
        "name": "Calls",
        "unitName": "call",
        "allowed": True,
        "type": "usage",
        "consumption": {
            "model": "metered",
            "period": {"start": "2026-01-31T00:00:00.000Z", "end": "2026-02-28T00:00:00.000Z"},
            "unitsUsed": Decimal("12.5"),
            "includedUnits": 10,
            "remainingUnits": 0,
            "unlimited": False,
            "overage": {
                "enabled": True,
                "units": Decimal("2.5"),
                "unitPrice": {"amount": 0, "currency": "usd", "scale": 10_000},
                "unitPriceDecimal": "0.0000025",
            },
        },
    }


def test_era_d_has_no_remaining_units_when_unlimited_and_no_period_without_a_subscription() -> None:
    told = access_wire(state(granted(included=None), "3"), Dialect.D, "usd")["consumption"]
    assert (told["unlimited"], told["includedUnits"], "remainingUnits" in told) == (True, 0, False)
    nobody = access_wire(feature_access(CALLS, None, None, NOW_MS), Dialect.D, "usd")
    assert (nobody["allowed"], nobody["reason"]) == (False, "no_subscription")
    assert "period" not in nobody["consumption"]


@pytest.mark.parametrize(
    ("terms", "amount", "quantity", "allowed", "charged"),
    [
        ({}, "8", "2", True, False),
        ({}, "8", "2.000000001", False, False),
        ({}, "10", "0", True, False),
        (PRICED, "8", "2", True, False),
        (PRICED, "8", "3", True, True),
        ({"included": None}, "8", "1000000", True, False),
    ],
)
def test_a_dry_run_says_what_the_fold_would(
    terms: dict, amount: str, quantity: str, allowed: bool, charged: bool
) -> None:
    told = usage_check_wire(state(granted(**terms), amount), Decimal(quantity), to_units(quantity), "usd")
    assert (told["allowed"], told["willBeCharged"], told["subscriptionStatus"]) == (allowed, charged, "active")
    assert told.get("reason") == (None if allowed else "included_limit_reached")
    assert ("message" in told) is not allowed
