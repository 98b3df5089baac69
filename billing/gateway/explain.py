"""Why an invoice or a close is what it is, in plain values for an operator."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.store import UsageStore
from billing.agreement import difference
from billing.closing import Billed, Window, WindowUsage
from billing.gateway.upcoming import account_of
from billing.invoice import Invoice, Line, decimal_units
from billing.store import close as closes
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from billing.store.close import CloseRow, CloseState
from catalog.gateway import Catalog
from kernel.engine.live.base import Live
from kernel.engine.sql.base import Sql
from kernel.errors import rejected
from kernel.period import DAY_MS, date_of, instant_text


class Explainer:
    """Answers the operator's `explain`."""

    def __init__(self, sql: Sql, live: Live, usage_store: UsageStore, catalog: Catalog) -> None:
        self._sql = sql
        self._live = live
        self._usage_store = usage_store
        self._catalog = catalog

    async def explain_invoice(self, invoice_id: str) -> dict[str, Any]:
        """Explain each line: what RAW counts in its window at its cut, what is included, what was billed before.

        Raises Rejected `invoice_not_found`.
        """
        async with self._sql.snapshot() as connection:
            invoice = await invoices.read(connection, invoice_id)
            if invoice is None:
                raise rejected("invoice_not_found", f"There is no invoice {invoice_id}.")
            lines = await invoices.lines(connection, invoice_id)
            before = await _billed_before(connection, invoice)
        totals = await self._totals(invoice.organization_id, invoice.customer_id, invoice.cut)
        return {
            "invoice": invoice.id,
            "number": invoice.number,
            "customer": invoice.customer_id,
            "subscription": invoice.subscription_id,
            "cut": invoice.cut,
            "issued": instant_text(invoice.issued_ms),
            "total_minor": invoice.total_minor,
            "lines_sum_minor": sum(line.amount_minor for _, line in lines),
            "lines": [_line(line_id, line, invoice, totals, before) for line_id, line in lines],
        }

    async def explain_close(self, subscription_id: str) -> dict[str, Any]:
        """Explain a subscription's closes; of one that is not settled both sides are compared anew.

        Raises Rejected `subscription_not_found`.
        """
        async with self._sql.snapshot() as connection:
            subscription = await subscriptions.read(connection, subscription_id)
            if subscription is None:
                raise rejected("subscription_not_found", f"There is no subscription {subscription_id}.")
            found = await closes.of_subscription(connection, subscription_id)
        return {
            "subscription": subscription.id,
            "customer": subscription.customer_id,
            "status": subscription.state.value,
            "period_start": date_of(subscription.period_start_day).isoformat(),
            "period_end": None
            if subscription.period_end_day is None
            else date_of(subscription.period_end_day).isoformat(),
            "closes": [await self._close(close) for close in found],
        }

    async def _close(self, close: CloseRow) -> dict[str, Any]:
        told: dict[str, Any] = {
            "close": close.id,
            "cut": close.cut,
            "state": close.state.value,
            "final": close.final,
            "period_start": instant_text(close.start_day * DAY_MS),
            "period_end": instant_text(close.end_us // 1000),
            "invoice": close.invoice_id,
            "live_when_stopped": close.live,
            "raw_when_stopped": close.raw,
        }
        if close.state is CloseState.SETTLED:
            return told
        account = await account_of(self._live, self._catalog.deployment.lanes, close.customer_id)
        totals = await self._totals(close.organization_id, close.customer_id, close.cut)
        found = difference(account, totals)
        return {
            **told,
            "live_cut_now": account.cut,
            "live_now": {} if found is None else found.live,
            "raw_now": {} if found is None else found.raw,
        }

    async def _totals(self, organization: str, customer: str, cut: int) -> dict[Window, WindowUsage]:
        rows = await self._usage_store.totals_at_cut(organization, {customer: cut})
        return {
            Window(row.feature, row.term, row.window): WindowUsage(end=row.window_end, units=row.units) for row in rows
        }


async def _billed_before(connection: AsyncConnection, invoice: Invoice) -> Mapping[Window, Billed]:
    found = await invoices.billed(connection, [invoice.subscription_id], before_cut=invoice.cut)
    return found[invoice.subscription_id]


def _line(
    line_id: str,
    line: Line,
    invoice: Invoice,
    totals: Mapping[Window, WindowUsage],
    before: Mapping[Window, Billed],
) -> dict[str, Any]:
    told: dict[str, Any] = {
        "line": line_id,
        "kind": line.kind.value,
        "description": line.description,
        "amount_minor": line.amount_minor,
        "currency": invoice.currency,
        "unit_price": line.unit_price,
        "quantity": line.quantity,
    }
    if line.window is None or line.feature_id is None:
        return told
    window = Window(line.feature_id, line.term, line.window.start)
    counted = totals.get(window)
    earlier = before.get(window, Billed(units=0, minor=0, cut=0))
    return {
        **told,
        "feature": line.feature_code,
        "window_start": date_of(line.window.start).isoformat(),
        "window_end": date_of(line.window.end).isoformat(),
        "included": line.included,
        "used_as_billed": line.used,
        "counted_in_raw_at_this_cut": "0" if counted is None else decimal_units(counted.units),
        "overage": line.overage,
        "billed_before_units": decimal_units(earlier.units),
        "billed_before_minor": earlier.minor,
        "cuts": f"after {line.cut_after}, up to {line.cut}",
    }
