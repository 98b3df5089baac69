"""A subscription's life: its value, and the table of its states. Pure.

Owns which command is allowed in which state and what follows from it. Invariant: a (state, command) pair that is not in
`TRANSITIONS` is illegal; canceled is terminal (R-SUB-4, R-SUB-9). Effects are carried out in the transaction that
writes the new state.
"""

from enum import StrEnum
from typing import Final

import msgspec

from catalog.terms import SubscriptionStatus
from kernel import period
from kernel.errors import Refusal
from kernel.period import DAY_US, Interval, Period, day_of_us


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One customer's contract for a plan, as its row has it.

    Days count from 1970-01-01; `period_end_day` and `billing_interval` are None on a free plan. `end_us` is when access
    ends, once that is known. `final_due` says that its final cut waits for another one to be settled.
    """

    id: str
    organization_id: str
    customer_id: str
    plan_id: str
    plan_name: str
    price_id: str | None
    name: str
    status: SubscriptionStatus
    free: bool
    billing_interval: Interval | None
    currency: str
    term: int
    anchor_day: int
    start_us: int
    period_start_day: int
    period_end_day: int | None
    end_us: int | None
    final_due: bool
    cancel_reason: str | None
    cancel_requested_ms: int | None
    created_ms: int
    updated_ms: int

    @property
    def state(self) -> "State":
        """Tell its state: an end that is set and not reached is `ending`."""
        if self.status is SubscriptionStatus.CANCELED:
            return State.CANCELED
        return State.ACTIVE if self.end_us is None else State.ENDING

    def period_of(self, day: int) -> Period:
        """Tell the billing period that holds `day`."""
        assert self.billing_interval is not None, "a free plan has no billing period"
        return period.period_of(self.anchor_day, day, self.billing_interval)

    def window_of(self, day: int) -> Period:
        """Tell the usage window that holds `day`: one month from the anchor, for every interval (R-INT-1)."""
        return period.period_of(self.anchor_day, day, Interval.MONTHLY)


class State(StrEnum):
    """States that this version reaches: `ending` is active with an end that is set."""

    ACTIVE = "active"
    ENDING = "ending"
    CANCELED = "canceled"


class Command(StrEnum):
    """What may be asked of a subscription, by a request or by the calendar."""

    RENEW = "renew"  # the period ends and another follows
    END = "end"  # the period ends and none follows
    CANCEL_AT_END = "cancel_at_end"
    CANCEL_NOW = "cancel_now"


class Effect(StrEnum):
    """What a transition brings with it, in the same transaction."""

    SHOW = "show"  # the account's snapshot changes
    CUT = "cut"  # a line is drawn and a close opened
    FINAL = "final"  # the close bills what is left and no base
    FREEZE = "freeze"  # the terms of the period after next are announced


TRANSITIONS: Final = {
    (State.ACTIVE, Command.RENEW): State.ACTIVE,
    (State.ACTIVE, Command.CANCEL_AT_END): State.ENDING,
    (State.ACTIVE, Command.CANCEL_NOW): State.CANCELED,
    (State.ENDING, Command.RENEW): State.ENDING,
    (State.ENDING, Command.CANCEL_AT_END): State.ENDING,
    (State.ENDING, Command.CANCEL_NOW): State.CANCELED,
    (State.ENDING, Command.END): State.CANCELED,
}


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A transition that is allowed: the new state, when access ends, and what is to be done."""

    state: State
    end_us: int | None
    effects: frozenset[Effect]


def decide(subscription: Subscription, command: Command, now_us: int) -> Decision | Refusal:
    """Decide a command at the organization's `now_us`; a refusal when the state does not allow it.

    A free plan has no period to wait for and nothing to bill, so every cancel ends it at once and takes no cut
    (R-FREE-1). Source: R-SUB-5, R-SUB-6, R-SUB-7.
    """
    if command is Command.CANCEL_AT_END and subscription.free:
        command = Command.CANCEL_NOW
    after = TRANSITIONS.get((subscription.state, command))
    if after is None:
        return _refusal(subscription)
    match command:
        case Command.RENEW:
            freeze = frozenset({Effect.FREEZE} if after is State.ACTIVE else ())
            return Decision(state=after, end_us=subscription.end_us, effects=freeze | {Effect.SHOW, Effect.CUT})
        case Command.END:
            effects = frozenset({Effect.SHOW, Effect.CUT, Effect.FINAL})
            return Decision(state=after, end_us=subscription.end_us, effects=effects)
        case Command.CANCEL_AT_END:
            changed = subscription.state is not after
            end_us = subscription.period_of(day_of_us(now_us)).end * DAY_US if changed else subscription.end_us
            return Decision(state=after, end_us=end_us, effects=frozenset({Effect.SHOW} if changed else ()))
        case Command.CANCEL_NOW:
            paid = frozenset[Effect]() if subscription.free else frozenset({Effect.CUT, Effect.FINAL})
            end_us = now_us if subscription.end_us is None else min(now_us, subscription.end_us)
            return Decision(state=after, end_us=end_us, effects=paid | {Effect.SHOW})


def _refusal(subscription: Subscription) -> Refusal:
    if subscription.state is State.CANCELED:
        return Refusal(code="subscription_already_canceled", message=f"Subscription {subscription.id} is canceled.")
    return Refusal(
        code="invalid_subscription_status",
        message=f"Subscription {subscription.id} is {subscription.state}, which does not allow this.",
    )


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What the next cut does to a subscription: its row after it, the period that it closes, what to freeze.

    Windows that end by `through_day` are billed; the closed period began on `start_day` and ended at `end_us`.
    """

    after: Subscription
    start_day: int
    through_day: int
    end_us: int
    final: bool
    freeze: Period | None


def turn(subscription: Subscription) -> Turn:
    """Tell what the next cut of a paid subscription does: renew at its boundary, or end for good.

    A subscription canceled after a boundary that is not closed yet is first closed there, base of the period that had
    begun included, then for good. Source: DESIGN 3.8; R-INV-11, R-SUB-7.
    """
    assert subscription.period_end_day is not None, "a free plan takes no cut"
    boundary_us = subscription.period_end_day * DAY_US
    end_us = subscription.end_us
    if end_us is not None and end_us <= boundary_us:
        last_day = max(subscription.period_start_day, day_of_us(end_us - 1))
        return Turn(
            after=msgspec.structs.replace(subscription, status=SubscriptionStatus.CANCELED, final_due=False),
            start_day=subscription.period_start_day,
            through_day=subscription.window_of(last_day).end,
            end_us=end_us,
            final=True,
            freeze=None,
        )
    begun = subscription.period_of(subscription.period_end_day)
    return Turn(
        after=msgspec.structs.replace(subscription, period_start_day=begun.start, period_end_day=begun.end),
        start_day=subscription.period_start_day,
        through_day=subscription.period_end_day,
        end_us=boundary_us,
        final=False,
        freeze=subscription.period_of(begun.end) if subscription.state is State.ACTIVE else None,
    )
