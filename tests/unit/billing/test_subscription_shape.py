from decimal import Decimal

import pytest

from billing.money.closing import Window, WindowUsage
from billing.sale.discount import Discount, DiscountSource
from billing.wire import subscription as shape
from catalog.definition import DiscountType
from catalog.terms import SubscriptionStatus
from kernel.period import DAY_MS, DAY_US
from kernel.wire import Dialect
from tests.unit.billing.make import ANCHOR, FEATURE, day, granted, period, subscription

NOON_MS = DAY_MS // 2
CODE = {
    "source": DiscountSource.CODE,
    "name": "VIP",
    "type": DiscountType.PERCENT,
    "value": Decimal(15),
    "cycles_left": 3,
}


def members(now_ms, **changes):
    free = {"until_day": None, "interval": None, "price_id": None} if changes.get("free") else {}
    return shape.subscription_members(subscription(**changes), period(0, **free), now_ms)


@pytest.mark.parametrize(
    ("now", "start", "end", "left"),
    [
        (day("2026-01-31") * DAY_MS, "2026-01-31", "2026-02-28", 28),
        (day("2026-02-27") * DAY_MS + NOON_MS, "2026-01-31", "2026-02-28", 1),
        (day("2026-02-28") * DAY_MS, "2026-02-28", "2026-03-31", 31),  # also while its close is under way
    ],
)
def test_the_current_period_holds_now(now, start, end, left):
    shown = members(now)
    assert shown["currentPeriod"]["start"][:10] == shown["currentPeriodStart"][:10] == start
    assert shown["currentPeriod"]["end"][:10] == shown["nextBillingDate"][:10] == end
    assert shown["currentPeriod"]["daysRemaining"] == left


def test_a_cancellation_is_shown_before_and_after_its_end():
    asked = {"end_us": day("2026-02-28") * DAY_US, "cancel_requested_ms": ANCHOR * DAY_MS, "cancel_reason": "dear"}
    ending = members(ANCHOR * DAY_MS, **asked)
    assert (ending["status"], ending["cancelAtPeriodEnd"], ending["nextBillingDate"]) == ("active", True, None)
    assert ending["cancellation"]["reason"] == "dear"
    ended = members(ANCHOR * DAY_MS, status=SubscriptionStatus.CANCELED, **asked)
    assert (ended["status"], ended["cancelAtPeriodEnd"]) == ("canceled", False)
    assert ended["endDate"][:10] == "2026-02-28"


def test_a_free_plan_shows_its_usage_window_and_no_billing():
    shown = members(day("2026-03-01") * DAY_MS, free=True)
    assert (shown["billingInterval"], shown["nextBillingDate"], shown["priceId"]) == (None, None, None)
    assert shown["currentPeriod"]["start"][:10] == "2026-02-28"


def offered(*, trial=False, started=True, **changes):
    terms = period(0, discount=Discount(**CODE), trial=trial)
    return shape.subscription_members(subscription(started=started, **changes), terms, ANCHOR * DAY_MS)


def test_a_running_discount_is_an_offer_application():
    """R-DISC-13: two periods are left beside the one that runs."""
    [told] = offered()["offerApplications"]
    assert (told["name"], told["source"], told["status"], told["remainingCycles"]) == (
        "VIP",
        "promo_code",
        "applied",
        2,
    )
    assert (told["subtotal"], told["discountAmount"], told["total"]) == (4900, 735, 4165)
    [phase] = told["phases"]
    assert (phase["type"], phase["percentage"], phase["durationCycles"]) == ("percentage", 1500, 3)
    assert (phase["startsAt"][:10], phase["endsAt"][:10]) == ("2026-01-31", "2026-04-30")


@pytest.mark.parametrize(
    ("terms", "status", "left"), [({"started": False}, "quoted", 3), ({"trial": True}, "applied", 3)]
)
def test_an_offer_that_has_charged_nothing_yet_has_all_its_periods(terms, status, left):
    """R-TRIAL-10, R-DISC-12: a code is applied when its checkout is completed."""
    [told] = offered(**terms)["offerApplications"]
    assert (told["status"], told["remainingCycles"]) == (status, left)


def test_without_a_discount_nothing_is_offered():
    assert members(ANCHOR * DAY_MS)["offerApplications"] == []
    assert offered(status=SubscriptionStatus.CANCELED)["offerApplications"] == []


@pytest.mark.parametrize(("dialect", "word"), [(Dialect.A, "metered"), (Dialect.C, "usage"), (Dialect.D, "usage")])
def test_features_show_their_usage_where_live_tells_it(dialect, word):
    terms = period(0, granted(), granted(feature="ftr_b", code="sso", kind="boolean"))
    used = {Window(FEATURE, 1, ANCHOR): WindowUsage(end=0, units=12_500_000_000)}
    metered, boolean = shape.feature_members(dialect, subscription(), terms, used, ANCHOR * DAY_MS)
    assert (metered["type"], boolean["type"], "usage" in boolean) == (word, "boolean", False)
    assert str(metered["usage"]["current"]) == "12.5"
    assert str(metered["usage"]["overageQuantity"]) == "2.5"
    assert metered["usage"]["overageUnitPrice"] == 150
    silent, _ = shape.feature_members(dialect, subscription(), terms, None, ANCHOR * DAY_MS)
    assert "usage" not in silent


@pytest.mark.parametrize("sold", [True, False])
def test_seats_that_are_held_show_beside_what_is_included(sold):
    """Contract 4.2: a seats feature of a subscription has its usage; R-ACC-8: also beyond it where none is sold."""
    seats = granted(feature="ftr_s", code="editor", kind="seats", included="5", unit_price="25", overage=sold)
    [shown] = shape.feature_members(Dialect.D, subscription(), period(0, seats), {}, ANCHOR * DAY_MS, {"ftr_s": 7})
    numbers = [str(shown["usage"][name]) for name in ("current", "included", "overage", "overageQuantity")]
    assert (shown["type"], numbers) == ("seats", ["7", "5", "2", "2"])
    assert shown["usage"]["overageUnitPrice"] == (250_000 if sold else None)
    [silent] = shape.feature_members(Dialect.D, subscription(), period(0, seats), {}, ANCHOR * DAY_MS)
    assert "usage" not in silent


def test_a_cancellation_has_the_short_members_of_era_c():
    """Contract 4.3 and 4.5: one object has what every era's cancel and uncancel answer."""
    asked = {"end_us": day("2026-02-28") * DAY_US, "cancel_requested_ms": ANCHOR * DAY_MS, "cancel_reason": "dear"}
    ending = members(ANCHOR * DAY_MS, **asked)
    assert (ending["canceledAt"][:10], ending["cancelReason"]) == ("2026-01-31", "dear")
    assert ending["scheduledCancellationDate"][:10] == "2026-02-28"
    ended = members(ANCHOR * DAY_MS, status=SubscriptionStatus.CANCELED, **asked)
    assert (ended["canceledAt"][:10], ended["scheduledCancellationDate"]) == ("2026-01-31", None)
    running = members(ANCHOR * DAY_MS)
    names = ("canceledAt", "cancelReason", "scheduledCancellationDate")
    assert [running[name] for name in names] == [None, None, None]
