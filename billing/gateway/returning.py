"""What is left of top-ups when terms end that no balance takes over: the cut at which it is counted (AMB-20).

A change of plan takes this cut in the transaction that writes its new terms, whether it is charged or not: so the
snapshot that brings them draws the line under all that the old ones drew. The closer grants what is left there, once
(`worker.returning`). Source: AMB-20; ADR 9.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.frozen import PeriodTerms
from billing.life.subscription import Subscription
from billing.life.turning import Bill
from billing.money.drawing import top_ups_left
from billing.money.invoice import InvoiceType
from billing.sale.switching import returns_top_ups
from billing.store import purchase
from billing.store.cut import open_close
from kernel.errors import Unavailable
from kernel.period import day_of_us


async def return_top_ups(
    connection: AsyncConnection,
    ended: Subscription,
    current: PeriodTerms,
    following: PeriodTerms,
    now_ms: int,
    real_ms: int,
) -> None:
    """Take the cut of terms that end now, where top-ups were bought that the following ones do not take over.

    `ended` and `current` are the subscription and its terms as they were; the change is this transaction's. A charged
    one may come when its period is over: what was bought still counted on the last day. Raises Unavailable while
    another cut of the customer is open: nothing has changed then.
    """
    if not returns_top_ups(current, following):
        return
    top_ups = (await purchase.top_ups_of(connection, [ended.customer_id]))[ended.customer_id]
    now_us = now_ms * 1000
    day = day_of_us(now_us) if current.until_day is None else min(day_of_us(now_us), current.until_day - 1)
    if not top_ups_left(ended, current, {}, top_ups, day):
        return
    bill = Bill(
        kind=InvoiceType.PLAN_CHANGE,
        start_day=ended.closed_day,
        through_day=day,
        end_us=now_us,
        returns_term=current.term,
    )
    if await open_close(connection, ended, bill, real_ms, None) is None:
        raise Unavailable("another invoice of the customer is being made; ask again")
