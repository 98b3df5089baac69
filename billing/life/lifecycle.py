"""The table of a subscription's states: which command is allowed where, and what it leads to. Pure.

Invariant: a (state, command) pair that is not in `TRANSITIONS` is illegal and changes nothing (R-SUB-5). Commands come
from requests, from payments and from the calendar; `due_of` tells which one the calendar has next.
Source: R-SUB-3 to R-SUB-14; AMB-24, AMB-37, AMB-38; contract 4.1 rows 38, 43 to 45, 51 and 53.
"""

from enum import StrEnum
from typing import Final

import msgspec

from billing.life.subscription import PauseMode, Subscription
from catalog.terms import SubscriptionStatus as Status
from kernel.errors import Refusal
from kernel.period import DAY_US, day_of_us


class Command(StrEnum):
    """What may be asked of a subscription, by a request, by a payment or by the calendar."""

    SEND_CHECKOUT = "send_checkout"  # a draft's checkout is issued
    RENEW_CHECKOUT = "renew_checkout"  # its link is made again (R-SUB-10)
    START_TRIAL = "start_trial"
    START_FREE = "start_free"
    ACTIVATE = "activate"  # the first payment came
    CAPTURE = "capture"  # a trial's card came: its clock starts
    LAPSE = "lapse"  # a trial's provisional end came and no card did
    CONVERT = "convert"  # a trial is over and charged
    FAIL = "fail"  # a charge failed
    PAY = "pay"  # the open invoice was paid
    GIVE_UP = "give_up"  # all retries failed
    WINDOW = "window"  # a usage window ends within the billing period
    RENEW = "renew"  # the billing period ends and another follows
    CHANGE = "change"  # another plan or interval, now or scheduled
    SET_END = "set_end"  # an end date is set or taken back
    CANCEL = "cancel"  # at the period's end
    CANCEL_NOW = "cancel_now"
    UNCANCEL = "uncancel"
    END = "end"  # the end that a cancellation set is there
    EXPIRE = "expire"  # the end date is there
    SCHEDULE_PAUSE = "schedule_pause"
    REVOKE_PAUSE = "revoke_pause"
    EXTEND_PAUSE = "extend_pause"  # its length is set anew
    PAUSE = "pause"
    RESUME = "resume"
    SUPERSEDE = "supersede"  # another one is made before this one began (R-SUB-3)
    DELETE = "delete"  # the customer is archived or deleted (R-CUST-8, R-CUST-9)


