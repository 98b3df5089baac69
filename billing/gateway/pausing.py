"""Pausing: at once, at the period's end, for some days or until someone resumes it.

Source: R-SUB-13; contract 4.1 rows 43 to 45 and 51, T56, T57; AMB-38.
"""

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.canceling import carry_out, decided
from billing.gateway.current import to_change
from billing.gateway.paying import must_collect
from billing.gateway.resuming import take_up
from billing.life.lifecycle import Command
from billing.life.subscription import Pause, PauseMode, Subscription
from billing.life.turning import replaced
from billing.money.invoice import Invoice
from billing.store.begin import announce
from catalog.definition import Organization
from kernel.errors import invalid
from kernel.period import DAY_US, day_of_us


class PauseWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a pause is asked for; `days` None lasts until someone resumes it."""

    subscription: str
    mode: PauseMode
    days: int | None


async def pause(connection: AsyncConnection, organization: Organization, wish: PauseWish, real_ms: int) -> Subscription:
    """Pause a paid, active subscription with nothing else scheduled, and return it as it then is.

    At once keeps the rest of the period for later; at the period's end the renewal does not come. Raises Rejected
    `invalid_subscription_status` or `already_scheduled`.
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, wish.subscription, now_ms)
    decided(subscription, Command.SCHEDULE_PAUSE, now_ms)
    effective_us = now_ms * 1000
    if wish.mode is PauseMode.PERIOD_END:
        effective_us = subscription.period_of(day_of_us(effective_us)).end * DAY_US
    paused = Pause(mode=wish.mode, requested_ms=now_ms, effective_us=effective_us, days=wish.days)
    after = replaced(subscription, pause=paused, updated_ms=now_ms)
    if wish.mode is PauseMode.IMMEDIATE:
        decision = decided(subscription, Command.PAUSE, now_ms)
        after = replaced(after, status=decision.status)
    await carry_out(connection, subscription, after)
    await announce(connection, after)  # what was announced for after the period does not come
    return after


async def extend_pause(
    connection: AsyncConnection, organization: Organization, subscription_id: str, days: int | None, real_ms: int
) -> Subscription:
    """Set how long a pause lasts in all, counted from when it takes effect.

    Raises Rejected without one, and `validation_error` for a length that is over already: access would begin in the
    past, and days without it would be charged (R-SUB-13).
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, subscription_id, now_ms)
    decided(subscription, Command.EXTEND_PAUSE, now_ms)
    assert subscription.pause is not None, "the command needs one"
    pause = msgspec.structs.replace(subscription.pause, days=days)
    if pause.resume_us is not None and pause.resume_us <= now_ms * 1000:
        raise invalid("durationDays", "is over already: resume it now, or let it last longer")
    after = replaced(subscription, pause=pause, updated_ms=now_ms)
    await carry_out(connection, subscription, after)
    return after


async def revoke_pause(
    connection: AsyncConnection, organization: Organization, subscription_id: str, real_ms: int
) -> Subscription:
    """Drop a pause that has not taken effect: the renewal comes. Raises Rejected without one."""
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, subscription_id, now_ms)
    decided(subscription, Command.REVOKE_PAUSE, now_ms)
    after = replaced(subscription, pause=None, updated_ms=now_ms)
    await carry_out(connection, subscription, after)
    await announce(connection, after)
    return after


async def resume(
    connection: AsyncConnection, organization: Organization, subscription_id: str, real_ms: int
) -> tuple[Subscription, Invoice | None]:
    """End a pause now; returns the subscription, and the invoice of a new period, whose charge is a condition.

    Raises Rejected `invalid_subscription_status`, `charge_failed` or `no_payment_method`: then it stays paused.
    """
    now_ms = organization.now_ms(real_ms)
    subscription = await to_change(connection, organization, subscription_id, now_ms)
    decided(subscription, Command.RESUME, now_ms)
    after, invoice = await take_up(connection, subscription, now_ms)
    if invoice is not None:
        await must_collect(connection, organization, invoice, real_ms)
    return after, invoice
