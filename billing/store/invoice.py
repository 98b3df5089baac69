"""Invoices in SQL: written once, with their number and their outbox row in one transaction, and never changed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.money.amount_due import Amounts, too_large
from billing.money.closing import Billed, Window
from billing.money.invoice import (
    OUTSTANDING,
    PAID,
    VOID,
    Basis,
    Invoice,
    InvoiceDraft,
    InvoiceType,
    Line,
    LineKind,
    Source,
    source_of,
)
from billing.store import credit
from billing.store.credit import Balance
from kernel import ids
from kernel.errors import Rejected
from kernel.period import Period
from kernel.quantity import to_units

_i = tables.invoices.c
_l = tables.invoice_lines.c
INVOICE_CREATED: Final = "invoice.created"
OUTBOX_ID: Final = "obx_"


_COLUMNS: Final = [_i[name] for name in Invoice.__struct_fields__]


def _invoice(row: Row[Any]) -> Invoice:
    return msgspec.convert(row, Invoice, from_attributes=True)


async def write(connection: AsyncConnection, draft: InvoiceDraft, now_ms: int) -> Invoice:
    """Write an invoice with the organization's next number, its lines, and the outbox row that announces it.

    Account credit is applied and carried amounts are booked (`billing.money.amount_due`). One on which nothing is due
    is paid at once. Raises IntegrityError when an invoice of the same source exists (R-INV-11), Rejected
    `amount_too_large` (`amount_due.too_large`).
    """
    known = await credit.balances(connection, [draft.customer_id])
    [invoice] = await write_all(connection, [draft], now_ms, known)
    return invoice


async def write_all(
    connection: AsyncConnection,
    drafts: Sequence[InvoiceDraft],
    now_ms: int,
    known: Mapping[tuple[str, str], Balance],
) -> list[Invoice]:
    """Write invoices of one organization as `write` does, with numbers in their order; at most one a customer.

    `known` is what their customers have left and owe now (`credit.balances`).
    """
    if not drafts:
        return []
    for refusal in map(too_large, drafts):
        if refusal is not None:
            raise Rejected(refusal)
    assert len({draft.customer_id for draft in drafts}) == len(drafts), "one would change what another takes"
    first = await _take_numbers(connection, drafts[0].organization_id, len(drafts))
    made: list[tuple[Invoice, Sequence[Line]]] = []
    for number, draft in enumerate(drafts, start=first):
        amounts = credit.amounts_due(draft, known)
        made.append((_made(draft, amounts, number, now_ms), amounts.lines))
    values = [{**msgspec.structs.asdict(one), "basis": msgspec.to_builtins(one.basis)} for one, _ in made]
    await connection.execute(insert(tables.invoices), values)
    rows = [_line_row(one.id, at, line, now_ms) for one, lines in made for at, line in enumerate(lines)]
    if rows:
        await connection.execute(insert(tables.invoice_lines), rows)
    for invoice, lines in made:
        await credit.settle(connection, invoice, lines[0].description if lines else invoice.plan_name)
    await connection.execute(insert(tables.outbox), [_announced(one, now_ms) for one, _ in made])
    return [invoice for invoice, _ in made]


def _announced(invoice: Invoice, now_ms: int) -> dict[str, Any]:
    return {
        "id": ids.new_id(OUTBOX_ID, now_ms),
        "organization_id": invoice.organization_id,
        "kind": INVOICE_CREATED,
        "subject_id": invoice.id,
        "payload": {"invoiceId": invoice.id, "customerId": invoice.customer_id},
        "created_ms": now_ms,
    }


def _made(draft: InvoiceDraft, amounts: Amounts, number: int, now_ms: int) -> Invoice:
    assert draft.source is not None, "an invoice that is written has a source"
    return Invoice(
        id=ids.new_id(ids.INVOICE, now_ms),
        number=number,
        status=OUTSTANDING if amounts.due_minor else PAID,
        total_minor=amounts.total_minor,
        credit_applied_minor=amounts.credit_applied_minor,
        credited_minor=amounts.credited_minor,
        refunded_minor=amounts.refunded_minor,
        carried_in_minor=amounts.carried_in_minor,
        carried_out_minor=amounts.carried_out_minor,
        due_minor=amounts.due_minor,
        discount_minor=amounts.discount_minor,
        created_ms=now_ms,
        organization_id=draft.organization_id,
        customer_id=draft.customer_id,
        subscription_id=draft.subscription_id,
        cut=draft.cut,
        kind=draft.kind,
        currency=draft.currency,
        period_start_ms=draft.period_start_ms,
        period_end_ms=draft.period_end_ms,
        issued_ms=draft.issued_ms,
        due_ms=draft.due_ms,
        plan_name=draft.plan_name,
        source=draft.source,
        final=draft.final,
        basis=draft.basis or Basis(cut=draft.cut),
        days_remaining=draft.days_remaining,
        days_in_cycle=draft.days_in_cycle,
        memo=draft.memo,
        metadata=draft.metadata,
    )


async def set_status(connection: AsyncConnection, invoice: Invoice, status: str, now_ms: int) -> bool:
    """Set the status of an outstanding invoice; False when it is not outstanding."""
    change = update(tables.invoices).where(_i.id == invoice.id, _i.status == OUTSTANDING)
    changed = await connection.execute(change.values(status=status, voided_ms=now_ms if status == VOID else None))
    return changed.rowcount == 1


async def any_outstanding(connection: AsyncConnection, subscription_id: str) -> bool:
    """Tell whether an invoice of the subscription waits to be paid, but for adjustments: none makes it past due."""
    query = select(_i.id).where(
        _i.subscription_id == subscription_id, _i.status == OUTSTANDING, _i.kind != InvoiceType.ADJUSTMENT.value
    )
    return (await connection.execute(query.limit(1))).first() is not None


async def made_by(connection: AsyncConnection, source: str) -> Invoice | None:
    """Read the invoice of a source; None before it is written."""
    row = (await connection.execute(select(*_COLUMNS).where(_i.source == source))).first()
    return None if row is None else _invoice(row)


async def last_of_addon(connection: AsyncConnection, activation_id: str) -> Invoice | None:
    """Read the newest invoice of an add-on's activation (`sad_…`): of itself, or of a month; None without one."""
    own = source_of(Source.ADDON, activation_id)
    query = select(*_COLUMNS).where((_i.source == own) | _i.source.startswith(f"{own}:", autoescape=True))
    row = (await connection.execute(query.order_by(_i.number.desc()).limit(1))).first()
    return None if row is None else _invoice(row)


