"""What is kept of a refused request, and of which requests nothing is."""

import pytest

from catalog.definition import Organization
from ingest.gateway.refusal_desk import RefusalDesk, bare, named_in
from ingest.refusal import RefusalQuota
from kernel.clock import ManualClock
from kernel.errors import Refusal
from kernel.limits import REFUSALS_PER_SECOND_MAX
from kernel.telemetry import Telemetry

NOW_MS = 1_767_225_600_000
SELLER = Organization(id=b"o" * 16, name="Seller", environment="sandbox", currency="usd", clock_ms=NOW_MS + 5)


class KnownKey:
    """The catalog's part that tells whose a key is."""

    clock = ManualClock(NOW_MS)

    def principal(self, key):
        return None


@pytest.fixture
def kept():
    return []


@pytest.fixture
def desk(kept):
    return RefusalDesk(KnownKey(), kept.append, RefusalQuota(), Telemetry())


def test_a_refusal_is_kept_without_its_body(desk, kept):
    """R-ERR-2."""
    refusal = Refusal(code="invalid_subscription_status", message="No.", param="status")
    desk.keep(refusal, "req_1", "POST /api/v1/subscriptions/sub_1/pause", organization=SELLER, customer="acme")
    [one] = kept
    assert (one.request, one.route, one.code, one.param) == (
        "req_1",
        "POST /subscriptions/sub_1/pause",
        refusal.code,
        "status",
    )
    assert (one.rule, one.customer, one.body, one.at_ms, one.now_ms) == ("R-SUB-13", "acme", "", NOW_MS, NOW_MS + 5)


@pytest.mark.parametrize("code", ["unauthorized", "rate_limited", "service_unavailable", "internal_error"])
def test_what_is_to_be_sent_again_or_has_no_owner_is_not_kept(desk, kept, code):
    desk.keep(Refusal(code=code, message=""), "req_1", "GET /plans", organization=SELLER)
    desk.keep(Refusal(code="not_found", message=""), "req_1", "GET /plans", key="ck_wrong")
    assert kept == []


def test_beyond_the_quota_refusals_are_counted(desk, kept):
    for _ in range(REFUSALS_PER_SECOND_MAX + 3):
        desk.keep(Refusal(code="not_found", message=""), "req_1", "GET /plans", organization=SELLER)
    assert len(kept) == REFUSALS_PER_SECOND_MAX
    assert b"meterline_refusals_dropped_total 3.0" in desk._telemetry.render()


@pytest.mark.parametrize(
    ("route", "told"),
    [
        ("GET /api/plans", "GET /plans"),
        ("GET /api/v1/plans/p", "GET /plans/p"),
        ("GET /elsewhere", "GET /elsewhere"),
        ("POST /api/v1/checkout/secret", "POST /checkout/…"),
    ],
)
def test_a_route_is_told_without_prefix_and_secret(route, told):
    assert bare(route) == told


@pytest.mark.parametrize(
    ("route", "query", "customer"),
    [
        ("GET /customers/acme/credits", {}, "acme"),
        ("GET /customers", {}, ""),
        ("GET /invoices", {"customerId": "acme"}, "acme"),
        ("GET /invoices/inv_1", {}, ""),
    ],
)
def test_the_customer_is_named_by_path_or_query(route, query, customer):
    assert named_in(route, query) == customer
