"""Account credit over HTTP: give and list (contract rows 2 and 3)."""

from typing import Any, Final

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.routes.customer import customer_of
from billing.store import credit
from billing.store.credit import CREDIT_ID, AccountCredit, Origin
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.local_currency import asked_currency
from catalog.store.customer import load_customer
from kernel import ids
from kernel.errors import invalid
from kernel.limits import AMOUNT_MINOR_MAX
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "customer"


class CreditInput(Wire, frozen=True, kw_only=True):
    """Credit to give: `amount` in minor units of `currency`."""

    amount: int
    currency: str
    reason: str
    expires_at: str | None = None


@post("/{customer_ref:str}/credits", status_code=200, summary="Give credit", operation_class=documented(CreditInput))
async def give(request: HttpRequest, caller: NamedDependency[Caller], customer_ref: FromPath[str]) -> Response[bytes]:
    """Later invoices in the same currency use it, oldest first (R-CHG-11)."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, CreditInput)
    if not 0 < asked.amount <= AMOUNT_MINOR_MAX:
        raise invalid("amount", f"must be minor units from 1 to {AMOUNT_MINOR_MAX}")
    if not asked.reason.strip():
        raise invalid("reason", "must say why: invoices and explanations show it")
    own = caller.organization.currency.lower()
    currency = own if asked.currency.lower() == own else asked_currency(asked.currency)
    if asked.expires_at is not None:
        raise invalid("expiresAt", "is not supported: credit stays until it is used")

    async def work(connection: AsyncConnection) -> object:
        customer = await load_customer(connection, caller.organization.id, customer_ref)
        given = AccountCredit(
            id=ids.new_id(CREDIT_ID, caller.real_ms),
            organization_id=caller.organization.id_text,
            customer_id=customer.id_text,
            currency=currency,
            amount_minor=asked.amount,
            left_minor=asked.amount,
            reason=asked.reason,
            origin=Origin.API,
            invoice_id=None,
            created_ms=caller.now_ms,
        )
        await credit.grant(connection, given)
        return _members(caller, given)

    return await once(request, caller, work)


@get("/{customer_ref:str}/credits", summary="List a customer's credit, newest first")
async def list_all(caller: NamedDependency[Caller], customer_ref: FromPath[str]) -> Response[bytes]:
    """Show what each gave and what is left of it."""
    caller.must_read(_RESOURCE)
    customer = await customer_of(caller, customer_ref)
    async with caller.catalog.sql.snapshot() as connection:
        found = await credit.of_customer(connection, customer.id_text)
    return reply_list(caller.dialect, [_members(caller, one) for one in found])


def _members(caller: Caller, found: AccountCredit) -> dict[str, Any]:
    return {
        **caller.object("customer_credit"),
        "id": found.id,
        "amount": found.amount_minor,
        "appliedAmount": found.amount_minor - found.left_minor,
        "reversedAmount": 0,
        "revokedAmount": 0,
        "remainingAmount": found.left_minor,
        "currency": found.currency,
        "reason": found.reason,
        "source": "dashboard" if found.origin == Origin.ADJUSTMENT else found.origin,
        "expiresAt": None,
        "createdAt": instant_text(found.created_ms),
    }


CREDITS: Final = Router(
    path="/customers", route_handlers=[give, list_all], dependencies=DEPENDENCIES, tags=["invoices"]
)
