"""Payments over HTTP: a customer's card, what was charged (contract rows 112 and 114), and the card that is saved."""

from typing import Any, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.paying import PAYMENT_ID, keep_card
from billing.money.payment import Card, Payment
from billing.routes.customer import customer_of
from billing.store import payment as payments
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from catalog.store.customer import load_customer
from kernel import ids, wire
from kernel.errors import invalid, rejected
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "payment"
_QUERY: Final = {**PAGE, "customerId": "`cus_…` or the seller's own id"}
_DIGITS_MIN: Final = 12
_DIGITS_MAX: Final = 19


class CardInput(Wire, frozen=True, kw_only=True):
    """A test card's number; blanks within it are passed over. Expiry and security code are not looked at."""

    number: str


def card_of(asked: CardInput) -> Card:
    """Read a card. Raises Rejected `validation_error` for what is no number of a card."""
    number = asked.number.replace(" ", "")
    if not (number.isascii() and number.isdigit() and _DIGITS_MIN <= len(number) <= _DIGITS_MAX):
        raise invalid("number", f"must have {_DIGITS_MIN} to {_DIGITS_MAX} digits")
    return Card(number=number)


@post(
    "/{customer_ref:str}/payment-method",
    status_code=200,
    summary="Save a customer's test card",
    operation_class=documented(CardInput),
)
async def save(request: HttpRequest, caller: NamedDependency[Caller], customer_ref: FromPath[str]) -> Response[bytes]:
    """Sandbox only; it takes the place of the one before."""
    caller.must_write("customer")
    card = card_of(await read_body(request, CardInput))

    async def work(connection: AsyncConnection) -> object:
        customer = await load_customer(connection, caller.organization.id, customer_ref)
        saved = await keep_card(connection, caller.organization, customer.id_text, card, caller.real_ms)
        return {
            **caller.object("payment_method"),
            "customerId": saved.customer_id,
            "type": "card",
            "last4": saved.last4,
            "createdAt": instant_text(saved.created_ms),
        }

    return await once(request, caller, work)


@get("/", summary="List payments, newest first", operation_class=documented(query=_QUERY))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Filter by `customerId`."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    cursor, reference = query.get("cursor"), query.get("customerId")
    customer_id = None if reference is None else (await customer_of(caller, reference)).id_text
    after = None if cursor is None else wire.decode_cursor(cursor, int, str)
    async with caller.catalog.sql.snapshot() as connection:
        rows = await payments.page(
            connection,
            caller.organization.id_text,
            customer_id=customer_id,
            limit=limit + 1,
            after=None if after is None else (after[0], after[1]),
        )
    page, following = wire.cut_page(rows, limit, lambda one: (one.created_ms, one.id))
    return reply_list(caller.dialect, [_members(caller, one) for one in page], following)


@get("/{payment_id:str}", summary="Read a payment")
async def read(caller: NamedDependency[Caller], payment_id: FromPath[str]) -> Response[bytes]:
    """Read one."""
    caller.must_read(_RESOURCE)
    found = None
    if ids.is_id(PAYMENT_ID, payment_id):
        async with caller.catalog.sql.snapshot() as connection:
            found = await payments.read(connection, caller.organization.id_text, payment_id)
    if found is None:
        raise rejected("payment_not_found", f"There is no payment {payment_id}.")
    return reply(caller.dialect, _members(caller, found))


def _members(caller: Caller, payment: Payment) -> dict[str, Any]:
    return {
        **caller.object("payment"),
        "id": payment.id,
        "customerId": payment.customer_id,
        "invoiceId": payment.invoice_id,
        "kind": "charge",
        "status": payment.status.value,
        "failureReason": payment.failure,
        "provider": "commet",
        "amountSubtotal": payment.amount_minor,
        "taxAmount": 0,
        "amountTotal": payment.amount_minor,
        "currency": payment.currency,
        "description": payment.description,
        "metadata": None,
        "paymentContext": None,
        "last4": payment.last4,
        "url": None,
        "expiresAt": None,
        "createdAt": instant_text(payment.created_ms),
        "updatedAt": instant_text(payment.created_ms),
    }


PAYMENTS: Final = Router(
    path="/payments", route_handlers=[list_all, read], dependencies=DEPENDENCIES, tags=["payments"]
)
CARDS: Final = Router(path="/customers", route_handlers=[save], dependencies=DEPENDENCIES, tags=["payments"])
