"""What is left of top-ups when terms end that no balance takes over: the cut at which it is counted (AMB-20).

A change that is charged finds what is left at its own cut (`worker.changing`). A change that is not charged holds at
once: it takes a cut in its own transaction, so that the snapshot that brings the new terms draws the line under all
that the old ones drew. The closer grants what is left there, once (`worker.returning`). Source: AMB-20; ADR 9.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.frozen import PeriodTerms, chain_to
from billing.life.subscription import Subscription
from billing.life.turning import Bill
from billing.money.drawing import top_ups_left
from billing.money.invoice import InvoiceType
from billing.store import purchase
from billing.store.cut import open_close
from catalog.terms import ConsumptionModel
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

    `ended` and `current` are the subscription and its terms as they were; the change is this transaction's. Raises
    Unavailable while another cut of the customer is open: nothing has changed then.
    """
    taken_over = chain_to(current, following.model, following.currency) is not None
    if current.model is not ConsumptionModel.BALANCE or taken_over:
        return
    top_ups = (await purchase.top_ups_of(connection, [ended.customer_id]))[ended.customer_id]
    now_us = now_ms * 1000
    day = day_of_us(now_us)
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
