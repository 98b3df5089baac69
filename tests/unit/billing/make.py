"""Values for billing's tests: one subscription from 31 January 2026 on, and its periods."""

import msgspec

from billing.life.frozen import FrozenFeature, PeriodTerms
from billing.life.subscription import Subscription
from billing.life.turning import Bill
from billing.money.closing import Close
from billing.money.invoice import RECURRING, InvoiceDraft, InvoiceType, Line, LineKind, amount_line
from catalog.terms import SubscriptionStatus
from kernel import ids
from kernel.money import Money
from kernel.period import DAY_US, Interval, boundary, parse_instant_us

FEATURE = ids.id_text(ids.FEATURE, b"f" * 16)


def day(text: str) -> int:
    return parse_instant_us(text) // DAY_US


ANCHOR = day("2026-01-31")


def subscription(**changes) -> Subscription:
    free = changes.get("free", False)
    values = {
        "id": ids.id_text(ids.SUBSCRIPTION, b"s" * 16),
        "organization_id": ids.id_text(ids.ORGANIZATION, b"o" * 16),
        "customer_id": ids.id_text(ids.CUSTOMER, b"c" * 16),
        "plan_id": "pln_1",
        "plan_name": "Pro",
        "price_id": None if free else "pp_1",
        "name": "Pro",
        "status": SubscriptionStatus.ACTIVE,
        "started": True,
        "was_paid": not free,
        "free": free,
        "billing_interval": None if free else Interval.MONTHLY,
        "currency": "usd",
        "term": 1,
        "anchor_day": ANCHOR,
        "start_us": ANCHOR * DAY_US,
        "period_start_day": ANCHOR,
        "period_end_day": None if free else day("2026-02-28"),
        "next_day": None if free else day("2026-02-28"),
        "closed_day": ANCHOR,
        "trial_days": 0,
        "trial_end_day": None,
        "end_us": None,
        "expires_us": None,
        "final_due": False,
        "cancel_reason": None,
        "cancel_requested_ms": None,
        "scheduled": None,
        "pause": None,
        "checkout_token": None,
        "success_url": None,
        "promo_code": None,
        "created_ms": 0,
        "updated_ms": 0,
    }
    return Subscription(**{**values, **changes})


def granted(**changes) -> FrozenFeature:
    values = {
        "feature": FEATURE,
        "code": "calls",
        "name": "Calls",
        "kind": "metered",
        "enabled": True,
        "included": "10",
        "overage": True,
        "unit_price": "0.015",
    }
    return FrozenFeature(**{**values, **changes})


def period(index: int, *features: FrozenFeature, **changes) -> PeriodTerms:
    """The terms of the month number `index` from the anchor."""
    values = {
        "term": 1,
        "since_day": boundary(ANCHOR, index, Interval.MONTHLY),
        "until_day": boundary(ANCHOR, index + 1, Interval.MONTHLY),
        "start_us": ANCHOR * DAY_US,
        "anchor_day": ANCHOR,
        "currency": "usd",
        "interval": Interval.MONTHLY,
        "plan_id": "pln_1",
        "plan_code": "pro",
        "plan_name": "Pro",
        "price_id": "pp_1",
        "base_minor": 4900,
        "features": features or (granted(),),
    }
    return PeriodTerms(**{**values, **changes})


def close(index: int, *, cut: int, final: bool = False, **changes) -> Close:
    """The close of the month number `index`: a renewal, or the final one."""
    through = boundary(ANCHOR, index + 1, Interval.MONTHLY)
    bill = Bill(
        kind=RECURRING,
        start_day=boundary(ANCHOR, index, Interval.MONTHLY),
        through_day=through,
        end_us=through * DAY_US,
        base_term=None if final else 1,
        final=final,
    )
    return Close(subscription=subscription(**changes), cut=cut, bill=bill)


def line(minor: int, kind: LineKind = LineKind.PLAN_BASE, **changes) -> Line:
    made = amount_line(kind, kind.value, Money(minor, "usd"), term=1, cut=1)
    return msgspec.structs.replace(made, **changes)


def draft(*lines: Line, **changes) -> InvoiceDraft:
    values = {
        "organization_id": ids.id_text(ids.ORGANIZATION, b"o" * 16),
        "customer_id": ids.id_text(ids.CUSTOMER, b"c" * 16),
        "subscription_id": ids.id_text(ids.SUBSCRIPTION, b"s" * 16),
        "cut": 1,
        "kind": InvoiceType.RECURRING,
        "currency": "usd",
        "plan_name": "Pro",
        "period_start_ms": 0,
        "period_end_ms": 1,
        "issued_ms": 0,
        "due_ms": 0,
        "lines": lines,
        "source": "close:cls_1",
    }
    return InvoiceDraft(**{**values, **changes})
