"""What the calendar does to a subscription: the transaction that draws a line, opens a close and freezes what comes.

Source: DESIGN 3.8 (a); R-SUB-5.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.frozen import PeriodTerms
from billing.life.showing import AccountRow, announced, in_force
from billing.life.subscription import Subscription
from billing.life.turning import Bill, turn
from billing.store import account as accounts
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.store.addon import carry_over
from billing.store.begin import announce
from billing.store.close import CloseRow, CloseState
from billing.store.plan import Shelf
from kernel import ids

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
    """Do the next step of many subscriptions, as `take` does of one; returns the customers of those that took it."""
    shelf = Shelf(connection)
    standing = await _standing(connection, listed)
    return [one.subscription.customer_id for one in standing if await _take(connection, one, real_ms, shelf)]


async def _standing(connection: AsyncConnection, listed: Sequence[Subscription]) -> list[_Standing]:
    """Read what the steps of subscriptions start from; those that changed since they were listed are left out."""
    now = await subscriptions.read_all(connection, [one.id for one in listed])
    same = [one for one in listed if now.get(one.id) == one]
    periods = await terms.of_all(connection, [one.id for one in same])
    owners = await accounts.read_all(connection, [one.customer_id for one in same])
    return [_Standing(subscription=one, periods=periods[one.id], account=owners[one.customer_id]) for one in same]


async def _take(connection: AsyncConnection, standing: _Standing, real_ms: int, shelf: Shelf) -> bool:
    subscription, periods = standing.subscription, standing.periods
    step = turn(subscription, announced(subscription, periods))
    if not await _write(connection, subscription, step.after, step.bill, real_ms, standing.account):
        return False
    if step.after.period_start_day != subscription.period_start_day:
        await carry_over(connection, subscription.id, in_force(step.after, periods))
    if step.announce:
        await announce(connection, step.after, shelf=shelf, periods=periods)
    return True


async def _write(
    connection: AsyncConnection,
    before: Subscription,
    after: Subscription,
    bill: Bill | None,
    real_ms: int,
    account: AccountRow | None = None,
) -> bool:
    """Write the row, and with a bill take the customer's next cut and open its close; False while one is open."""
    if bill is None:
        await accounts.raise_rev(connection, [before.customer_id])
    elif await open_close(connection, before, bill, real_ms, account=account) is None:
        return False
    moved = await subscriptions.change(connection, before, after)
    assert moved, "the row was read in this transaction"
    return True


async def open_close(
    connection: AsyncConnection,
    subscription: Subscription,
    bill: Bill,
    real_ms: int,
    asked: str | None = None,
    *,
    account: AccountRow | None = None,
) -> CloseRow | None:
    """Take the customer's next cut and open the close that bills it; None while another one is open.

    `asked` names the request for a change of plan that waits for it; `account` is what the transaction read already.
    """
    account = account or await accounts.read(connection, subscription.customer_id)
    assert account is not None, "who has a subscription has an account"
    cut = await accounts.take_cut(connection, account)
    if cut is None:
        return None
    close = CloseRow(
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
    await closes.add(connection, close)
    return close
