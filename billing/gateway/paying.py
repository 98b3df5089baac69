"""Paying: a card that is kept, an invoice that is charged, a checkout that is completed.

Invariants: an invoice is paid once; where a payment is the condition of something, a declined card leaves nothing
behind (R-DUN-5, R-CHG-8), because charge, invoice and what is bought are one transaction.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.canceling import carry_out
from billing.gateway.simulator import gateway_of
from billing.life.lifecycle import Command, Decision, decide
from billing.life.subscription import Subscription
from billing.life.turning import replaced
from billing.money.invoice import OUTSTANDING, PAID, VOID, Invoice, Source, source_of
from billing.money.payment import Card, Charge, Collected, Payment, PaymentStatus, SavedCard
from billing.store import invoice as invoices
from billing.store import payment as payments
from billing.store.begin import announce
from catalog.definition import Organization
from kernel import ids
from kernel.errors import invalid, rejected

PAYMENT_ID: Final = "pay_"

# Begins a subscription whose checkout is completed, at the organization's now and the real one, and returns it as it
# then is.
Begin = Callable[[AsyncConnection, Subscription, int, int], Awaitable[Subscription]]


async def keep_card(
    connection: AsyncConnection, organization: Organization, customer_id: str, card: Card, real_ms: int
) -> SavedCard:
    """Save a customer's card in place of the one before.

    Raises Rejected: `sandbox_only` in production (R-ENV-6), `validation_error` for a number that is no documented test
    card, `payment_failed` in mode `none`, which takes no cards.
    """
    if organization.livemode:
        raise rejected("sandbox_only", "Test cards are for the sandbox alone.")
    gateway = gateway_of(organization)
    if gateway is None:
        raise rejected("payment_failed", "The organization's payments mode is none: it takes no cards.")
    token = await gateway.keep(card)
    if token is None:
        raise invalid("number", "is none of the documented test cards")
    saved = SavedCard(customer_id=customer_id, token=token, last4=card.last4, created_ms=organization.now_ms(real_ms))
    await payments.save_card(connection, saved)
    return saved


async def collect(connection: AsyncConnection, organization: Organization, invoice: Invoice, real_ms: int) -> Collected:
    """Charge what is due of an invoice to its customer's card, and tell what came of it.

    A failed charge is kept as a payment; the invoice then stays outstanding. For a renewal, whose failure is a state of
    the subscription; what a payment is the condition of asks `must_collect`.
    """
    gateway = gateway_of(organization)
    if gateway is None or not invoice.due_minor:
        return Collected.UNASKED
    if invoice.status == PAID:
        return Collected.PAID
    card = await payments.card_of(connection, invoice.customer_id)
    if card is None:
        return Collected.NO_CARD
    payment_id = ids.new_id(PAYMENT_ID, real_ms)
    charge = Charge(id=payment_id, token=card.token, amount_minor=invoice.due_minor, currency=invoice.currency)
    failure = await gateway.charge(charge)
    payment = Payment(
        id=payment_id,
        organization_id=invoice.organization_id,
        customer_id=invoice.customer_id,
        invoice_id=invoice.id,
        status=PaymentStatus.SUCCEEDED if failure is None else PaymentStatus.FAILED,
        amount_minor=invoice.due_minor,
        currency=invoice.currency,
        last4=card.last4,
        description=f"{invoice.kind} {invoice.number}",
        failure=failure,
        created_ms=organization.now_ms(real_ms),
    )
    await payments.record(connection, payment)
    return Collected.PAID if failure is None else Collected.DECLINED


def unpaid(organization: Organization, invoice: Invoice) -> bool:
    """Tell whether an invoice was not paid; in mode `none` one that is not void counts as paid (decision 9)."""
    return invoice.status == VOID or (invoice.status == OUTSTANDING and gateway_of(organization) is not None)


async def past_due(connection: AsyncConnection, subscription: Subscription, now_ms: int) -> None:
    """Say that a renewal's charge failed: access stays (R-DUN-1). One that is over, or past due already, stays so.

    A scheduled pause waits until it is paid: while it is past due the renewal comes, and is announced (R-DUN-7).
    """
    decision = decide(subscription, Command.FAIL, now_ms * 1000)
    if isinstance(decision, Decision):
        after = replaced(subscription, status=decision.status, updated_ms=now_ms)
        await carry_out(connection, subscription, after)
        if after.pause is not None:
            await announce(connection, after)


async def must_collect(connection: AsyncConnection, organization: Organization, invoice: Invoice, real_ms: int) -> None:
    """Charge an invoice that something waits for. Raises Rejected, which undoes the transaction.

    `charge_failed` when the card declines, `no_payment_method` when there is none (R-DUN-5, R-FREE-4).
    """
    match await collect(connection, organization, invoice, real_ms):
        case Collected.DECLINED:
            raise rejected("charge_failed", "The card was declined: nothing has changed.")
        case Collected.NO_CARD:
            raise rejected("no_payment_method", "The customer has no saved card: save one first.")
        case Collected.PAID | Collected.UNASKED:
            return


async def complete_checkout(
    connection: AsyncConnection,
    organization: Organization,
    subscription: Subscription,
    card: Card,
    begin: Begin,
    real_ms: int,
) -> Subscription:
    """Save the card, begin the subscription and charge its start invoice, all or nothing (R-SUB-12, R-TRIAL-3).

    A trial, and a first period that costs nothing, have no charge (R-DISC-10). Raises Rejected like `keep_card` and
    `must_collect`.
    """
    await keep_card(connection, organization, subscription.customer_id, card, real_ms)
    begun = await begin(connection, subscription, organization.now_ms(real_ms), real_ms)
    invoice = await invoices.made_by(connection, source_of(Source.START, subscription.id))
    if invoice is not None:
        await must_collect(connection, organization, invoice, real_ms)
    return begun
