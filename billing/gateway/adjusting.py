"""Adjusting: a correction that the seller makes by hand, as an invoice of its own (R-INV-5)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.invoice import Basis, Invoice, InvoiceDraft, InvoiceType, Source, source_of
from billing.purchase import adjustment_line
from billing.store import account as accounts
from billing.store import invoice as invoices
from billing.store import subscription as subscriptions
from catalog.definition import Organization
from catalog.store.customer import load_customer
from kernel import ids

ADJUSTMENT_ID: Final = "adj_"


class AdjustmentWish(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for: minor units of the customer's currency, negative to give a credit."""

    customer: str
    amount_minor: int
    description: str
    metadata: Mapping[str, Any]


async def adjust(
    connection: AsyncConnection, organization: Organization, wish: AdjustmentWish, real_ms: int
) -> Invoice:
    """Charge or credit a customer once, and return the invoice.

    A negative amount becomes account credit (AMB-19). The currency is that of the customer's newest subscription, else
    the organization's. Raises Rejected `customer_not_found`.
    """
    customer = await load_customer(connection, organization.id, wish.customer)
    newest = await subscriptions.current_of(connection, customer.id_text)
    account = await accounts.read(connection, customer.id_text)
    currency = (organization.currency if newest is None else newest.currency).lower()
    cut = 0 if account is None else account.cut
    now_ms = organization.now_ms(real_ms)
    line = adjustment_line(
        wish.description, wish.amount_minor, currency, term=0 if newest is None else newest.term, cut=cut
    )
    draft = InvoiceDraft(
        organization_id=organization.id_text,
        customer_id=customer.id_text,
        subscription_id=None if newest is None else newest.id,
        cut=cut,
        kind=InvoiceType.ADJUSTMENT,
        currency=currency,
        plan_name="" if newest is None else newest.plan_name,
        period_start_ms=now_ms,
        period_end_ms=now_ms,
        issued_ms=now_ms,
        due_ms=now_ms,
        lines=(line,),
        source=source_of(Source.ADJUSTMENT, ids.new_id(ADJUSTMENT_ID, real_ms)),
        basis=Basis(cut=cut, facts={"amountMinor": wish.amount_minor}),
        metadata=wish.metadata,
    )
    return await invoices.write(connection, draft, now_ms)
