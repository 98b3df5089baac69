"""Completing a checkout over HTTP: the customer's step, so that the token in the path is the only key to it."""

from typing import Any, Final, cast

from litestar import Response, Router, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from billing.gateway.paying import complete_checkout
from billing.gateway.subscribing import activate, choose_currency
from billing.routes.payment import CardInput, card_of
from billing.routes.shown import shown
from billing.store import subscription as subscriptions
from billing.worker.relay import Relay
from catalog.gateway import Catalog
from catalog.gateway.http import HttpRequest, read_body, reply
from catalog.gateway.openapi import documented
from catalog.local_currency import asked_currency
from catalog.store.organization import load_organization
from kernel import ids, wire
from kernel.errors import rejected


class CheckoutInput(CardInput, frozen=True, kw_only=True):
    """The card that pays, and perhaps another `currency` than the one of the billing address (R-REG-4)."""

    currency: str | None = None


@post("/{token:str}", status_code=200, summary="Complete a checkout", operation_class=documented(CheckoutInput))
async def complete(
    request: HttpRequest, catalog: NamedDependency[Catalog], relay: NamedDependency[Relay], token: FromPath[str]
) -> Response[bytes]:
    """Save the card, charge what is due now, and begin the subscription: all of it or nothing (R-SUB-12, R-DUN-5)."""
    asked = await read_body(request, CheckoutInput)
    card, currency = card_of(asked), None if asked.currency is None else asked_currency(asked.currency)
    async with catalog.sql.transaction() as connection:
        waiting = await subscriptions.by_checkout(connection, token)
        if waiting is None:
            raise rejected("not_found", "This checkout is completed, or its link is not valid any more.")
        organization = await load_organization(connection, ids.id_bytes(waiting.organization_id))
        assert organization is not None, "an organization is never removed"
        # The token is the only key here: whose request it is, for the record of a refusal.
        told = cast("dict[str, Any]", request.scope)
        told[wire.SCOPE_ORGANIZATION], told[wire.SCOPE_CUSTOMER] = organization, waiting.customer_id
        real_ms = catalog.clock.now_ms()
        if currency is not None:
            waiting = await choose_currency(connection, organization, waiting, currency, real_ms)
        begun = await complete_checkout(connection, organization, waiting, card, activate, real_ms)
    headers = await shown(relay, [begun.customer_id])()
    members = {
        "object": "checkout_session",
        "livemode": organization.livemode,
        "subscriptionId": begun.id,
        "status": begun.status.value,
        "currency": begun.currency,
        "successUrl": begun.success_url,
    }
    dialect = wire.dialect_of(request.url.path, request.headers.get("commet-version"))
    return reply(dialect, members, headers=headers)


CHECKOUT: Final = Router(path="/checkout", route_handlers=[complete], tags=["checkout"])
