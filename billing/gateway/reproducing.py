"""Making an invoice again from what it stores: its source, cut and basis, the frozen terms, and RAW's rows."""

from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.store import UsageStore
from billing.money.addon_invoice import made_again
from billing.money.closing import plan_close
from billing.money.drawing import draws_of
from billing.money.first_invoice import first_invoice
from billing.money.invoice import Basis, Invoice, InvoiceDraft, InvoiceType, Line, Source
from billing.money.reproduction import Reproduction, as_it_stood, compared, not_made_again
from billing.sale.purchase import adjustment_line, pack_line, top_up_line
from billing.sale.seat_billing import lines_of_close
from billing.sale.switching import charged_change
from billing.store import addon as addons
from billing.store import close as closes
from billing.store import invoice as invoices
from billing.store import purchase, terms
from billing.store import seat as seats
from billing.store import subscription as subscriptions
from billing.store.change import held_at
from billing.worker.changing import changed_by
from billing.worker.settled import counted_at
from billing.worker.settling import close_of, sourced
from catalog.definition import DayCount, UpgradeCharge
from catalog.store.organization import load_organization
from kernel import ids
from kernel.engine.sql.base import Sql
from kernel.errors import rejected
from kernel.period import DAY_MS


async def reproduced(sql: Sql, usage_store: UsageStore, invoice_id: str) -> Reproduction:
    """Make an invoice again and compare. Raises Rejected `invoice_not_found`.

    An earlier one that was voided at the very instant of it may have been void before or after.
    """
    async with sql.snapshot() as connection:
        invoice = await invoices.read(connection, invoice_id)
        if invoice is None:
            raise rejected("invoice_not_found", f"There is no invoice {invoice_id}.")
        lines = [line for _, line in await invoices.lines(connection, invoice_id)]
        source, _, made_by = invoice.source.partition(":")
        if source in (Source.CLOSE, Source.CHANGE):
            make = _of_close if source == Source.CLOSE else _of_change
            before = compared(
                invoice, lines, await make(connection, usage_store, invoice, lines, made_by, invoice.created_ms + 1)
            )
            if before.verdict == "identical":
                return before
            draft = await make(connection, usage_store, invoice, lines, made_by, invoice.created_ms)
        elif source == Source.START:
            draft = await _of_start(connection, invoice, lines, made_by)
        elif source == Source.PURCHASE:
            draft = _flat(invoice, await _of_purchase(connection, invoice))
        elif source == Source.ADJUSTMENT:
            draft = _flat(invoice, _of_adjustment(invoice, lines))
        elif source == Source.ADDON:
            draft = await _of_addon(connection, invoice, lines, made_by)
        else:
            return not_made_again(invoice, lines)
    return compared(invoice, lines, draft)


async def _of_close(
    connection: AsyncConnection,
    usage_store: UsageStore,
    invoice: Invoice,
    lines: Sequence[Line],
    close_id: str,
    void_ms: int,
) -> InvoiceDraft | None:
    """Close the same cut once more; which names the plan had then, and its currency, the invoice says."""
    found = await closes.read_all(connection, [close_id])
    subscription = None if not found else await subscriptions.read(connection, found[0].subscription_id)
    if subscription is None:
        return None
    [row] = found
    subscription = msgspec.structs.replace(subscription, plan_name=invoice.plan_name, currency=invoice.currency)
    periods = as_it_stood(await terms.rating(connection, subscription.id), invoice, lines)
    value, customer = close_of(row, subscription), row.customer_id
    counted = (await counted_at(usage_store, row.organization_id, {customer: row.cut}))[customer]
    top_ups = (await purchase.top_ups_of(connection, [customer]))[customer]
    seat_lines = lines_of_close(value, periods, (await seats.history(connection, [customer]))[customer])
    billed = await invoices.billed(connection, [subscription.id], before_cut=row.cut, void_before_ms=void_ms)
    draws = draws_of(subscription, periods, counted.drawn, top_ups)
    draft = plan_close(value, periods, counted.totals, billed[subscription.id], draws, seat_lines)
    return None if draft is None else sourced(draft, row, seat_lines, counted)


