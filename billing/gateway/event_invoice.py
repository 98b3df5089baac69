"""Which invoice bills an event: the answer that `GET /usage/events/{id}` shows, given to the aggregator's routes."""

from collections.abc import Awaitable, Callable

from aggregator.row import EventRow
from billing.store import invoice as invoices
from kernel.engine.sql.base import Sql


def invoice_of(sql: Sql) -> Callable[[EventRow], Awaitable[str | None]]:
    """Make the look-up: the id of the invoice whose line covers a counted event's window and cut.

    None while no invoice does: it is not closed yet, or what it added costs nothing.
    """

    async def find(row: EventRow) -> str | None:
        async with sql.snapshot() as connection:
            return await invoices.of_event(connection, row.customer, row.feature, row.term, row.window, row.cut)

    return find