TRANSITIONS: Final = {
    (Status.DRAFT, Command.SEND_CHECKOUT): Status.PENDING_PAYMENT,
    (Status.DRAFT, Command.START_TRIAL): Status.TRIALING,
    (Status.DRAFT, Command.START_FREE): Status.ACTIVE,
    (Status.DRAFT, Command.SUPERSEDE): Status.CANCELED,
    (Status.DRAFT, Command.DELETE): Status.CANCELED,
    (Status.PENDING_PAYMENT, Command.RENEW_CHECKOUT): Status.PENDING_PAYMENT,
    (Status.PENDING_PAYMENT, Command.ACTIVATE): Status.ACTIVE,
    (Status.PENDING_PAYMENT, Command.SUPERSEDE): Status.CANCELED,
    (Status.PENDING_PAYMENT, Command.CANCEL): Status.CANCELED,
    (Status.PENDING_PAYMENT, Command.CANCEL_NOW): Status.CANCELED,
    (Status.PENDING_PAYMENT, Command.DELETE): Status.CANCELED,
    (Status.TRIALING, Command.RENEW_CHECKOUT): Status.TRIALING,
    (Status.TRIALING, Command.CAPTURE): Status.TRIALING,
    (Status.TRIALING, Command.LAPSE): Status.PENDING_PAYMENT,
    (Status.TRIALING, Command.CONVERT): Status.ACTIVE,
    (Status.TRIALING, Command.FAIL): Status.PAST_DUE,
    (Status.TRIALING, Command.CHANGE): Status.TRIALING,
    (Status.TRIALING, Command.SET_END): Status.TRIALING,
    (Status.TRIALING, Command.CANCEL): Status.TRIALING,
    (Status.TRIALING, Command.CANCEL_NOW): Status.CANCELED,
    (Status.TRIALING, Command.UNCANCEL): Status.TRIALING,
    (Status.TRIALING, Command.END): Status.CANCELED,
    (Status.TRIALING, Command.SUPERSEDE): Status.CANCELED,
    (Status.TRIALING, Command.DELETE): Status.CANCELED,
    (Status.ACTIVE, Command.WINDOW): Status.ACTIVE,
    (Status.ACTIVE, Command.RENEW): Status.ACTIVE,
    (Status.ACTIVE, Command.CHANGE): Status.ACTIVE,
    (Status.ACTIVE, Command.FAIL): Status.PAST_DUE,
    (Status.ACTIVE, Command.SET_END): Status.ACTIVE,
    (Status.ACTIVE, Command.CANCEL): Status.ACTIVE,
    (Status.ACTIVE, Command.CANCEL_NOW): Status.CANCELED,
    (Status.ACTIVE, Command.UNCANCEL): Status.ACTIVE,
    (Status.ACTIVE, Command.END): Status.CANCELED,
    (Status.ACTIVE, Command.EXPIRE): Status.EXPIRED,
    (Status.ACTIVE, Command.SCHEDULE_PAUSE): Status.ACTIVE,
    (Status.ACTIVE, Command.REVOKE_PAUSE): Status.ACTIVE,
    (Status.ACTIVE, Command.EXTEND_PAUSE): Status.ACTIVE,
    (Status.ACTIVE, Command.PAUSE): Status.PAUSED,
    (Status.ACTIVE, Command.DELETE): Status.CANCELED,
    (Status.PAST_DUE, Command.WINDOW): Status.PAST_DUE,
    (Status.PAST_DUE, Command.RENEW): Status.PAST_DUE,
    (Status.PAST_DUE, Command.PAY): Status.ACTIVE,
    (Status.PAST_DUE, Command.GIVE_UP): Status.CANCELED,
    (Status.PAST_DUE, Command.CANCEL): Status.CANCELED,
    (Status.PAST_DUE, Command.CANCEL_NOW): Status.CANCELED,
    (Status.PAST_DUE, Command.END): Status.CANCELED,
    (Status.PAST_DUE, Command.DELETE): Status.CANCELED,
    (Status.PAUSED, Command.RESUME): Status.ACTIVE,
    (Status.PAUSED, Command.EXTEND_PAUSE): Status.PAUSED,
    (Status.PAUSED, Command.END): Status.CANCELED,
    (Status.PAUSED, Command.CANCEL): Status.CANCELED,
    (Status.PAUSED, Command.CANCEL_NOW): Status.CANCELED,
    (Status.PAUSED, Command.DELETE): Status.CANCELED,
}

# Of a trial these are for one without its card, the others for one that has begun.
_BEFORE_THE_CARD: Final = frozenset({Command.CAPTURE, Command.LAPSE, Command.RENEW_CHECKOUT, Command.SUPERSEDE})
_EITHER_WAY: Final = frozenset({Command.CANCEL, Command.CANCEL_NOW, Command.DELETE})


