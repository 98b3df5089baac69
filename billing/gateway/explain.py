"""Why an invoice or a close is what it is, in plain values for an operator."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.store import UsageStore
from billing.agreement import difference
from billing.closing import Billed, Window, WindowUsage
from billing.gateway.upcoming import account_of
from billing.invoice import Invoice, Line, LineKind, decimal_units
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
            "period": f"{instant_text(invoice.period_start_ms)} to {instant_text(invoice.period_end_ms)}",
            "totalMinor": invoice.total_minor,
            "linesSumMinor": sum(line.amount_minor for _, line in lines),
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
            "status": subscription.status.value,
            "periodStart": date_of(subscription.period_start_day).isoformat(),
            "periodEnd": None
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
            "periodStart": instant_text(close.start_day * DAY_MS),
            "periodEnd": instant_text(close.end_us // 1000),
            "invoice": close.invoice_id,
            "liveWhenStopped": close.live,
            "rawWhenStopped": close.raw,
        }
        if close.state is CloseState.SETTLED:
            return told
        account = await account_of(self._live, self._catalog.deployment.lanes, close.customer_id)
        totals = await self._totals(close.organization_id, close.customer_id, close.cut)
        found = difference(account, totals)
        return {
            **told,
            "liveCutNow": account.cut,
            "liveNow": {} if found is None else found.live,
            "rawNow": {} if found is None else found.raw,
        }

    async def _totals(self, organization: str, customer: str, cut: int) -> dict[Window, WindowUsage]:
        rows = await self._usage_store.totals_at_cut(organization, {customer: cut})
        return {
            Window(row.feature, row.term, row.window): WindowUsage(end=row.window_end, units=row.units) for row in rows
        }


async def _billed_before(connection: AsyncConnection, invoice: Invoice) -> Mapping[Window, Billed]:
    if invoice.subscription_id is None:
        return {}
    found = await invoices.billed(connection, [invoice.subscription_id], before_cut=invoice.cut)
    return found[invoice.subscription_id]


def _why(line: Line) -> str:
    """Say in one sentence how a line's amount came about."""
    if line.kind is LineKind.PLAN_BASE:
        return f"{line.description}: the base price, frozen when the period started."
    if line.window is None:
        return f"{line.description}: {line.quantity} at {line.unit_price}."
    span = f"{date_of(line.window.start)} to {date_of(line.window.end)}"
    earlier = " minus what earlier invoices billed" if line.cut_after else ""
    return (
        f"{line.feature_code}: {line.used} used from {span} up to cut {line.cut}, {line.included} included,"
        f" {line.overage} beyond at {line.unit_price} each{earlier}."
    )


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
        "amountMinor": line.amount_minor,
        "currency": invoice.currency,
        "unitPrice": line.unit_price,
        "quantity": line.quantity,
        "why": _why(line),
    }
    if line.window is None or line.feature_id is None:
        return told
    window = Window(line.feature_id, line.term, line.window.start)
    counted = totals.get(window)
    earlier = before.get(window, Billed(units=0, minor=0, cut=0))
    return {
        **told,
        "feature": line.feature_code,
        "windowStart": date_of(line.window.start).isoformat(),
        "windowEnd": date_of(line.window.end).isoformat(),
        "included": line.included,
        "usedAsBilled": line.used,
        "countedInRawAtThisCut": "0" if counted is None else decimal_units(counted.units),
        "overage": line.overage,
        "billedBeforeUnits": decimal_units(earlier.units),
        "billedBeforeMinor": earlier.minor,
        "cuts": f"after {line.cut_after}, up to {line.cut}",
    }
