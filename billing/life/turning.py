"""What the calendar's next step does to a paid subscription: close a window, renew, convert a trial, end. Pure.

Invariants: every usage window is closed once and in order, each by a close of its own (R-INV-11); what comes after a
renewal are the terms that were announced. Source: DESIGN 3.8; R-INT-1 to R-INT-5, R-INV-2, R-INV-3, R-SUB-7; ADR 9.
"""

import msgspec

from billing.life.frozen import PeriodTerms
from billing.life.lifecycle import Command, boundary_command, due_of
from billing.life.subscription import Pause, Subscription
from billing.money.invoice import RECURRING, InvoiceType
from billing.sale.change import Target
from catalog.terms import SubscriptionStatus
from kernel.period import DAY_US, day_of_us


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a cut bills: windows that end by `through_day` and after `start_day`, what comes late before.

    `kind` is the invoice's. `base_term` is the term whose period that begins on `through_day` is charged in advance,
    None when none is. The instant is `end_us`; `final` says that nothing follows. `change` is the plan to which the
    subscription changes as this is billed. `returns_term` is the number of terms that a change has ended already: what
    is left of their top-ups becomes account credit, and nothing is billed (AMB-20).
    """

    kind: InvoiceType
    start_day: int
    through_day: int
    end_us: int
    base_term: int | None = None
    final: bool = False
    change: Target | None = None
    returns_term: int | None = None


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What a step does: the row after it, what its cut bills (None: it takes none), whether to announce more."""

    after: Subscription
    bill: Bill | None
    announce: bool = False


def turn(subscription: Subscription, following: PeriodTerms | None) -> Turn:
    """Tell what the calendar's next step does; `following` are the terms announced for after the current period.

    A subscription that ended after a boundary that is not closed yet is first closed there, base of the period that had
    begun included, then for good. A resume is not a turn: it freezes terms of its own.
    """
    due = due_of(subscription)
    assert due is not None, "the calendar has something for it"
    match due.command:
        case Command.LAPSE:
            after = replaced(
                subscription, status=SubscriptionStatus.PENDING_PAYMENT, period_end_day=None, next_day=None
            )
            return Turn(after=after, bill=None)
        case Command.CONVERT | Command.RENEW:
            return _onward(subscription, following)
        case Command.WINDOW:
            return _window(subscription)
        case Command.PAUSE:
            return _pause(subscription)
        case _:
            return _end(subscription, following, expires=due.command is Command.EXPIRE)


def lapsed(subscription: Subscription, now_ms: int) -> Subscription:
    """Tell a subscription as its checkout finds it: a trial whose provisional end has come waits for its payment."""
    due = due_of(subscription)
    if due is None or due.command is not Command.LAPSE or due.at_us > now_ms * 1000:
        return subscription
    return turn(subscription, None).after


def without_begun(pause: Pause | None, at_us: int) -> Pause | None:
    """Tell what is left of a scheduled pause of a subscription that went on at an instant: nothing once it was due."""
    return None if pause is None or pause.effective_us <= at_us else pause


def replaced(subscription: Subscription, **changes: object) -> Subscription:
    """Make a subscription with some members changed."""
    return msgspec.structs.replace(subscription, **changes)


def _end(subscription: Subscription, following: PeriodTerms | None, *, expires: bool) -> Turn:
    status = SubscriptionStatus.EXPIRED if expires else SubscriptionStatus.CANCELED
    if subscription.over:
        status = subscription.status
    after = replaced(subscription, status=status, final_due=False, scheduled=None, pause=None)
    if subscription.next_day is None or subscription.status is SubscriptionStatus.TRIALING:
        return Turn(after=after, bill=None)
    end_us, pause = subscription.end_us, subscription.pause
    assert end_us is not None, "it ends"
    if subscription.status is SubscriptionStatus.PAUSED and pause is not None:  # at a period's end, which billed all
        return Turn(after=replaced(after, end_us=min(end_us, pause.effective_us)), bill=None)
    if subscription.next_day * DAY_US < end_us:
        return _window(subscription) if _within(subscription) else _onward(subscription, following)
    last_day = max(subscription.closed_day, day_of_us(end_us - 1))
    through_day = subscription.window_of(last_day).end
    bill = Bill(kind=RECURRING, start_day=subscription.closed_day, through_day=through_day, end_us=end_us, final=True)
    return Turn(after=replaced(after, closed_day=through_day), bill=bill)


def _within(subscription: Subscription) -> bool:
    return boundary_command(subscription) is Command.WINDOW


def _window(subscription: Subscription) -> Turn:
    day = subscription.next_day
    assert day is not None, "a paid plan has windows"
    after = replaced(subscription, next_day=_window_end(subscription, day), closed_day=day)
    bill = Bill(kind=InvoiceType.OVERAGE, start_day=subscription.closed_day, through_day=day, end_us=day * DAY_US)
    return Turn(after=after, bill=bill)


def _window_end(subscription: Subscription, day: int) -> int:
    end = subscription.window_of(day).end
    return end if subscription.period_end_day is None else min(end, subscription.period_end_day)


def _pause(subscription: Subscription) -> Turn:
    """Pause at the period's end: what was used is billed, no period follows (R-SUB-13)."""
    day = subscription.next_day
    assert day is not None, "a paid plan has windows"
    after = replaced(subscription, status=SubscriptionStatus.PAUSED, closed_day=day)
    bill = Bill(kind=RECURRING, start_day=subscription.closed_day, through_day=day, end_us=day * DAY_US)
    return Turn(after=after, bill=bill)


def _onward(subscription: Subscription, following: PeriodTerms | None) -> Turn:
    """Take over the announced terms: a renewal, the end of a trial, a change that was scheduled.

    A pause that was to begin here is dropped: the subscription is past due.
    """
    day = subscription.next_day
    assert day is not None, "a paid plan has windows"
    assert following is not None, "what follows a period was announced when it began"
    trial = subscription.status is SubscriptionStatus.TRIALING
    after = entered(
        replaced(
            subscription,
            status=SubscriptionStatus.ACTIVE if trial else subscription.status,
            closed_day=day,
            # A deleted plan's migration waits for the first renewal: the end of a trial is none.
            scheduled=subscription.scheduled if trial else None,
            pause=without_begun(subscription.pause, day * DAY_US),
        ),
        following,
    )
    bill = Bill(
        kind=RECURRING,
        start_day=subscription.closed_day,
        through_day=day,
        end_us=day * DAY_US,
        base_term=None if following.free else following.term,
    )
    return Turn(after=after, bill=bill, announce=after.renews)


def entered(subscription: Subscription, terms: PeriodTerms) -> Subscription:
    """Make the row under terms that have begun; the terms know plan, price, period and anchor.

    Whether it was paid is not theirs to say: a trial that ends becomes paid by its charge (R-DISC-4).
    """
    after = replaced(
        subscription,
        plan_id=terms.plan_id,
        plan_name=terms.plan_name,
        price_id=terms.price_id,
        free=terms.free,
        billing_interval=terms.interval,
        currency=terms.currency,
        term=terms.term,
        anchor_day=terms.anchor_day,
        period_start_day=terms.since_day,
        period_end_day=terms.until_day,
        next_day=terms.until_day,
    )
    if terms.free or terms.trial:
        return after
    return replaced(after, next_day=_window_end(after, terms.since_day))