class Effect(StrEnum):
    """What a transition brings with it, in the same transaction."""

    SHOW = "show"  # the account's snapshot changes
    CUT = "cut"  # a line is drawn and a close opened
    FINAL = "final"  # the close bills what is left and no base


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A transition that is allowed: the new state, when access ends, and what is to be done."""

    status: Status
    end_us: int | None
    effects: frozenset[Effect]


def decide(subscription: Subscription, command: Command, now_us: int) -> Decision | Refusal:
    """Decide a command at the organization's `now_us`; a refusal when the state does not allow it.

    A free plan has no period to wait for and nothing to bill, so every cancel ends it at once and takes no cut
    (R-FREE-1); neither has a trial anything to bill (R-TRIAL-8). Source: R-SUB-5 to R-SUB-7, R-SUB-13.
    """
    if command is Command.CANCEL and (subscription.free or not subscription.started):
        command = Command.CANCEL_NOW
    after = TRANSITIONS.get((subscription.status, command))
    if after is None or _barred(subscription, command, now_us):
        return refusal(subscription, command)
    return _decision(subscription, command, after, now_us)


def _decision(subscription: Subscription, command: Command, after: Status, now_us: int) -> Decision:
    effects = {Effect.SHOW} if subscription.started else set[Effect]()
    end_us = subscription.end_us
    if command is Command.CANCEL and after is subscription.status:
        if subscription.ending:
            effects = set()
        else:
            end_us = _earlier(subscription.period_of(day_of_us(now_us)).end * DAY_US, subscription.expires_us)
    elif command is Command.UNCANCEL:
        end_us = subscription.expires_us
    elif after is Status.CANCELED and command is not Command.END:
        end_us = _earlier(_last_access_us(subscription, now_us), subscription.end_us)
        if command in (Command.CANCEL, Command.CANCEL_NOW) and _owes(subscription):
            effects |= {Effect.CUT, Effect.FINAL}
    return Decision(status=after, end_us=end_us, effects=frozenset(effects))


def _barred(subscription: Subscription, command: Command, now_us: int) -> bool:
    """Tell whether something beyond the state forbids a command that the table has."""
    in_trial = subscription.status is Status.TRIALING and command not in _EITHER_WAY
    if in_trial and subscription.started is (command in _BEFORE_THE_CARD):
        return True
    scheduled = subscription.end_us is not None or subscription.scheduled is not None
    match command:
        case Command.UNCANCEL:
            barred = not subscription.ending
        case Command.CANCEL:  # a scheduled pause is revoked first
            barred = subscription.status is Status.ACTIVE and subscription.pause is not None
        case Command.SET_END:  # as an end forbids a pause
            barred = subscription.pause is not None
        case Command.RESUME:  # what has ended does not go on
            end_us = _paused_end_us(subscription)
            barred = end_us is not None and end_us <= now_us
        case Command.SCHEDULE_PAUSE:
            barred = subscription.free or scheduled or subscription.pause is not None
        case Command.PAUSE:
            barred = subscription.free or scheduled
        case Command.REVOKE_PAUSE | Command.EXTEND_PAUSE:
            barred = subscription.pause is None
        case _:
            barred = False
    return barred


def _owes(subscription: Subscription) -> bool:
    """Tell whether a final close may find usage that is to be billed."""
    if subscription.free or not subscription.started or subscription.status is Status.TRIALING:
        return False
    pause = subscription.pause
    # A pause that began at a period's end was closed there.
    return subscription.status is not Status.PAUSED or (pause is not None and pause.mode is PauseMode.IMMEDIATE)


def _last_access_us(subscription: Subscription, now_us: int) -> int:
    """Tell when access ends by a cancel now; of a paused one it ended when the pause began."""
    if subscription.status is Status.PAUSED and subscription.pause is not None:
        return min(now_us, subscription.pause.effective_us)
    return now_us


def _earlier(one: int, other: int | None) -> int:
    return one if other is None else min(one, other)


def refusal(subscription: Subscription, command: Command) -> Refusal:
    """Say why a command is not allowed now, in the contract's codes (2.3)."""
    if command is Command.UNCANCEL and not subscription.ending:
        return Refusal(
            code="not_scheduled_for_cancellation", message=f"Subscription {subscription.id} is not to be canceled."
        )
    if subscription.status is Status.CANCELED and command in (Command.CANCEL, Command.CANCEL_NOW):
        return Refusal(code="subscription_already_canceled", message=f"Subscription {subscription.id} is canceled.")
    plans = command is Command.SET_END or (command is Command.SCHEDULE_PAUSE and not subscription.free)
    if plans and subscription.status is Status.ACTIVE:
        return Refusal(
            code="already_scheduled",
            message=f"Subscription {subscription.id} has a pause, a change or an end scheduled: take that back first.",
        )
    return Refusal(
        code="invalid_subscription_status", message=f"Subscription {subscription.id} {_why(subscription, command)}"
    )


def _why(subscription: Subscription, command: Command) -> str:
    """Say what stands in the way, where it is not the state alone."""
    live = subscription.live
    if live and command is Command.CANCEL and subscription.pause is not None:
        return "has a pause scheduled: take that back first, or cancel it at once."
    if live and command in (Command.REVOKE_PAUSE, Command.EXTEND_PAUSE) and subscription.pause is None:
        return "has no pause."
    if live and command in (Command.SCHEDULE_PAUSE, Command.PAUSE) and subscription.free:
        return "is on a free plan, which is not paused."
    return f"is {subscription.status.value}, which does not allow this."


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """What the calendar has next for a subscription: at an instant, a command."""

    at_us: int
    command: Command


