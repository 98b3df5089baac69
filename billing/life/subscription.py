"""A subscription as its row has it. Pure.

Owns the value: what it is for, where its billing period and usage window end, what is scheduled. What may happen to it
is the table in `lifecycle`; what it grants and costs are its frozen terms. Invariant: canceled and expired are final
(R-SUB-4, R-SUB-9).
"""

from enum import StrEnum
from typing import Final

import msgspec

from catalog.terms import SubscriptionStatus
from kernel import period
from kernel.period import DAY_US, Interval, Period

ENDED: Final = frozenset({SubscriptionStatus.CANCELED, SubscriptionStatus.EXPIRED})
# A trial that is longer than this resets its limits every so many days (R-TRIAL-7); a shorter one lies in one window.
TRIAL_WINDOW_DAYS: Final = 30


class ChangeKind(StrEnum):
    """What waits for the renewal (R-SUB-14); the first two are the wire's words."""

    DOWNGRADE = "plan_downgrade"
    INTERVAL = "interval_change"
    MIGRATION = "migration"


class ScheduledChange(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A change of plan or interval at the renewal; `interval` None is a free plan."""

    kind: ChangeKind
    plan_id: str
    plan_name: str
    interval: Interval | None
    requested_ms: int


class PauseMode(StrEnum):
    """From when on a pause counts."""

    IMMEDIATE = "immediate"
    PERIOD_END = "period_end"


class Pause(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pause that is scheduled or in force; `days` None lasts until someone resumes it."""

    mode: PauseMode
    requested_ms: int
    effective_us: int
    days: int | None

    @property
    def resume_us(self) -> int | None:
        """Tell when it ends by itself."""
        return None if self.days is None else self.effective_us + self.days * DAY_US


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One customer's contract for a plan, as its row has it.

    Days count from 1970-01-01. `started` says that its terms have begun: not of a draft, not before the first payment,
    not of a trial before its card. `was_paid`: it was active on a paid plan, which a trial that ends is once its charge
    did not fail (R-DISC-4). `next_day` ends the usage window that is open, `period_end_day` the billing period (both
    None on a free plan; a trial's is its end); windows are closed through `closed_day`. `end_us` is when access ends,
    once that is known; `expires_us` an end date that was set. `final_due` says that its final cut waits for another one
    to be settled.
    """

    id: str
    organization_id: str
    customer_id: str
    plan_id: str
    plan_name: str
    price_id: str | None
    name: str
    status: SubscriptionStatus
    started: bool
    was_paid: bool
    free: bool
    billing_interval: Interval | None
    currency: str
    term: int
    anchor_day: int
    start_us: int
    period_start_day: int
    period_end_day: int | None
    next_day: int | None
    closed_day: int
    trial_days: int
    trial_end_day: int | None
    end_us: int | None
    expires_us: int | None
    final_due: bool
    cancel_reason: str | None
    cancel_requested_ms: int | None
    scheduled: ScheduledChange | None
    pause: Pause | None
    checkout_token: str | None
    success_url: str | None
    promo_code: str | None
    created_ms: int
    updated_ms: int

    @property
    def over(self) -> bool:
        """Tell whether it is canceled or expired."""
        return self.status in ENDED

    @property
    def live(self) -> bool:
        """Tell whether it is the one that a customer may have (R-CUST-7): begun and not over."""
        return self.started and not self.over

    @property
    def ending(self) -> bool:
        """Tell whether a cancellation is scheduled that has not come."""
        return self.end_us is not None and self.cancel_requested_ms is not None and not self.over

    @property
    def renews(self) -> bool:
        """Tell whether another billing period is to follow the one that holds now."""
        return (
            self.live and not self.free and (self.end_us is None or self.end_us > (self.period_end_day or 0) * DAY_US)
        )

    @property
    def pausing(self) -> bool:
        """Tell whether it is paused, or is to be at the period's end: while it is past due it renews (R-SUB-5)."""
        return self.pause is not None and self.status is not SubscriptionStatus.PAST_DUE

    def period_of(self, day: int) -> Period:
        """Tell the billing period that holds `day`; of a trial the trial itself.

        One that a pause cut in two need not be a whole interval: its row alone knows it.
        """
        if self.status is SubscriptionStatus.TRIALING:
            assert self.trial_end_day is not None, "a trial has an end"
            return Period(self.period_start_day, self.trial_end_day)
        if self.period_end_day is not None and self.period_start_day <= day < self.period_end_day:
            return Period(self.period_start_day, self.period_end_day)
        assert self.billing_interval is not None, "a free plan has no billing period"
        return period.period_of(self.anchor_day, day, self.billing_interval)

    def window_of(self, day: int) -> Period:
        """Tell the usage window that holds `day`: one month from the anchor, for every interval (R-INT-1)."""
        return period.period_of(self.anchor_day, day, Interval.MONTHLY)
