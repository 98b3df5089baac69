"""Which invoice bills an event, and which events stand behind a line: one relation, read from both of its ends."""

from collections.abc import Awaitable, Callable

from aggregator.row import EventRow
from aggregator.store.cut import InvoiceLineEvents
from billing.money.closing import POOL
from billing.money.invoice import Invoice, Line
from billing.store import invoice as invoices
from kernel.engine.sql.base import Sql


def invoice_of(sql: Sql) -> Callable[[EventRow], Awaitable[str | None]]:
    """Make the look-up: the id of the invoice whose line covers a counted event's window and cut.

    None while no invoice does: it is not closed yet, or what it added costs nothing.
    """

    async def find(row: EventRow) -> str | None:
        found = await line_of(sql, row)
        return None if found is None else found[0]

    return find


async def line_of(sql: Sql, row: EventRow) -> tuple[str, str] | None:
    """Tell the ids of the invoice and of its line that bill a counted event; None while none do.

    Of an event that drew on a pool only an overdraft is billed; the rest was paid for by the draw.
    """
    feature = None if row.pool and row.overdraft != "0" else row.feature
    async with sql.snapshot() as connection:
        return await invoices.of_event(connection, row.customer, feature, row.term, row.window, row.cut)


def events_of(invoice: Invoice, line: Line) -> InvoiceLineEvents | None:
    """Tell the events behind a line: a window's of a feature, or all that drew on the pool; None for any other line."""
    if line.window is None:
        return None
    return InvoiceLineEvents(
        organization=invoice.organization_id,
        customer=invoice.customer_id,
        feature=line.feature_id or POOL,
        term=line.term,
        window=line.window.start,
        cut_after=line.cut_after,
        cut=line.cut,
    )
