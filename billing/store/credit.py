"""Account credit and carried amounts in SQL: what a customer has with the seller, and what is still to be charged.

Invariants: of every credit, granted = applied + left; an amount that is carried out is carried in by one later invoice
that is not void.
All functions run in the transaction that writes the invoice. Source: R-CHG-11, R-INV-12; ADR 9.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from billing import tables
from billing.money.amount_due import Amounts, Credit, amounts_of, oldest_first
from billing.money.invoice import Invoice, InvoiceDraft
from kernel import ids
from kernel.money import Money

CREDIT_ID: Final = "crd_"

_c = tables.account_credits.c
_k = tables.carried_amounts.c


class Origin(StrEnum):
    """Where an account credit comes from (contract 6, CustomerCredit source)."""

    API = "api"
    PLAN_CHANGE = "plan_change"
    ADJUSTMENT = "adjustment"


class AccountCredit(msgspec.Struct, frozen=True, kw_only=True):
    """A credit as its row has it; amounts in minor units.

    `invoice_id` or `close_id` names what granted it; neither when the seller did.
    """

    id: str
    organization_id: str
    customer_id: str
    currency: str
    amount_minor: int
    left_minor: int
    reason: str
    origin: str
    invoice_id: str | None
    created_ms: int
    close_id: str | None = None


_COLUMNS: Final = [_c[name] for name in AccountCredit.__struct_fields__]


def of_top_ups_left(organization_id: str, customer_id: str, amount: Money, close_id: str, now_ms: int) -> AccountCredit:
    """Make the credit that top-ups become when no balance takes them over; it names its close (AMB-20)."""
    return AccountCredit(
        id=ids.new_id(CREDIT_ID, now_ms),
        organization_id=organization_id,
        customer_id=customer_id,
        currency=amount.currency,
        amount_minor=amount.minor,
        left_minor=amount.minor,
        reason="Top-ups left at a change of plan",
        origin=Origin.PLAN_CHANGE,
        invoice_id=None,
        created_ms=now_ms,
        close_id=close_id,
    )


async def grant(connection: AsyncConnection, credit: AccountCredit) -> None:
    """Give a customer credit; it is the newest. Raises IntegrityError when its close granted it already."""
    last = select(func.coalesce(func.max(_c.number), 0)).where(_c.customer_id == credit.customer_id)
    number = (await connection.execute(last)).scalar_one() + 1
    await connection.execute(insert(tables.account_credits).values(**msgspec.structs.asdict(credit), number=number))


async def of_customer(connection: AsyncConnection, customer_id: str) -> list[AccountCredit]:
    """List a customer's credits, newest first."""
    query = select(*_COLUMNS).where(_c.customer_id == customer_id).order_by(_c.number.desc())
    return [AccountCredit(**row._asdict()) for row in await connection.execute(query)]


async def granted_by(connection: AsyncConnection, close_id: str) -> AccountCredit | None:
    """Read the credit that a close granted without an invoice; None when it granted none."""
    row = (await connection.execute(select(*_COLUMNS).where(_c.close_id == close_id))).first()
    return None if row is None else AccountCredit(**row._asdict())


async def taken_by(connection: AsyncConnection, invoice_id: str) -> list[tuple[str, int]]:
    """List what an invoice took of each account credit, in minor units, oldest credit first."""
    a = tables.credit_applications.c
    query = (
        select(a.credit_id, a.amount_minor)
        .join(tables.account_credits, _c.id == a.credit_id)
        .where(a.invoice_id == invoice_id)
        .order_by(_c.number)
    )
    return [(row.credit_id, int(row.amount_minor)) for row in await connection.execute(query)]


async def left_of(connection: AsyncConnection, customer_id: str, currency: str) -> int:
    """Sum what a customer has left, in minor units of the currency."""
    return sum(one.left_minor for one in await _left(connection, customer_id, currency))


class Balance(msgspec.Struct, kw_only=True):
    """What a customer has left and owes in one currency, in minor units."""

    credit_minor: int = 0
    carried_minor: int = 0