async def _take_numbers(connection: AsyncConnection, organization_id: str, count: int) -> int:
    """Take the organization's next numbers; returns the first. A transaction rolled back leaves no gap (R-INV-10)."""
    n = tables.invoice_numbers.c
    raised = await connection.execute(
        update(tables.invoice_numbers)
        .where(n.organization_id == organization_id)
        .values(last=n.last + count)
        .returning(n.last)
    )
    row = raised.first()
    if row is not None:
        return int(row.last) - count + 1
    await connection.execute(insert(tables.invoice_numbers).values(organization_id=organization_id, last=count))
    return 1


def _line_row(invoice_id: str, position: int, line: Line, now_ms: int) -> dict[str, Any]:
    row = msgspec.structs.asdict(line)
    window: Period | None = row.pop("window")
    return {
        **row,
        "id": ids.new_id(ids.INVOICE_LINE, now_ms),
        "invoice_id": invoice_id,
        "position": position,
        "line_type": line.line_type,
        "window_day": None if window is None else window.start,
        "window_end_day": None if window is None else window.end,
    }


async def read(connection: AsyncConnection, invoice_id: str, organization_id: str | None = None) -> Invoice | None:
    """Read an invoice, of one organization when that is given; None when there is none."""
    query = select(*_COLUMNS).where(_i.id == invoice_id)
    if organization_id is not None:
        query = query.where(_i.organization_id == organization_id)
    row = (await connection.execute(query)).first()
    return None if row is None else _invoice(row)


async def read_all(connection: AsyncConnection, invoice_ids: Sequence[str]) -> dict[str, Invoice]:
    """Read invoices by id."""
    rows = await connection.execute(select(*_COLUMNS).where(_i.id.in_(invoice_ids)))
    return {row.id: _invoice(row) for row in rows}


