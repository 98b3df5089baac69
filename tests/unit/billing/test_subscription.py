import msgspec
import pytest

from billing.subscription import TRANSITIONS, Command, Decision, Effect, State, decide, turn
from catalog.terms import SubscriptionStatus
from kernel.errors import Refusal
from kernel.period import DAY_US
from tests.unit.billing.make import ANCHOR, day, subscription

NOW_US = day("2026-02-10") * DAY_US
END_US = day("2026-02-28") * DAY_US

IN_STATE = {
    State.ACTIVE: subscription(),
    State.ENDING: subscription(end_us=END_US),
    State.CANCELED: subscription(status=SubscriptionStatus.CANCELED, end_us=NOW_US),
}
RENEWAL = {Effect.SHOW, Effect.CUT, Effect.FREEZE}
FINAL = {Effect.SHOW, Effect.CUT, Effect.FINAL}
# Every cell: the new state with the end and the effects, or the refusal's code.
CELLS = {
    (State.ACTIVE, Command.RENEW): (State.ACTIVE, None, RENEWAL),
    (State.ACTIVE, Command.END): "invalid_subscription_status",
    (State.ACTIVE, Command.CANCEL_AT_END): (State.ENDING, END_US, {Effect.SHOW}),
    (State.ACTIVE, Command.CANCEL_NOW): (State.CANCELED, NOW_US, FINAL),
    (State.ENDING, Command.RENEW): (State.ENDING, END_US, {Effect.SHOW, Effect.CUT}),
    (State.ENDING, Command.END): (State.CANCELED, END_US, FINAL),
    (State.ENDING, Command.CANCEL_AT_END): (State.ENDING, END_US, set()),
    (State.ENDING, Command.CANCEL_NOW): (State.CANCELED, NOW_US, FINAL),
    (State.CANCELED, Command.RENEW): "subscription_already_canceled",
    (State.CANCELED, Command.END): "subscription_already_canceled",
    (State.CANCELED, Command.CANCEL_AT_END): "subscription_already_canceled",
    (State.CANCELED, Command.CANCEL_NOW): "subscription_already_canceled",
}


def test_the_table_has_every_cell():
    assert set(CELLS) == {(state, command) for state in State for command in Command}
    assert set(TRANSITIONS) == {cell for cell, wanted in CELLS.items() if not isinstance(wanted, str)}


@pytest.mark.parametrize(("state", "command"), sorted(CELLS))
def test_every_command_in_every_state(state, command):
    assert IN_STATE[state].state is state
    decided = decide(IN_STATE[state], command, NOW_US)
    wanted = CELLS[state, command]
    if isinstance(wanted, str):
        assert isinstance(decided, Refusal)
        assert decided.code == wanted
    else:
        assert isinstance(decided, Decision)
        assert (decided.state, decided.end_us, set(decided.effects)) == wanted


def test_a_free_plan_ends_at_once_and_takes_no_cut():
    decided = decide(subscription(free=True), Command.CANCEL_AT_END, NOW_US)
    assert (decided.state, decided.end_us, set(decided.effects)) == (State.CANCELED, NOW_US, {Effect.SHOW})


def test_a_cancel_between_a_boundary_and_its_close_ends_with_the_period_that_has_begun():
    decided = decide(subscription(), Command.CANCEL_AT_END, END_US + 1)
    assert decided.end_us == day("2026-03-31") * DAY_US
    step = turn(subscription(end_us=decided.end_us))
    assert (step.final, step.after.period_end_day, step.freeze) == (False, day("2026-03-31"), None)
    assert step.after.state is State.ENDING


def test_boundaries_are_counted_from_a_month_end_anchor():
    current, ends = subscription(), []
    for _ in range(4):
        step = turn(current)
        assert (step.start_day, step.through_day) == (current.period_start_day, current.period_end_day)
        assert step.freeze.start == step.after.period_end_day
        current = step.after
        ends.append(current.period_end_day)
    assert ends == [day("2026-03-31"), day("2026-04-30"), day("2026-05-31"), day("2026-06-30")]


def test_the_last_turn_bills_all_windows_and_ends():
    step = turn(subscription(end_us=END_US))
    assert (step.final, step.freeze, step.after.status) == (True, None, SubscriptionStatus.CANCELED)
    assert (step.through_day, step.end_us) == (day("2026-02-28"), END_US)
    now = subscription(status=SubscriptionStatus.CANCELED, end_us=NOW_US, final_due=True)
    step = turn(now)
    assert (step.final, step.through_day, step.end_us, step.after.final_due) == (True, day("2026-02-28"), NOW_US, False)


def test_a_subscription_canceled_in_its_first_instant_still_bills_its_window():
    start_us = ANCHOR * DAY_US
    step = turn(subscription(status=SubscriptionStatus.CANCELED, end_us=start_us, final_due=True))
    assert step.through_day == day("2026-02-28")


def test_one_canceled_after_an_open_boundary_is_closed_there_first():
    after = END_US + DAY_US
    late = subscription(status=SubscriptionStatus.CANCELED, end_us=after, final_due=True)
    first = turn(late)
    assert (first.final, first.through_day, first.after.final_due) == (False, day("2026-02-28"), True)
    second = turn(first.after)
    assert (second.final, second.start_day, second.end_us) == (True, day("2026-02-28"), after)
    assert second.through_day == day("2026-03-31")


def test_the_value_does_not_change_under_a_turn():
    before = subscription()
    kept = msgspec.structs.astuple(before)
    turn(before)
    assert msgspec.structs.astuple(before) == kept
