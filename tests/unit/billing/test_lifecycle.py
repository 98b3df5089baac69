"""The table of states: every (state, command) pair, legal and illegal, and what each leads to."""

import msgspec
import pytest

from billing.life.lifecycle import TRANSITIONS, Command, Decision, Due, Effect, as_of, decide, due_of, is_behind
from billing.life.subscription import ChangeKind, Pause, PauseMode, ScheduledChange
from catalog.terms import SubscriptionStatus as Status
from kernel.errors import Refusal
from kernel.period import DAY_US, Interval
from tests.unit.billing.make import ANCHOR, day, subscription

NOW_US = day("2026-02-10") * DAY_US
END_US = day("2026-02-28") * DAY_US
TRIAL_END = ANCHOR + 14
IN_TRIAL = {
    "trial_days": 14,
    "trial_end_day": TRIAL_END,
    "period_end_day": TRIAL_END,
    "next_day": TRIAL_END,
    "was_paid": False,
}
WAITING = {"started": False, "was_paid": False, "period_end_day": None, "next_day": None}
NOW = Pause(mode=PauseMode.IMMEDIATE, requested_ms=0, effective_us=NOW_US, days=None)
LATER = Pause(mode=PauseMode.PERIOD_END, requested_ms=0, effective_us=END_US, days=30)
IN_STATE = {
    Status.DRAFT: subscription(status=Status.DRAFT, **WAITING),
    Status.PENDING_PAYMENT: subscription(status=Status.PENDING_PAYMENT, **WAITING),
    Status.TRIALING: subscription(status=Status.TRIALING, **IN_TRIAL),
    Status.ACTIVE: subscription(),
    Status.PAUSED: subscription(status=Status.PAUSED, pause=NOW),
    Status.PAST_DUE: subscription(status=Status.PAST_DUE),
    Status.CANCELED: subscription(status=Status.CANCELED, end_us=NOW_US),
    Status.EXPIRED: subscription(status=Status.EXPIRED, end_us=NOW_US),
}
# R-SUB-5, row by row, without the row for new ones: those begin as a draft does. A draft is canceled when it is
# superseded (R-SUB-3); every state is left when the customer is deleted (R-CUST-9).
DOCUMENTED = {
    (Status.DRAFT, Status.PENDING_PAYMENT),
    (Status.DRAFT, Status.TRIALING),
    (Status.DRAFT, Status.ACTIVE),
    (Status.DRAFT, Status.CANCELED),
    (Status.PENDING_PAYMENT, Status.ACTIVE),
    (Status.PENDING_PAYMENT, Status.CANCELED),
    (Status.TRIALING, Status.ACTIVE),
    (Status.TRIALING, Status.PAST_DUE),
    (Status.TRIALING, Status.CANCELED),
    (Status.TRIALING, Status.PENDING_PAYMENT),
    (Status.ACTIVE, Status.ACTIVE),
    (Status.ACTIVE, Status.PAST_DUE),
    (Status.ACTIVE, Status.PAUSED),
    (Status.ACTIVE, Status.CANCELED),
    (Status.ACTIVE, Status.EXPIRED),
    (Status.PAST_DUE, Status.ACTIVE),
    (Status.PAST_DUE, Status.CANCELED),
    (Status.PAUSED, Status.ACTIVE),
    (Status.PAUSED, Status.CANCELED),
}


# What changes something else than the state. Everything that is neither here nor above is illegal.
STAYS = {
    Status.PENDING_PAYMENT: {Command.RENEW_CHECKOUT},
    Status.TRIALING: {
        Command.RENEW_CHECKOUT,
        Command.CAPTURE,
        Command.CHANGE,
        Command.SET_END,
        Command.CANCEL,
        Command.UNCANCEL,
    },
    Status.ACTIVE: {
        Command.WINDOW,
        Command.RENEW,
        Command.CHANGE,
        Command.SET_END,
        Command.CANCEL,
        Command.UNCANCEL,
        Command.SCHEDULE_PAUSE,
        Command.REVOKE_PAUSE,
        Command.EXTEND_PAUSE,
    },
    Status.PAST_DUE: {Command.WINDOW, Command.RENEW},
    Status.PAUSED: {Command.EXTEND_PAUSE},
}


