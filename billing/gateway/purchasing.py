"""Purchasing: a credit pack or a top-up becomes an invoice, a payment and a grant, in one transaction.

Invariant: what is granted was paid for, or counts as paid in mode `none`; a declined card leaves nothing behind
(R-DUN-5). Source: sections 21 and 22 of the rules.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from aggregator.standing import usage_window
from billing.gateway.current import standing
from billing.gateway.paying import must_collect
from billing.life.subscription import Subscription
from billing.money.invoice import Basis, Invoice, InvoiceDraft, InvoiceType, Line, Source, source_of
from billing.sale.purchase import (
    PACK_CURRENCY,
    PackPurchase,
    TopUpPurchase,
    pack_line,
    refused_pack,
    refused_top_up,
    top_up_line,
)
from billing.store import account as accounts
from billing.store import invoice as invoices
from billing.store import purchase as purchases
from billing.store import subscription as subscriptions
from catalog.definition import CreditPack, Organization
from catalog.terms import Snapshot, Terms
from kernel import ids
from kernel.errors import Refusal, Rejected, rejected
from kernel.period import day_of_us
from kernel.quantity import canonical

PURCHASE_ID: Final = "pur_"


class _Buyer(msgspec.Struct, frozen=True, kw_only=True):
    """Who buys, and where it counts now."""

    subscription: Subscription
    snapshot: Snapshot
    day: int
    now_ms: int

    @property
    def terms(self) -> Terms:
        """Tell the terms in force; there are some once buying was not refused."""
        terms = self.snapshot.terms_on(self.day)
        assert terms is not None, "a refusal came first"
        return terms

    @property
    def window_day(self) -> int:
        """Tell the first day of the draw window in which a purchase counts (R-TOPUP-3, ADR 9)."""
        return usage_window(self.snapshot, self.terms, self.day).start


async def buy_pack(
    connection: AsyncConnection, organization: Organization, subscription_id: str, pack: CreditPack, real_ms: int
) -> tuple[PackPurchase, Invoice]:
    """Buy a credit pack for a subscription's customer.

    Raises Rejected: `subscription_not_found`, what `refused_pack` says, `no_payment_method`, `charge_failed`.
    """
    buyer = await _buyer(connection, organization, subscription_id, real_ms)
    _refuse(refused_pack(buyer.snapshot, buyer.day, pack))
    purchase_id = ids.new_id(PURCHASE_ID, real_ms)
    line = pack_line(
        pack.name, canonical(pack.credits), pack.price_minor, term=buyer.terms.number, cut=buyer.snapshot.cut
    )
    facts = {"pack": pack.id, "credits": canonical(pack.credits), "priceMinor": pack.price_minor}
    invoice = await _invoiced(
        connection, organization, buyer, InvoiceType.CREDIT_PURCHASE, PACK_CURRENCY, line, purchase_id, facts, real_ms
    )
    bought = PackPurchase(
        id=purchase_id,
        organization_id=organization.id_text,
        customer_id=buyer.subscription.customer_id,
        subscription_id=subscription_id,
        pack_id=pack.id,
        pack_name=pack.name,
        credits=canonical(pack.credits),
        price_minor=pack.price_minor,
        term=buyer.terms.number,
        window_day=buyer.window_day,
        invoice_id=invoice.id,
        created_ms=buyer.now_ms,
    )
    await purchases.add_pack(connection, bought)
    await accounts.raise_rev(connection, [bought.customer_id])
    return bought, invoice


async def top_up(
    connection: AsyncConnection, organization: Organization, subscription_id: str, amount_minor: int, real_ms: int
) -> tuple[TopUpPurchase, Invoice]:
    """Top up a subscription's balance by minor units of its currency.

    Raises Rejected: `subscription_not_found`, what `refused_top_up` says, `no_payment_method`, `charge_failed`.
    """
    buyer = await _buyer(connection, organization, subscription_id, real_ms)
    _refuse(refused_top_up(buyer.snapshot, buyer.day, amount_minor))
    purchase_id = ids.new_id(PURCHASE_ID, real_ms)
    currency = buyer.subscription.currency
    line = top_up_line(amount_minor, currency, term=buyer.terms.number, cut=buyer.snapshot.cut)
    facts = {"amountMinor": amount_minor}
    invoice = await _invoiced(
        connection, organization, buyer, InvoiceType.BALANCE_TOPUP, currency, line, purchase_id, facts, real_ms
    )
    bought = TopUpPurchase(
        id=purchase_id,
        organization_id=organization.id_text,
        customer_id=buyer.subscription.customer_id,
        subscription_id=subscription_id,
        amount_minor=amount_minor,
        currency=currency,
        term=buyer.terms.number,
        window_day=buyer.window_day,
        invoice_id=invoice.id,
        created_ms=buyer.now_ms,
    )
    await purchases.add_top_up(connection, bought)
    await accounts.raise_rev(connection, [bought.customer_id])
    return bought, invoice


async def _buyer(connection: AsyncConnection, organization: Organization, subscription_id: str, real_ms: int) -> _Buyer:
    found = None
    if ids.is_id(ids.SUBSCRIPTION, subscription_id):
        found = await subscriptions.read(connection, subscription_id, organization.id_text)
    if found is None:
        raise rejected("subscription_not_found", f"There is no subscription {subscription_id}.")
    now_ms = organization.now_ms(real_ms)
    status = standing(found, now_ms).status
    snapshot = await accounts.snapshot(connection, found.customer_id)
    if snapshot is None or snapshot.terms is None or snapshot.terms.subscription != found.id:
        raise rejected("subscription_not_active", f"Subscription {subscription_id} is not the customer's current one.")
    snapshot = msgspec.structs.replace(snapshot, status=status)  # what has ended and is not closed buys nothing
    return _Buyer(subscription=found, snapshot=snapshot, day=day_of_us(now_ms * 1000), now_ms=now_ms)


def _refuse(refused: Refusal | None) -> None:
    if refused is not None:
        raise Rejected(refused)


async def _invoiced(
    connection: AsyncConnection,
    organization: Organization,
    buyer: _Buyer,
    kind: InvoiceType,
    currency: str,
    line: Line,
    purchase_id: str,
    facts: Mapping[str, Any],
    real_ms: int,
) -> Invoice:
    """Write the purchase's invoice and charge it."""
    draft = InvoiceDraft(
        organization_id=organization.id_text,
        customer_id=buyer.subscription.customer_id,
        subscription_id=buyer.subscription.id,
        cut=buyer.snapshot.cut,
        kind=kind,
        currency=currency,
        plan_name=buyer.subscription.plan_name,
        period_start_ms=buyer.now_ms,
        period_end_ms=buyer.now_ms,
        issued_ms=buyer.now_ms,
        due_ms=buyer.now_ms,
        lines=(line,),
        source=source_of(Source.PURCHASE, purchase_id),
        basis=Basis(cut=buyer.snapshot.cut, terms=(buyer.terms.number,), facts=facts),
    )
    invoice = await invoices.write(connection, draft, buyer.now_ms)
    await must_collect(connection, organization, invoice, real_ms)
    return invoice