def due_of(subscription: Subscription) -> Due | None:
    """Tell what the calendar has next; None when it has nothing. A final cut that waits is due at once.

    An end that is due comes before a boundary of the same instant: what ends does not renew.
    """
    if subscription.final_due:
        return Due(at_us=0, command=Command.END)
    match subscription.status:
        case Status.TRIALING:
            return _trial_due(subscription)
        case Status.ACTIVE | Status.PAST_DUE:
            return _running_due(subscription)
        case Status.PAUSED:
            return _paused_due(subscription)
        case _:
            return None


def _paused_due(subscription: Subscription) -> Due | None:
    end_us = _paused_end_us(subscription)
    resume_us = None if subscription.pause is None else subscription.pause.resume_us
    if end_us is not None and (resume_us is None or end_us <= resume_us):
        return Due(at_us=end_us, command=Command.END)
    return None if resume_us is None else Due(at_us=resume_us, command=Command.RESUME)


def _paused_end_us(subscription: Subscription) -> int | None:
    """Tell when a paused subscription ends as it is; None: not before it is resumed.

    A pause at once keeps the rest of a period, and the end moves with it. After one at a period's end there is none.
    """
    pause = subscription.pause
    return None if pause is None or pause.mode is PauseMode.IMMEDIATE else subscription.end_us


def as_of(subscription: Subscription, now_us: int) -> Subscription | None:
    """Tell the subscription as requests of the organization's `now_us` find it; None while a step is due before.

    One whose end is there is over, though its final close is still to come: usage that comes late is billed by it.
    """
    if subscription.live and _ended(subscription, now_us):
        status = Status.EXPIRED if _expires(subscription) else Status.CANCELED
        return msgspec.structs.replace(subscription, status=status)
    return None if is_behind(subscription, now_us) else subscription


def _ended(subscription: Subscription, now_us: int) -> bool:
    due, end_us = due_of(subscription), subscription.end_us
    if due is not None and due.command in (Command.END, Command.EXPIRE):
        return due.at_us <= now_us
    # Boundaries before the end may be due as well. The end of one that is paused is for its resume to tell.
    return subscription.status is not Status.PAUSED and end_us is not None and end_us <= now_us


def _expires(subscription: Subscription) -> bool:
    return subscription.status is Status.ACTIVE and subscription.cancel_requested_ms is None


def is_behind(subscription: Subscription, now_us: int) -> bool:
    """Tell whether the row is not where the calendar has it at the organization's `now_us`: a step is due, not taken.

    Nobody has to wait for what is due of one that has not begun, or is over.
    """
    due = due_of(subscription) if subscription.live else None
    return due is not None and due.at_us <= now_us


def _trial_due(subscription: Subscription) -> Due:
    assert subscription.trial_end_day is not None, "a trial has an end"
    over_us, end_us = subscription.trial_end_day * DAY_US, subscription.end_us
    if not subscription.started:
        return Due(at_us=over_us, command=Command.LAPSE)
    if end_us is not None and end_us <= over_us:
        return Due(at_us=end_us, command=Command.END)
    return Due(at_us=over_us, command=Command.CONVERT)


def _running_due(subscription: Subscription) -> Due | None:
    end_us = subscription.end_us
    boundary_us = None if subscription.next_day is None else subscription.next_day * DAY_US
    if end_us is not None and (boundary_us is None or end_us <= boundary_us):
        return Due(at_us=end_us, command=Command.EXPIRE if _expires(subscription) else Command.END)
    return None if boundary_us is None else Due(at_us=boundary_us, command=boundary_command(subscription))


def boundary_command(subscription: Subscription) -> Command:
    """Tell what the end of the open usage window brings.

    A pause that is scheduled for a period's end begins there, unless a charge has failed: past due leads to active or
    canceled alone (R-SUB-5), and its boundaries keep running (R-DUN-7).
    """
    if subscription.next_day != subscription.period_end_day:
        return Command.WINDOW
    if subscription.pause is not None and subscription.status is Status.ACTIVE:
        return Command.PAUSE
    return Command.RENEW
