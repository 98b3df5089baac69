"""What the calendar does to a subscription: the transaction that draws a line, opens a close and freezes what comes.

Source: DESIGN 3.8 (a); R-SUB-5.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.frozen import PeriodTerms
from billing.life.showing import AccountRow, announced, in_force
from billing.life.subscription import Subscription
from billing.life.turning import Bill, turn
from billing.store import account as accounts
from billing.store import addon as addons
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.addon import carry_over
from billing.store.begin import to_announce
from billing.store.close import CloseRow, CloseState
from billing.store.plan import Shelf, as_plan_ends
from kernel import ids
from kernel.period import DAY_MS

CLOSE_ID = "cls_"


class _Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What SQL has of a subscription that is due: its row, all its terms, and its customer's account."""

    subscription: Subscription
    periods: Sequence[PeriodTerms]
    account: AccountRow


async def take(connection: AsyncConnection, listed: Subscription, real_ms: int) -> bool:
    """Do the next step of a subscription that was listed as due; False when it changed or a cut is open.

    The end of a pause is none of them: `gateway.resuming`.
    """
    return bool(await take_all(connection, [listed], real_ms))


async def take_all(connection: AsyncConnection, listed: Sequence[Subscription], real_ms: int) -> list[str]:
    """Do the next step of many subscriptions, as `take` does of one; returns the customers of those that took it.

    What it writes of each goes in one statement for all, since every statement costs as much as planning a step.
    """
    standing = await _standing(connection, listed)
    owners = await addons.owners(connection, [one.subscription.id for one in standing])
    shelf = Shelf(connection)
    taken, unbilled, opened = list[_Step](), list[str](), dict[str, CloseRow]()
    for one in standing:
        subscription, account = one.subscription, one.account
        step = turn(subscription, announced(subscription, one.periods))
        if step.bill is None:
            unbilled.append(account.customer_id)
        elif account.open_cut is None and account.customer_id not in opened:
            opened[account.customer_id] = _close(subscription, step.bill, account.cut + 1, real_ms)
        else:
            continue  # a customer's next cut waits until the open one is settled
        after = step.after
        if step.announce:
            after = await as_plan_ends(connection, after, after.period_start_day * DAY_MS, shelf)
        taken.append(_Step(subscription, after, one.periods, step.announce))
    await accounts.raise_rev(connection, unbilled)
    await accounts.take_cuts(connection, {customer: close.cut for customer, close in opened.items()})
    await closes.add(connection, *opened.values())
    await subscriptions.change_all(connection, [(done.before, done.after) for done in taken])
    following: dict[str, PeriodTerms] = {}
    for done in taken:
        owns = done.before.id in owners
        if owns and done.after.period_start_day != done.before.period_start_day:
            await carry_over(connection, done.before.id, in_force(done.after, done.periods))
        if done.announce:
            coming = await to_announce(connection, done.after, shelf, done.periods, addons=owns)
            if coming is not None:
                following[done.before.id] = coming
    await terms.add_all(connection, following)
    return [done.before.customer_id for done in taken]


class _Step(NamedTuple):
    before: Subscription
    after: Subscription
    periods: Sequence[PeriodTerms]
    announce: bool


async def _standing(connection: AsyncConnection, listed: Sequence[Subscription]) -> list[_Standing]:
    """Read what the steps of subscriptions start from; those that changed since they were listed are left out."""
    now = await subscriptions.read_all(connection, [one.id for one in listed])
    same = [one for one in listed if now.get(one.id) == one]
    periods = await terms.of_all(connection, [one.id for one in same])
    owners = await accounts.read_all(connection, [one.customer_id for one in same])
    return [_Standing(subscription=one, periods=periods[one.id], account=owners[one.customer_id]) for one in same]


async def open_close(
    connection: AsyncConnection, subscription: Subscription, bill: Bill, real_ms: int, asked: str | None
) -> CloseRow | None:
    """Take the customer's next cut and open the close that bills it; None while another one is open.

    `asked` names the request for a change of plan that waits for it.
    """
    account = await accounts.read(connection, subscription.customer_id)
    assert account is not None, "who has a subscription has an account"
    cut = await accounts.take_cut(connection, account)
    if cut is None:
        return None
    close = _close(subscription, bill, cut, real_ms, asked)
    await closes.add(connection, close)
    return close


def _close(subscription: Subscription, bill: Bill, cut: int, real_ms: int, asked: str | None = None) -> CloseRow:
    return CloseRow(
        **msgspec.structs.asdict(bill),
        id=ids.new_id(CLOSE_ID, real_ms),
        organization_id=subscription.organization_id,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        cut=cut,
        state=CloseState.CUT,
        invoice_id=None,
        live=None,
        raw=None,
        created_ms=real_ms,
        settled_ms=None,
        asked=asked,
    )