async def balances(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[tuple[str, str], Balance]:
    """Read what customers have left and owe, by customer and currency; absent where there is neither."""
    found: dict[tuple[str, str], Balance] = {}
    left = select(_c.customer_id, _c.currency, func.sum(_c.left_minor))
    left = left.where(_c.customer_id.in_(customer_ids), _c.left_minor > 0).group_by(_c.customer_id, _c.currency)
    for customer_id, currency, minor in await connection.execute(left):
        found.setdefault((customer_id, currency), Balance()).credit_minor = int(minor)
    owed = select(_k.customer_id, _k.currency, func.sum(_k.amount_minor))
    owed = owed.where(_k.customer_id.in_(customer_ids), _k.taken_by.is_(None)).group_by(_k.customer_id, _k.currency)
    for customer_id, currency, minor in await connection.execute(owed):
        found.setdefault((customer_id, currency), Balance()).carried_minor = int(minor)
    return found


async def due_of(connection: AsyncConnection, draft: InvoiceDraft, more_minor: int = 0) -> Amounts:
    """Decide a draft's amounts from what its customer has left and owes now, in the draft's currency.

    `more_minor` is credit that would be granted before the draft is written.
    """
    return amounts_due(draft, await balances(connection, [draft.customer_id]), more_minor)


def amounts_due(draft: InvoiceDraft, known: Mapping[tuple[str, str], Balance], more_minor: int = 0) -> Amounts:
    """Decide a draft's amounts from balances of its customer, and others, that the transaction has read."""
    balance = known.get((draft.customer_id, draft.currency), Balance())
    return amounts_of(draft, credit_minor=more_minor + balance.credit_minor, carried_minor=balance.carried_minor)


async def settle(connection: AsyncConnection, invoice: Invoice, reason: str) -> None:
    """Book what an invoice applied, granted, took over and left; `reason` names a credit that it grants."""
    if invoice.credit_applied_minor:
        left = await _left(connection, invoice.customer_id, invoice.currency)
        for part in oldest_first(left, invoice.credit_applied_minor):
            values = {"credit_id": part.id, "invoice_id": invoice.id, "amount_minor": part.left_minor}
            await connection.execute(insert(tables.credit_applications).values(**values))
            change = update(tables.account_credits).where(_c.id == part.id)
            await connection.execute(change.values(left_minor=_c.left_minor - part.left_minor))
    if invoice.credited_minor:
        await grant(connection, _granted_by(invoice, reason))
    if invoice.carried_in_minor:
        taken = update(tables.carried_amounts).where(*_waiting(invoice)).values(taken_by=invoice.id)
        await connection.execute(taken)
    if invoice.carried_out_minor:
        await connection.execute(
            insert(tables.carried_amounts).values(
                invoice_id=invoice.id,
                organization_id=invoice.organization_id,
                customer_id=invoice.customer_id,
                currency=invoice.currency,
                amount_minor=invoice.carried_out_minor,
            )
        )


async def give_back(connection: AsyncConnection, invoice: Invoice) -> None:
    """Undo what an outstanding invoice applied and took over, as it is voided: the next invoice finds it again."""
    a = tables.credit_applications.c
    used = select(a.credit_id, a.amount_minor).where(a.invoice_id == invoice.id)
    for credit_id, amount_minor in (await connection.execute(used)).all():
        change = update(tables.account_credits).where(_c.id == credit_id)
        await connection.execute(change.values(left_minor=_c.left_minor + amount_minor))
    await connection.execute(delete(tables.credit_applications).where(a.invoice_id == invoice.id))
    await connection.execute(update(tables.carried_amounts).where(_k.taken_by == invoice.id).values(taken_by=None))


def _granted_by(invoice: Invoice, reason: str) -> AccountCredit:
    try:
        origin = Origin(invoice.kind)
    except ValueError:
        origin = Origin.ADJUSTMENT
    return AccountCredit(
        id=ids.new_id(CREDIT_ID, invoice.created_ms),
        organization_id=invoice.organization_id,
        customer_id=invoice.customer_id,
        currency=invoice.currency,
        amount_minor=invoice.credited_minor,
        left_minor=invoice.credited_minor,
        reason=reason,
        origin=origin,
        invoice_id=invoice.id,
        created_ms=invoice.created_ms,
    )


async def _left(connection: AsyncConnection, customer_id: str, currency: str) -> list[Credit]:
    query = select(_c.number, _c.id, _c.left_minor).where(
        _c.customer_id == customer_id, _c.currency == currency, _c.left_minor > 0
    )
    return [Credit(row.number, row.id, row.left_minor) for row in await connection.execute(query)]


def _waiting(of: InvoiceDraft | Invoice) -> list[Any]:
    """Select what waits to be charged of a customer, in one currency."""
    return [_k.customer_id == of.customer_id, _k.currency == of.currency, _k.taken_by.is_(None)]