def test_the_table_has_the_documented_transitions_and_no_other():
    """R-SUB-4, R-SUB-5."""
    stays = {(state, state) for state in Status}
    found = {
        state: {command for one, command in TRANSITIONS if TRANSITIONS[one, command] is state is one}
        for state in Status
    }
    assert {state: commands for state, commands in found.items() if commands} == STAYS
    assert {(state, after) for (state, _), after in TRANSITIONS.items()} - stays == DOCUMENTED - stays
    assert set(Status) == set(IN_STATE)
    assert not {state for state, _ in TRANSITIONS} & {Status.CANCELED, Status.EXPIRED}


@pytest.mark.parametrize("command", list(Command))
@pytest.mark.parametrize("state", list(Status))
def test_what_the_table_does_not_have_is_refused(state, command):
    """R-SUB-5, R-SUB-9."""
    one = IN_STATE[state]
    kept = msgspec.structs.astuple(one)
    decided = decide(one, command, NOW_US)
    if (state, command) not in TRANSITIONS:
        assert isinstance(decided, Refusal)
        known = {"invalid_subscription_status", "subscription_already_canceled", "not_scheduled_for_cancellation"}
        assert decided.code in known
    assert msgspec.structs.astuple(one) == kept


# What a pair needs beyond its state, where the plain subscription of the state does not have it.
NEEDS = {
    (Status.TRIALING, Command.CAPTURE): {"started": False},
    (Status.TRIALING, Command.LAPSE): {"started": False},
    (Status.TRIALING, Command.RENEW_CHECKOUT): {"started": False},
    (Status.TRIALING, Command.SUPERSEDE): {"started": False},
    (Status.TRIALING, Command.UNCANCEL): {"end_us": TRIAL_END * DAY_US, "cancel_requested_ms": 1},
    (Status.ACTIVE, Command.UNCANCEL): {"end_us": END_US, "cancel_requested_ms": 1},
    (Status.ACTIVE, Command.REVOKE_PAUSE): {"pause": LATER},
    (Status.ACTIVE, Command.EXTEND_PAUSE): {"pause": LATER},
}


@pytest.mark.parametrize(("state", "command"), sorted(TRANSITIONS))
def test_what_the_table_has_leads_where_it_says(state, command):
    """R-SUB-4, R-SUB-5."""
    one = msgspec.structs.replace(IN_STATE[state], **NEEDS.get((state, command), {}))
    decided = decide(one, command, NOW_US)
    assert isinstance(decided, Decision)
    assert decided.status is TRANSITIONS[state, command]


@pytest.mark.parametrize(("state", "command"), sorted(NEEDS))
def test_what_a_pair_needs_is_needed(state, command):
    """R-SUB-3, R-SUB-5: a trial's card, a cancellation to take back, a pause to revoke."""
    assert isinstance(decide(IN_STATE[state], command, NOW_US), Refusal)


@pytest.mark.parametrize(
    ("state", "end_us", "effects"),
    [
        (Status.ACTIVE, END_US, {Effect.SHOW}),
        (Status.TRIALING, TRIAL_END * DAY_US, {Effect.SHOW}),
        (Status.PAST_DUE, NOW_US, {Effect.SHOW, Effect.CUT, Effect.FINAL}),
        (Status.PAUSED, NOW_US, {Effect.SHOW, Effect.CUT, Effect.FINAL}),
        (Status.PENDING_PAYMENT, NOW_US, set()),
    ],
)
def test_when_a_cancel_ends_it_and_what_is_billed(state, end_us, effects):
    """R-SUB-6, R-SUB-7, AMB-37."""
    decided = decide(IN_STATE[state], Command.CANCEL, NOW_US)
    assert (decided.end_us, set(decided.effects)) == (end_us, effects)