async def _of_change(
    connection: AsyncConnection,
    usage_store: UsageStore,
    invoice: Invoice,
    lines: Sequence[Line],
    close_id: str,
    void_ms: int,
) -> InvoiceDraft | None:
    """Change the plan once more at the same cut, with what was paid and how the seller counted then (R-CHG-4)."""
    found = await closes.read_all(connection, [close_id])
    organization = await load_organization(connection, ids.id_bytes(invoice.organization_id))
    subscription = None if not found else await subscriptions.read(connection, found[0].subscription_id)
    if subscription is None or organization is None:
        return None
    [row], facts = found, invoice.basis.facts
    periods = as_it_stood(await terms.rating(connection, subscription.id), invoice, lines)
    by_begin = {(one.term, one.since_day): one for one in periods}
    current = by_begin.get((invoice.basis.terms[0], facts["sinceDay"]))
    following = by_begin.get((invoice.basis.terms[-1], row.through_day))
    if current is None or following is None:
        return None
    counted = (await counted_at(usage_store, row.organization_id, {row.customer_id: row.cut}))[row.customer_id]
    held = await held_at(connection, subscription, current, counted.totals, counted.drawn, row.end_us, periods)
    billed = await invoices.billed(connection, [subscription.id], before_cut=row.cut, void_before_ms=void_ms)
    held = msgspec.structs.replace(held, billed=billed[subscription.id], parts_paid=facts["partsPaid"])
    policy = msgspec.structs.replace(
        organization,
        day_count=DayCount(facts["dayCount"]),
        upgrade_charge=UpgradeCharge(facts["upgradeCharge"]),
    )
    draft = charged_change(close_of(row, subscription), current, following, held, policy)
    return changed_by(draft, row, counted)


async def _of_addon(
    connection: AsyncConnection, invoice: Invoice, lines: Sequence[Line], made_by: str
) -> InvoiceDraft | None:
    """Switch an add-on on once more, or charge its month again, under the terms that stood then."""
    addon = await addons.read(connection, made_by.partition(":")[0])
    if addon is None:
        return None
    periods = as_it_stood(await terms.of(connection, addon.subscription_id), invoice, lines)
    return made_again(addon, made_by, periods, invoice.basis, invoice.plan_name)


async def _of_start(
    connection: AsyncConnection, invoice: Invoice, lines: Sequence[Line], made_by: str
) -> InvoiceDraft | None:
    """Charge the first period once more, or one that began after a pause, with the seats that it began with."""
    assert invoice.subscription_id is not None, "its source is a subscription"
    subscription = await subscriptions.read(connection, invoice.subscription_id)
    periods = as_it_stood(await terms.of(connection, invoice.subscription_id), invoice, lines)
    place = (*invoice.basis.terms, invoice.period_start_ms // DAY_MS)
    first = next((one for one in periods if (one.term, one.since_day) == place), None)
    if subscription is None or first is None:
        return None
    resumed = ":" in made_by
    return first_invoice(subscription, first, invoice.basis.seats, invoice.basis.cut, resumed=resumed)


async def _of_purchase(connection: AsyncConnection, invoice: Invoice) -> Line | None:
    basis, at = invoice.basis, {"term": max(invoice.basis.terms, default=0), "cut": invoice.basis.cut}
    if invoice.kind is InvoiceType.BALANCE_TOPUP:
        return top_up_line(basis.facts["amountMinor"], invoice.currency, **at)
    name = await purchase.pack_name(connection, invoice.id)
    if name is None:
        return None
    return pack_line(name, basis.facts["credits"], basis.facts["priceMinor"], **at)


def _of_adjustment(invoice: Invoice, lines: Sequence[Line]) -> Line | None:
    """Adjust once more; the seller's own words, and the terms that stood then, are on the line."""
    if not lines:
        return None
    amount_minor = invoice.basis.facts["amountMinor"]
    first = lines[0]
    return adjustment_line(first.description, amount_minor, invoice.currency, term=first.term, cut=invoice.basis.cut)


def _flat(invoice: Invoice, line: Line | None) -> InvoiceDraft | None:
    """Put a line on an invoice of its moment; when that was, and why, no other row says."""
    if line is None:
        return None
    return InvoiceDraft(
        organization_id=invoice.organization_id,
        customer_id=invoice.customer_id,
        subscription_id=invoice.subscription_id,
        cut=invoice.basis.cut,
        kind=invoice.kind,
        currency=invoice.currency,
        plan_name=invoice.plan_name,
        period_start_ms=invoice.issued_ms,
        period_end_ms=invoice.issued_ms,
        issued_ms=invoice.issued_ms,
        due_ms=invoice.issued_ms,
        lines=(line,),
        source=invoice.source,
        basis=Basis(cut=invoice.basis.cut, terms=invoice.basis.terms, facts=invoice.basis.facts),
        metadata=invoice.metadata,
        refunded=bool(invoice.basis.facts.get("refunded")),
    )
