"""A checkout over HTTP: the customer's step, so that the token in the path is the only key to it.

It stands where `checkoutUrl` leads, and under each prefix of the API: GET shows what is to be paid, POST pays it.
"""

from typing import Any, Final, cast

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.checking_out import quoted
from billing.gateway.paying import complete_checkout
from billing.gateway.subscribing import activate, choose, lapse
from billing.life.subscription import Subscription
from billing.life.turning import lapsed
from billing.routes.payment import CardInput, card_of
from billing.routes.shown import shown
from billing.store import subscription as subscriptions
from billing.wire.invoice import invoice_details
from billing.worker.catching_up import caught_up
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.definition import Organization
from catalog.gateway import Catalog
from catalog.gateway.http import HttpRequest, read_body, reply
from catalog.gateway.openapi import documented
from catalog.local_currency import asked_currency
from catalog.store.organization import load_organization
from kernel import ids, wire
from kernel.errors import rejected
from kernel.period import DAY_MS, instant_text


@get("/{token:str}", summary="Show what a checkout charges")
async def show(request: HttpRequest, catalog: NamedDependency[Catalog], token: FromPath[str]) -> Response[bytes]:
    """Tell plan, lines and the amount due now; of a trial nothing but when it ends (R-TRIAL-3, R-DISC-13).

    `promoCodeRefusal` says why the checkout's code would not be redeemed now; the amounts then are those without it.
    """
    async with catalog.sql.snapshot() as connection:
        waiting, organization = await _waiting(connection, token)
        real_ms = catalog.clock.now_ms()
        waiting = lapsed(waiting, organization.now_ms(real_ms))
        quote = await quoted(connection, organization, waiting, real_ms)
    lines = () if quote.amounts is None else quote.amounts.lines
    details = invoice_details(waiting.plan_name, [(None, line) for line in lines], waiting.currency)
    members = {
        "object": "checkout_session",
        "livemode": organization.livemode,
        "subscriptionId": waiting.id,
        "status": waiting.status.value,
        "planName": waiting.plan_name,
        "billingInterval": waiting.billing_interval,
        "currency": waiting.currency,
        "lineItems": details["lineItems"],
        "total": 0 if quote.amounts is None else quote.amounts.total_minor,
        "amountDue": 0 if quote.amounts is None else quote.amounts.due_minor,
        "trialEndsAt": None if quote.trial_end_day is None else instant_text(quote.trial_end_day * DAY_MS),
        "promoCode": waiting.promo_code,
        "promoCodeRefusal": None if quote.lost is None else quote.lost.code,
        "successUrl": waiting.success_url,
    }
    return reply(_dialect(request), members)


class CheckoutInput(CardInput, frozen=True, kw_only=True):
    """The card that pays, and perhaps another `currency` than the one of the billing address (R-REG-4).

    With `withoutPromoCode` the price is paid that holds without the checkout's code: one that has expired or is used up
    since is refused, as it was another price that was shown.
    """

    currency: str | None = None
    without_promo_code: bool = False


@post("/{token:str}", status_code=200, summary="Complete a checkout", operation_class=documented(CheckoutInput))
async def complete(
    request: HttpRequest,
    catalog: NamedDependency[Catalog],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    token: FromPath[str],
) -> Response[bytes]:
    """Save the card, charge what is due now, and begin the subscription: all of it or nothing (R-SUB-12, R-DUN-5)."""
    asked = await read_body(request, CheckoutInput)
    card, currency = card_of(asked), None if asked.currency is None else asked_currency(asked.currency)

    async def attempt() -> tuple[Subscription, Organization]:
        async with catalog.sql.transaction() as connection:
            waiting, organization = await _waiting(connection, token)
            # The token is the only key here: whose request it is, for the record of a refusal.
            told = cast("dict[str, Any]", request.scope)
            told[wire.SCOPE_ORGANIZATION], told[wire.SCOPE_CUSTOMER] = organization, waiting.customer_id
            real_ms = catalog.clock.now_ms()
            waiting = await lapse(connection, waiting, organization.now_ms(real_ms))
            waiting = await choose(
                connection, organization, waiting, real_ms, currency=currency, without_code=asked.without_promo_code
            )
            begun = await complete_checkout(connection, organization, waiting, card, activate, real_ms)
        return begun, organization

    begun, organization = await caught_up(closer, attempt)
    headers = await shown(relay, [begun.customer_id])()
    members = {
        "object": "checkout_session",
        "livemode": organization.livemode,
        "subscriptionId": begun.id,
        "status": begun.status.value,
        "currency": begun.currency,
        "successUrl": begun.success_url,
    }
    return reply(_dialect(request), members, headers=headers)


async def _waiting(connection: AsyncConnection, token: str) -> tuple[Subscription, Organization]:
    waiting = await subscriptions.by_checkout(connection, token)
    if waiting is None:
        raise rejected("not_found", "This checkout is completed, or its link is not valid any more.")
    organization = await load_organization(connection, ids.id_bytes(waiting.organization_id))
    assert organization is not None, "an organization is never removed"
    return waiting, organization


def _dialect(request: HttpRequest) -> wire.Dialect:
    return wire.dialect_of(request.url.path, request.headers.get("commet-version"))


CHECKOUT: Final = Router(path="/checkout", route_handlers=[show, complete], tags=["checkout"])
