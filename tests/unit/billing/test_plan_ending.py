"""What a plan's end schedules for its subscribers, and for those who were to come to it."""

import pytest

from billing.life.lifecycle import due_of
from billing.life.plan_ending import CANCEL, ended_with, still_comes
from billing.life.subscription import ChangeKind, Pause, PauseMode, ScheduledChange
from billing.life.turning import turn
from catalog.definition import Plan, PlanPrice
from catalog.terms import SubscriptionStatus
from kernel.period import DAY_MS, DAY_US, Interval
from tests.unit.billing.make import ANCHOR, day, period, subscription

DELETED_MS = day("2026-02-10") * DAY_MS
END_US = day("2026-02-28") * DAY_US
PRICE = PlanPrice(id="pp_2", plan="pln_2", interval=Interval.MONTHLY, amount_minor=900, currency="usd", is_default=True)


def sold(**changes):
    values = {"id": "pln_2", "organization": b"o" * 16, "code": "new", "name": "New", "prices": (PRICE,)}
    return Plan(**{**values, **changes})


def deleted(ending, **changes):
    values = {"id": "pln_1", "code": "old", "name": "Old", "prices": (), "deprecated": True, "updated_ms": DELETED_MS}
    return sold(**{**values, "ending": ending, **changes})


def change(plan_id, requested_ms, kind=ChangeKind.DOWNGRADE):
    return ScheduledChange(
        kind=kind, plan_id=plan_id, plan_name="x", interval=Interval.MONTHLY, requested_ms=requested_ms
    )


def ended(ending, **changes):
    target = None if ending == CANCEL else sold()
    return ended_with(subscription(**changes), deleted(ending), target, DELETED_MS + 1)


@pytest.mark.parametrize("end_us", [None, day("2027-12-31") * DAY_US])
def test_who_is_canceled_ends_with_the_period_whatever_end_date_was_set(end_us):
    """R-PLAN-9."""
    after = ended(CANCEL, end_us=end_us, expires_us=end_us, scheduled=change("pln_3", DELETED_MS))
    assert (after.end_us, after.ending, after.scheduled, after.expires_us) == (END_US, True, None, end_us)
    assert ended_with(after, deleted(CANCEL), None, DELETED_MS + 2) == after


def test_who_is_paused_at_a_periods_end_is_canceled_where_the_pause_began():
    """R-PLAN-9, R-SUB-13: a resume would renew on a plan that is gone."""
    pause = Pause(mode=PauseMode.PERIOD_END, requested_ms=1, effective_us=END_US - 28 * DAY_US, days=None)
    paused = {"status": SubscriptionStatus.PAUSED, "pause": pause}
    assert ended(CANCEL, **paused).end_us == pause.effective_us
    assert ended("pln_2", **paused) == subscription(**paused)


def test_who_moves_does_so_at_the_renewal_also_with_a_later_end_date():
    """R-PLAN-9, R-SUB-14: an older change gives way."""
    after = ended("pln_2", end_us=END_US + 1, expires_us=END_US + 1, scheduled=change("pln_3", DELETED_MS))
    moved = (after.scheduled.kind, after.scheduled.plan_id, after.scheduled.interval, after.end_us)
    assert moved == (ChangeKind.MIGRATION, "pln_2", Interval.MONTHLY, END_US + 1)
    assert ended_with(after, deleted("pln_2"), sold(), DELETED_MS + 2) == after


@pytest.mark.parametrize("ending", [CANCEL, "pln_2"])
@pytest.mark.parametrize(
    "changes",
    [
        {"end_us": END_US, "cancel_requested_ms": 1},
        {"end_us": END_US - 1, "expires_us": END_US - 1},
        {"scheduled": change("pln_3", DELETED_MS + 1)},
        {"plan_id": "pln_3"},
        {"status": SubscriptionStatus.CANCELED, "end_us": 1},
        {"period_end_day": DELETED_MS // DAY_MS},
        {
            "status": SubscriptionStatus.PAUSED,
            "pause": Pause(mode=PauseMode.IMMEDIATE, requested_ms=1, effective_us=1, days=None),
        },
    ],
    ids=["canceled", "expires", "newer change", "other plan", "over", "period was over", "paused"],
)
def test_nothing_is_scheduled_for_who_leaves_anyway_or_has_no_period(ending, changes):
    """R-PLAN-9, R-SUB-14."""
    assert ended(ending, **changes) == subscription(**changes)


def test_a_trial_that_moves_is_first_charged_as_agreed():
    """R-PLAN-9, R-TRIAL-5: its first renewal is the first paid period's end; a canceled one ends with the trial."""
    trial = {"status": SubscriptionStatus.TRIALING, "trial_end_day": day("2026-02-28"), "trial_days": 28}
    waiting = ended("pln_2", **trial)
    step = turn(waiting, period(1))
    assert (step.after.status, step.after.scheduled) == (SubscriptionStatus.ACTIVE, waiting.scheduled)
    assert turn(step.after, period(2)).after.scheduled is None
    assert due_of(ended(CANCEL, **trial)).at_us == END_US


def test_a_plan_without_a_price_any_more_takes_nobody():
    before = subscription()
    assert ended_with(before, deleted("pln_2"), sold(prices=()), DELETED_MS + 1) == before
    assert ended_with(before, deleted("pln_2"), None, DELETED_MS + 1) == before


@pytest.mark.parametrize(
    ("kind", "comes"), [(ChangeKind.DOWNGRADE, False), (ChangeKind.INTERVAL, True), (ChangeKind.MIGRATION, True)]
)
def test_a_downgrade_does_not_come_to_a_plan_that_is_not_sold(kind, comes):
    """R-PLAN-8, AMB-46."""
    coming = change("pln_2", ANCHOR * DAY_MS, kind)
    assert still_comes(coming, sold())
    assert still_comes(coming, sold(deprecated=True)) is comes
