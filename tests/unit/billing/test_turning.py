"""What the calendar does to a subscription, step by step."""

import msgspec
import pytest

from billing.life.lifecycle import Command, decide, due_of
from billing.life.subscription import Pause, PauseMode
from billing.life.turning import replaced, turn
from catalog.terms import SubscriptionStatus
from kernel.errors import Refusal
from kernel.period import DAY_US, Interval, boundary, date_of
from tests.unit.billing.make import ANCHOR, day, period, subscription

NOW_US = day("2026-02-10") * DAY_US
END_US = day("2026-02-28") * DAY_US


def quarter(**changes):
    """A quarterly subscription in its first quarter, 31 January to 30 April."""
    values = {"billing_interval": Interval.QUARTERLY, "period_end_day": day("2026-04-30")}
    return subscription(**{**values, **changes})


def next_quarter(**changes):
    values = {"since_day": day("2026-04-30"), "until_day": day("2026-07-31"), "interval": Interval.QUARTERLY}
    return period(0, **{**values, **changes})


def test_boundaries_are_counted_from_a_month_end_anchor():
    """R-INT-2, R-INV-11."""
    current, ends = subscription(), []
    for index in range(1, 5):
        step = turn(current, period(index))
        assert (step.bill.start_day, step.bill.through_day) == (current.closed_day, current.period_end_day)
        assert (step.bill.kind, step.bill.base_term, step.announce) == ("recurring", 1, True)
        current = step.after
        ends.append(current.period_end_day)
    assert ends == [day("2026-03-31"), day("2026-04-30"), day("2026-05-31"), day("2026-06-30")]


def test_a_quarter_closes_its_months_one_by_one_and_renews_at_its_end():
    """R-INT-1, R-INT-4, R-INT-5."""
    current, bills = quarter(), []
    for _ in range(3):
        step = turn(current, next_quarter())
        bills.append((date_of(step.bill.through_day).isoformat(), step.bill.kind, step.bill.base_term))
        current = step.after
    assert bills == [("2026-02-28", "overage", None), ("2026-03-31", "overage", None), ("2026-04-30", "recurring", 1)]
    assert (current.period_end_day, current.next_day) == (day("2026-07-31"), day("2026-05-31"))


def test_a_year_has_eleven_windows_that_end_within_it():
    """R-INT-4, R-INT-6."""
    end = day("2027-01-31")
    current = subscription(billing_interval=Interval.YEARLY, period_end_day=end)
    kinds = []
    while current.next_day <= end:
        step = turn(current, period(12, interval=Interval.YEARLY, until_day=day("2028-01-31")))
        kinds.append(step.bill.kind)
        current = step.after
    assert kinds == ["overage"] * 11 + ["recurring"]


def test_after_a_cancel_the_months_of_a_quarter_are_still_closed():
    """R-SUB-8, R-SUB-7."""
    asked = {"cancel_requested_ms": 1, "end_us": day("2026-04-30") * DAY_US}
    current, bills = quarter(**asked), []
    while not current.over:
        step = turn(current, None)
        bills.append((step.bill.kind, step.bill.base_term, step.bill.final))
        current = step.after
    assert bills == [("overage", None, False), ("overage", None, False), ("recurring", None, True)]
    assert current.status is SubscriptionStatus.CANCELED


def test_a_cancel_between_a_boundary_and_its_close_ends_with_the_period_that_has_begun():
    """R-SUB-6."""
    decided = decide(subscription(), Command.CANCEL, END_US + 1)
    assert decided.end_us == day("2026-03-31") * DAY_US
    step = turn(subscription(end_us=decided.end_us, cancel_requested_ms=1), period(1))
    assert (step.bill.final, step.after.period_end_day, step.announce) == (False, day("2026-03-31"), False)
    assert step.after.ending


