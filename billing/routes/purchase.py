"""Purchases over HTTP: credit packs and top-ups of a subscription (contract rows 37 and 40)."""

from typing import Any, Final

from litestar import Response, Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.purchasing import buy_pack, top_up
from billing.money.invoice import Invoice
from billing.routes.shown import shown
from billing.worker.catching_up import caught_up
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog import store
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from kernel.errors import invalid
from kernel.limits import AMOUNT_MINOR_MAX
from kernel.wire import Wire

_RESOURCE: Final = "subscription"


class PackInput(Wire, frozen=True, kw_only=True):
    """Which pack to buy: `cpk_…` or its name."""

    credit_pack_id: str


class TopUpInput(Wire, frozen=True, kw_only=True):
    """How much to add: minor units of the subscription's currency."""

    amount: int


@post("/{subscription_id:str}/credits", status_code=200, summary="Buy credits", operation_class=documented(PackInput))
async def buy(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """The credits are there when this answers, and never expire (R-PACK-3, R-CREDIT-3)."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, PackInput)
    changed: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        pack = await store.load_pack(connection, caller.organization.id, asked.credit_pack_id)
        bought, invoice = await buy_pack(connection, caller.organization, subscription_id, pack, caller.real_ms)
        changed[:] = [bought.customer_id]
        members = {"credits": pack.credits, "creditPackId": bought.pack_id, "price": bought.price_minor}
        return {**caller.object("credit_grant"), **members, **_bought(bought.id, invoice)}

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, changed)))


@post(
    "/{subscription_id:str}/balance/topup",
    status_code=200,
    summary="Top up the balance",
    operation_class=documented(TopUpInput),
)
async def add_balance(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """The money is there when this answers; what is left of it is lost at the renewal (R-TOPUP-2, R-TOPUP-3)."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, TopUpInput)
    if asked.amount > AMOUNT_MINOR_MAX:
        raise invalid("amount", f"must be at most {AMOUNT_MINOR_MAX} minor units")
    changed: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        bought, invoice = await top_up(connection, caller.organization, subscription_id, asked.amount, caller.real_ms)
        changed[:] = [bought.customer_id]
        members = {"amount": bought.amount_minor, "currency": bought.currency}
        return {**caller.object("balance_topup"), **members, **_bought(bought.id, invoice)}

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, changed)))


def _bought(purchase_id: str, invoice: Invoice) -> dict[str, Any]:
    return {"id": purchase_id, "invoiceId": invoice.id, "amountDue": invoice.due_minor}


PURCHASES: Final = Router(
    path="/subscriptions", route_handlers=[buy, add_balance], dependencies=DEPENDENCIES, tags=["purchases"]
)