async def page(
    connection: AsyncConnection,
    organization_id: str,
    *,
    customer_id: str | None,
    subscription_id: str | None,
    status: str | None,
    limit: int,
    before: int | None,
) -> list[Invoice]:
    """List invoices newest first, those with a number below `before`."""
    wanted = {"customer_id": customer_id, "subscription_id": subscription_id, "status": status}
    query = select(*_COLUMNS).where(_i.organization_id == organization_id)
    query = query.where(*(_i[name] == value for name, value in wanted.items() if value is not None))
    if before is not None:
        query = query.where(_i.number < before)
    rows = await connection.execute(query.order_by(_i.number.desc()).limit(limit))
    return [_invoice(row) for row in rows]


async def lines(connection: AsyncConnection, invoice_id: str) -> list[tuple[str, Line]]:
    """Read an invoice's lines in order, each with its id."""
    query = select(tables.invoice_lines).where(_l.invoice_id == invoice_id).order_by(_l.position)
    return [(row.id, _line(row)) for row in await connection.execute(query)]


async def line(connection: AsyncConnection, invoice_id: str, line_id: str) -> Line | None:
    """Read one line of an invoice."""
    query = select(tables.invoice_lines).where(_l.invoice_id == invoice_id, _l.id == line_id)
    row = (await connection.execute(query)).first()
    return None if row is None else _line(row)


def _line(row: Row[Any]) -> Line:
    values = {name: getattr(row, name) for name in Line.__struct_fields__ if name not in ("window", "kind")}
    window = None if row.window_day is None else Period(row.window_day, row.window_end_day)
    return Line(**values, kind=LineKind(row.kind), window=window)


async def billed(
    connection: AsyncConnection,
    subscription_ids: Sequence[str],
    *,
    before_cut: int | None = None,
    void_before_ms: int | None = None,
) -> Mapping[str, dict[Window, Billed]]:
    """Sum what the invoices of subscriptions billed of each window so far, or by cuts below `before_cut`.

    A window without a feature is a pool's: its overdraft. Void are those that are, or were before `void_before_ms`.
    """
    query = (
        select(
            _i.subscription_id,
            _l.feature_id,
            _l.term,
            _l.window_day,
            _l.quantity,
            _l.amount_minor,
            _l.cut,
            _i.voided_ms,
        )
        .join(tables.invoice_lines, _l.invoice_id == _i.id)
        .where(_i.subscription_id.in_(subscription_ids), _l.window_day.is_not(None))
    )
    if before_cut is not None:
        query = query.where(_i.cut < before_cut)
    found: dict[str, dict[Window, Billed]] = {one: {} for one in subscription_ids}
    for row in await connection.execute(query):
        window = Window(row.feature_id or "", row.term, row.window_day)
        before = found[row.subscription_id].get(window, Billed(units=0, minor=0, cut=0))
        void = row.voided_ms is not None and (void_before_ms is None or row.voided_ms < void_before_ms)
        found[row.subscription_id][window] = Billed(
            units=before.units + to_units(row.quantity),
            minor=before.minor + row.amount_minor,
            cut=max(before.cut, row.cut),
            void_units=before.void_units + (to_units(row.quantity) if void else 0),
            void_minor=before.void_minor + (row.amount_minor if void else 0),
        )
    return found


async def holding(connection: AsyncConnection, line_id: str, organization_id: str | None = None) -> str | None:
    """Tell the invoice that has a line, of one organization when that is given; None when there is no such line."""
    query = select(_l.invoice_id).join(tables.invoices, _l.invoice_id == _i.id).where(_l.id == line_id)
    if organization_id is not None:
        query = query.where(_i.organization_id == organization_id)
    row = (await connection.execute(query)).first()
    return None if row is None else str(row.invoice_id)


async def of_event(
    connection: AsyncConnection, customer_id: str, feature_id: str | None, term: int, window_day: int, cut: int
) -> tuple[str, str] | None:
    """Tell the invoice, and its line, that covers a cut of a window; None when there is none.

    Without a feature it is a pool's overdraft.
    """
    query = (
        select(_i.id, _l.id.label("line_id"))
        .join(tables.invoice_lines, _l.invoice_id == _i.id)
        .where(
            _i.customer_id == customer_id,
            _l.feature_id.is_not_distinct_from(feature_id),
            _l.term == term,
            _l.window_day == window_day,
            _l.cut_after < cut,
            _l.cut >= cut,
        )
    )
    row = (await connection.execute(query)).first()
    return None if row is None else (str(row.id), str(row.line_id))