def test_the_last_turn_bills_all_windows_and_ends():
    """R-SUB-7."""
    step = turn(subscription(end_us=END_US, cancel_requested_ms=1), period(1))
    assert (step.bill.final, step.announce, step.after.status) == (True, False, SubscriptionStatus.CANCELED)
    assert (step.bill.through_day, step.bill.end_us) == (day("2026-02-28"), END_US)
    now = subscription(status=SubscriptionStatus.CANCELED, end_us=NOW_US, final_due=True)
    step = turn(now, period(1))
    assert (step.bill.final, step.bill.end_us, step.after.final_due) == (True, NOW_US, False)
    assert step.bill.through_day == day("2026-02-28")


def test_a_subscription_canceled_in_its_first_instant_still_bills_its_window():
    start_us = ANCHOR * DAY_US
    step = turn(subscription(status=SubscriptionStatus.CANCELED, end_us=start_us, final_due=True), None)
    assert step.bill.through_day == day("2026-02-28")


def test_one_canceled_after_an_open_boundary_is_closed_there_first():
    """R-INV-11."""
    after = END_US + DAY_US
    late = subscription(status=SubscriptionStatus.CANCELED, end_us=after, final_due=True)
    first = turn(late, period(1))
    assert (first.bill.final, first.bill.through_day, first.after.final_due) == (False, day("2026-02-28"), True)
    second = turn(first.after, None)
    assert (second.bill.final, second.bill.start_day, second.bill.end_us) == (True, day("2026-02-28"), after)
    assert second.bill.through_day == day("2026-03-31")


def test_an_end_date_expires_it_in_the_middle_of_a_period():
    """R-SUB-5."""
    dated = subscription(expires_us=NOW_US, end_us=NOW_US)
    assert due_of(dated).at_us == NOW_US
    step = turn(dated, period(1))
    assert (step.after.status, step.bill.final, step.bill.base_term) == (SubscriptionStatus.EXPIRED, True, None)


def test_a_trial_becomes_paid_terms_of_a_new_number_anchored_at_its_end():
    """R-TRIAL-5, R-TRIAL-8, R-DISC-4: whether they were paid its charge tells, which comes after the turn."""
    over = ANCHOR + 14
    trial = subscription(
        status=SubscriptionStatus.TRIALING,
        was_paid=False,
        trial_days=14,
        trial_end_day=over,
        period_end_day=over,
        next_day=over,
    )
    paid = period(0, term=2, since_day=over, until_day=day("2026-03-14"), anchor_day=over)
    assert due_of(trial).command is Command.CONVERT
    step = turn(trial, paid)
    after = step.after
    assert (after.status, after.term, after.anchor_day, after.was_paid) == (SubscriptionStatus.ACTIVE, 2, over, False)
    assert (after.period_start_day, after.period_end_day) == (over, day("2026-03-14"))
    assert (step.bill.kind, step.bill.base_term, step.bill.through_day) == ("recurring", 2, over)


@pytest.mark.parametrize("asked", [{"cancel_requested_ms": 1, "end_us": (ANCHOR + 14) * DAY_US}, {"started": False}])
def test_a_trial_that_does_not_become_paid_bills_nothing(asked):
    """R-TRIAL-4, R-TRIAL-8, R-SUB-5."""
    over = ANCHOR + 14
    trial = subscription(
        status=SubscriptionStatus.TRIALING, trial_end_day=over, period_end_day=over, next_day=over, **asked
    )
    step = turn(trial, None)
    lapsed = not asked.get("started", True)
    assert step.bill is None
    assert step.after.status is (SubscriptionStatus.PENDING_PAYMENT if lapsed else SubscriptionStatus.CANCELED)


def test_a_pause_at_the_periods_end_bills_what_was_used_and_no_period():
    """R-SUB-13."""
    pause = Pause(mode=PauseMode.PERIOD_END, requested_ms=0, effective_us=END_US, days=None)
    step = turn(subscription(pause=pause), period(1))
    assert step.after.status is SubscriptionStatus.PAUSED
    assert (step.bill.base_term, step.bill.final, step.bill.through_day) == (None, False, day("2026-02-28"))
    assert due_of(step.after) is None


