"""A subscription under any order of commands: its row stays sound, and what is refused changes nothing."""

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from billing.life.beginning import activated, after_trial, next_frame, on_trial
from billing.life.frozen import framed
from billing.life.lifecycle import TRANSITIONS, Command, decide, due_of
from billing.life.subscription import ENDED
from billing.life.turning import turn
from catalog.terms import SubscriptionStatus as Status
from kernel.errors import Refusal
from kernel.period import DAY_MS, DAY_US, Interval, Period
from tests.unit.billing.make import ANCHOR, period, subscription

# What the calendar does by itself, or what needs more than a new state.
_ASKED = sorted(
    set(Command)
    - {Command.WINDOW, Command.RENEW, Command.CONVERT, Command.LAPSE, Command.END, Command.EXPIRE, Command.RESUME}
    - {Command.PAUSE, Command.SCHEDULE_PAUSE, Command.EXTEND_PAUSE, Command.REVOKE_PAUSE}
)


class Life(RuleBasedStateMachine):
    """One paid subscription from its draft on; the clock only moves forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = ANCHOR * DAY_US
        self.windows: list[Period] = []
        self.one = subscription(
            status=Status.DRAFT,
            started=False,
            was_paid=False,
            period_end_day=None,
            next_day=None,
            billing_interval=Interval.QUARTERLY,
            trial_days=45,
        )

    @rule(command=st.sampled_from(_ASKED))
    def ask(self, command: Command) -> None:
        """R-SUB-5: what the table does not have is refused and changes nothing."""
        before = msgspec.structs.astuple(self.one)
        decided = decide(self.one, command, self.now_us)
        assert msgspec.structs.astuple(self.one) == before
        if isinstance(decided, Refusal):
            return
        assert TRANSITIONS[self.one.status, command] in (decided.status, self.one.status)
        begun = self.one
        if command in (Command.START_TRIAL, Command.CAPTURE):
            begun = on_trial(self.one, self.now_us // 1000, started=command is Command.CAPTURE)
        elif decided.status is Status.ACTIVE and not self.one.started:
            begun = activated(self.one, self.now_us // 1000)
        changes = {"status": decided.status, "end_us": decided.end_us}
        if command is Command.CANCEL:
            changes["cancel_requested_ms"] = 1
        if command is Command.UNCANCEL:
            changes["cancel_requested_ms"] = None
        if decided.status in ENDED:
            changes |= {"pause": None, "final_due": "final" in decided.effects}
        self.one = msgspec.structs.replace(begun, **changes)

    @precondition(lambda self: due_of(self.one) is not None)
    @rule()
    def pass_time(self) -> None:
        """R-INV-11: the calendar does one thing after the other, each once."""
        due = due_of(self.one)
        self.now_us = max(self.now_us, due.at_us)
        step = turn(self.one, self._following())
        if step.bill is not None:
            self.windows.append(Period(step.bill.start_day, step.bill.through_day))
        self.one = step.after

    @rule(days=st.integers(0, 70))
    def wait(self, days: int) -> None:
        """Time passes, but never over something that is due."""
        until = self.now_us + days * DAY_US
        due = due_of(self.one)
        self.now_us = until if due is None else max(self.now_us, min(until, due.at_us))

    def _following(self):
        if self.one.period_end_day is None:
            return None
        current = period(
            0,
            term=self.one.term,
            since_day=self.one.period_start_day,
            until_day=self.one.period_end_day,
            anchor_day=self.one.anchor_day,
            interval=Interval.QUARTERLY,
        )
        if self.one.status is Status.TRIALING:
            return framed(current, after_trial(self.one, current, self.one.term + 1))
        return framed(current, next_frame(current, Interval.QUARTERLY))

    @invariant()
    def its_boundaries_are_in_order(self) -> None:
        """R-INT-1: the open window lies in the billing period, and what is closed lies before it."""
        one = self.one
        if one.over or not one.started or one.next_day is None:
            return
        assert one.period_start_day <= one.next_day <= one.period_end_day
        assert one.closed_day < one.next_day

    @invariant()
    def what_is_over_has_an_end_and_nothing_due_but_its_last_cut(self) -> None:
        """R-SUB-9."""
        if self.one.over and self.one.started:
            assert self.one.end_us is not None
            assert due_of(self.one) is None or self.one.final_due

    @invariant()
    def every_window_is_closed_once(self) -> None:
        """R-INV-11: closes follow one another without a gap."""
        for before, after in zip(self.windows, self.windows[1:], strict=False):
            assert before.end == after.start

    @invariant()
    def its_due_instant_is_one_the_clock_reaches(self) -> None:
        due = due_of(self.one)
        assert due is None or due.at_us <= self.now_us + 400 * DAY_MS * 1000


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