def test_a_cancel_now_bills_what_was_used_but_never_a_trial():
    """R-SUB-6, R-TRIAL-8."""
    billed = decide(IN_STATE[Status.ACTIVE], Command.CANCEL_NOW, NOW_US)
    assert (billed.end_us, set(billed.effects)) == (NOW_US, {Effect.SHOW, Effect.CUT, Effect.FINAL})
    assert set(decide(IN_STATE[Status.TRIALING], Command.CANCEL_NOW, NOW_US).effects) == {Effect.SHOW}


def test_what_ends_without_an_invoice():
    """R-CUST-9, R-DUN-3, R-FREE-1."""
    assert set(decide(IN_STATE[Status.ACTIVE], Command.DELETE, NOW_US).effects) == {Effect.SHOW}
    assert set(decide(IN_STATE[Status.PAST_DUE], Command.GIVE_UP, NOW_US).effects) == {Effect.SHOW}
    free = decide(subscription(free=True), Command.CANCEL, NOW_US)
    assert (free.status, free.end_us, set(free.effects)) == (Status.CANCELED, NOW_US, {Effect.SHOW})


def test_a_second_cancel_changes_nothing():
    """R-SUB-6."""
    ending = subscription(end_us=END_US, cancel_requested_ms=1)
    again = decide(ending, Command.CANCEL, NOW_US)
    assert (again.end_us, set(again.effects)) == (END_US, set())


def test_an_end_date_before_the_period_ends_stays_the_end():
    """R-SUB-6: a cancel never moves an end back; taking it back leaves the date."""
    dated = subscription(end_us=NOW_US + DAY_US, expires_us=NOW_US + DAY_US)
    canceled = decide(dated, Command.CANCEL, NOW_US)
    assert canceled.end_us == NOW_US + DAY_US
    ending = msgspec.structs.replace(dated, cancel_requested_ms=1)
    assert decide(ending, Command.UNCANCEL, NOW_US).end_us == dated.expires_us


CHANGE = ScheduledChange(
    kind=ChangeKind.DOWNGRADE, plan_id="pln_0", plan_name="Free", interval=Interval.MONTHLY, requested_ms=0
)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"free": True}, "invalid_subscription_status"),
        ({"scheduled": CHANGE}, "already_scheduled"),
        ({"end_us": END_US, "cancel_requested_ms": 1}, "already_scheduled"),
        ({"pause": LATER}, "already_scheduled"),
    ],
)
def test_only_a_paid_one_with_nothing_scheduled_may_be_paused(changes, code):
    """R-SUB-13, R-SUB-14."""
    assert decide(subscription(**changes), Command.SCHEDULE_PAUSE, NOW_US).code == code


def test_a_scheduled_pause_is_revoked_before_a_cancel():
    """R-SUB-14; contract row 38."""
    assert decide(subscription(pause=LATER), Command.CANCEL, NOW_US).code == "invalid_subscription_status"


@pytest.mark.parametrize(
    ("changes", "at_us", "command"),
    [
        ({}, END_US, Command.RENEW),
        ({"next_day": day("2026-02-20")}, day("2026-02-20") * DAY_US, Command.WINDOW),
        ({"pause": LATER}, END_US, Command.PAUSE),
        ({"end_us": END_US, "cancel_requested_ms": 1}, END_US, Command.END),
        ({"end_us": NOW_US}, NOW_US, Command.EXPIRE),
        ({"status": Status.PAST_DUE}, END_US, Command.RENEW),
        ({"status": Status.PAUSED, "pause": LATER}, END_US + 30 * DAY_US, Command.RESUME),
        ({"status": Status.TRIALING, **IN_TRIAL}, TRIAL_END * DAY_US, Command.CONVERT),
        ({"status": Status.TRIALING, **IN_TRIAL, "started": False}, TRIAL_END * DAY_US, Command.LAPSE),
        ({"status": Status.CANCELED, "end_us": NOW_US, "final_due": True}, 0, Command.END),
    ],
)
def test_what_the_calendar_has_next(changes, at_us, command):
    """R-SUB-5, R-INT-4, R-DUN-7."""
    due = due_of(subscription(**changes))
    assert (due.at_us, due.command) == (at_us, command)