def test_a_pause_that_was_to_begin_while_it_is_past_due_is_dropped():
    """R-DUN-7, R-SUB-5."""
    pause = Pause(mode=PauseMode.PERIOD_END, requested_ms=0, effective_us=END_US, days=None)
    late = subscription(status=SubscriptionStatus.PAST_DUE, pause=pause)
    assert due_of(late).command is Command.RENEW
    step = turn(late, period(1))
    assert (step.after.status, step.after.pause, step.announce) == (SubscriptionStatus.PAST_DUE, None, True)
    assert step.bill.base_term == 1
    coming = msgspec.structs.replace(pause, effective_us=day("2026-03-31") * DAY_US)
    assert turn(replaced(late, pause=coming), period(1)).after.pause == coming


def test_an_end_within_a_pause_ends_it_where_it_began():
    """R-SUB-5, R-SUB-13: nothing is billed, no period is begun only to end."""
    pause = Pause(mode=PauseMode.PERIOD_END, requested_ms=0, effective_us=END_US, days=60)
    paused = subscription(status=SubscriptionStatus.PAUSED, pause=pause, closed_day=day("2026-02-28"))
    assert due_of(paused).command is Command.RESUME
    for end_us in (END_US, END_US + DAY_US):
        ending = replaced(paused, end_us=end_us)
        assert (due_of(ending).at_us, due_of(ending).command) == (end_us, Command.END)
        assert isinstance(decide(ending, Command.RESUME, end_us), Refusal)
        assert not isinstance(decide(ending, Command.RESUME, end_us - 1), Refusal)
        step = turn(ending, None)
        assert (step.bill, step.after.status, step.after.end_us) == (None, SubscriptionStatus.CANCELED, END_US)
    assert due_of(replaced(paused, end_us=END_US + 90 * DAY_US)).command is Command.RESUME
    now = replaced(paused, pause=msgspec.structs.replace(pause, mode=PauseMode.IMMEDIATE), end_us=END_US)
    assert due_of(now).command is Command.RESUME  # the end moves with the rest that is kept


def test_a_downgrade_to_a_free_plan_leaves_closing_overage_and_no_boundary():
    """R-CHG-7, R-FREE-1."""
    free = period(1, until_day=None, interval=None, base_minor=0, plan_id="pln_0", price_id=None)
    step = turn(subscription(), free)
    assert (step.bill.base_term, step.after.free, step.after.period_end_day) == (None, True, None)
    assert due_of(step.after) is None


def test_the_value_does_not_change_under_a_turn():
    before = subscription()
    kept = msgspec.structs.astuple(before)
    turn(before, period(1))
    assert msgspec.structs.astuple(before) == kept


@pytest.mark.parametrize("interval", list(Interval))
@pytest.mark.parametrize("anchor", [day("2026-01-01"), day("2026-01-31"), day("2024-02-29"), day("2026-08-30")])
def test_closed_windows_tile_time(anchor, interval):
    """R-INT-1, R-INT-2."""
    current = subscription(
        anchor_day=anchor,
        billing_interval=interval,
        period_start_day=anchor,
        period_end_day=boundary(anchor, 1, interval),
        next_day=boundary(anchor, 1, Interval.MONTHLY),
        closed_day=anchor,
    )
    reached = anchor
    for index in range(1, 30):
        end = current.period_end_day
        following = period(
            0,
            anchor_day=anchor,
            interval=interval,
            since_day=end,
            until_day=boundary(anchor, end_index(anchor, end, interval) + 1, interval),
        )
        step = turn(current, following)
        assert step.bill.start_day == reached
        assert step.bill.through_day == boundary(anchor, index, Interval.MONTHLY)
        reached, current = step.bill.through_day, step.after


def end_index(anchor, end, interval):
    return next(index for index in range(1, 40) if boundary(anchor, index, interval) == end)
