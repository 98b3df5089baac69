"""Changes of plan in SQL: what one finds at its cut, and the new terms that it writes."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.life.frozen import PeriodTerms
from billing.life.paused import Part, days_of, parts_of
from billing.life.subscription import Subscription
from billing.money.closing import Window, WindowUsage
from billing.money.drawing import DrawSums, draws_of
from billing.money.invoice import VOID, LineKind
from billing.sale.switching import Held, switched
from billing.store import account as accounts
from billing.store import addon as addons
from billing.store import invoice as invoices
from billing.store import purchase, terms
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store.begin import announce
from kernel.period import DAY_MS

_i = tables.invoices.c
_l = tables.invoice_lines.c
# Lines that pay for a part of a period beside its base: when it begins, or when an add-on is switched on in it.
_PARTS: Final = (LineKind.SEATS, LineKind.ADDON_BASE, LineKind.PRORATION_CHARGE, LineKind.ADDON_PRORATION)


async def held_at(
    connection: AsyncConnection,
    subscription: Subscription,
    current: PeriodTerms,
    totals: Mapping[Window, WindowUsage],
    drawn: DrawSums,
    now_us: int,
    periods: Sequence[PeriodTerms] | None = None,
) -> Held:
    """Read what a change at `now_us` finds; usage and draws are the caller's, from RAW at the cut or from LIVE now.

    `periods` are the subscription's terms, where they are known as they stood at that time.
    """
    if periods is None:
        periods = await terms.rating(connection, subscription.id)
    parts = parts_of(periods, current)
    books = await seats.books(
        connection,
        subscription.customer_id,
        parts=parts,
        until_ms=now_us // 1000 + 1,
        days=days_of(periods, current),
    )
    top_ups = (await purchase.top_ups_of(connection, [subscription.customer_id]))[subscription.customer_id]
    return Held(
        periods=periods,
        totals=totals,
        billed=(await invoices.billed(connection, [subscription.id]))[subscription.id],
        draws=draws_of(subscription, periods, drawn, top_ups),
        books=books,
        parts_paid=await _parts_paid(connection, subscription.id, parts),
    )


async def _parts_paid(connection: AsyncConnection, subscription_id: str, parts: Sequence[Part]) -> dict[str, int]:
    """Sum what a period's seats and add-ons were charged, in minor units by feature id."""
    begin_ms = parts[0].since_ms // DAY_MS * DAY_MS
    query = (
        select(_l.feature_id, func.sum(_l.amount_minor).label("minor"))
        .join(tables.invoices, _l.invoice_id == _i.id)
        .where(
            _i.subscription_id == subscription_id,
            _i.period_start_ms >= begin_ms,
            _l.term.in_([part.term for part in parts]),
            _l.kind.in_(_PARTS),
            _l.feature_id.is_not(None),
            _i.status != VOID,
        )
        .group_by(_l.feature_id)
    )
    return {row.feature_id: int(row.minor) for row in await connection.execute(query)}


async def write_switch(
    connection: AsyncConnection, before: Subscription, following: PeriodTerms, now_ms: int
) -> Subscription:
    """Write the new terms, the row under them and what follows them; end add-ons that they do not have (R-CHG-13)."""
    await terms.put(connection, before.id, following)
    after = switched(before, following, now_ms)
    moved = await subscriptions.change(connection, before, after)
    assert moved, "the row was read in this transaction"
    await addons.carry_over(connection, before.id, following)
    await accounts.raise_rev(connection, [after.customer_id])
    await announce(connection, after)
    return after