@pytest.mark.parametrize("one", [subscription(free=True), IN_STATE[Status.PAUSED], IN_STATE[Status.CANCELED]])
def test_what_the_calendar_leaves_alone(one):
    """R-FREE-1, R-SUB-13, R-SUB-9."""
    assert due_of(one) is None


@pytest.mark.parametrize(
    ("changes", "command", "words"),
    [
        ({"pause": LATER}, Command.CANCEL, "has a pause scheduled: take that back first, or cancel it at once."),
        ({}, Command.REVOKE_PAUSE, "has no pause."),
        ({}, Command.EXTEND_PAUSE, "has no pause."),
        ({"free": True}, Command.SCHEDULE_PAUSE, "is on a free plan, which is not paused."),
        ({}, Command.RESUME, "is active, which does not allow this."),
        (
            {"status": Status.CANCELED, "end_us": NOW_US},
            Command.REVOKE_PAUSE,
            "is canceled, which does not allow this.",
        ),
    ],
)
def test_a_refusal_says_what_stands_in_the_way(changes, command, words):
    one = subscription(**changes)
    refused = decide(one, command, NOW_US)
    assert isinstance(refused, Refusal)
    assert (refused.code, refused.message) == ("invalid_subscription_status", f"Subscription {one.id} {words}")


@pytest.mark.parametrize("status", sorted(Status))
def test_a_row_is_behind_from_the_instant_of_its_next_step_while_it_is_live(status: Status) -> None:
    """R-GEN-5: the instant of a period's end belongs to the next; what has not begun or is over is never behind."""
    ending = msgspec.structs.replace(IN_STATE[status], pause=LATER if status is Status.PAUSED else None)
    due = due_of(ending)
    assert (due is not None) is ending.live
    at_us = END_US if due is None else due.at_us
    assert [is_behind(ending, one) for one in (at_us - 1, at_us, at_us + DAY_US)] == [False, ending.live, ending.live]
    assert not is_behind(msgspec.structs.replace(IN_STATE[Status.CANCELED], final_due=True), END_US)
    assert as_of(ending, at_us - 1) == ending
    assert as_of(ending, at_us) == (None if ending.live else ending)


def test_what_has_ended_and_is_not_closed_is_found_over() -> None:
    """R-SUB-5, R-SUB-9: so that it allows no command, and its final close still waits for what comes late."""
    for state in (Status.TRIALING, Status.ACTIVE, Status.PAST_DUE):
        canceled = msgspec.structs.replace(IN_STATE[state], end_us=NOW_US, cancel_requested_ms=1)
        assert as_of(canceled, NOW_US - 1) in (canceled, None)
        found = as_of(canceled, NOW_US)
        assert found == msgspec.structs.replace(canceled, status=Status.CANCELED)
        assert all(isinstance(decide(found, command, NOW_US), Refusal) for command in Command)
    behind = msgspec.structs.replace(IN_STATE[Status.ACTIVE], next_day=day("2026-01-31"), end_us=NOW_US)
    assert due_of(behind) == Due(at_us=day("2026-01-31") * DAY_US, command=Command.WINDOW)
    assert (as_of(behind, NOW_US - 1), as_of(behind, NOW_US)) == (
        None,
        msgspec.structs.replace(behind, status=Status.EXPIRED),
    )
    dated = msgspec.structs.replace(IN_STATE[Status.ACTIVE], end_us=NOW_US, expires_us=NOW_US)
    assert as_of(dated, NOW_US) == msgspec.structs.replace(dated, status=Status.EXPIRED)
