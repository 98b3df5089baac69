"""Add-ons of subscriptions over HTTP: on, off, and which are active (contract 3.21; rows 34, 35 and 81)."""

from typing import Any, Final

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.addons import Offered, activate_addon, deactivate_addon, offered_addons
from billing.life.frozen import PeriodTerms
from billing.life.showing import shown_terms
from billing.routes.customer import customer_of
from billing.routes.shown import shown
from billing.sale.addon import SubscriptionAddon
from billing.store import addon as addons
from billing.store import subscription as subscriptions
from billing.store import terms
from billing.worker.catching_up import caught_up
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.definition import FeatureKind
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from catalog.routes.addon import addon_wire
from catalog.routes.feature import type_word
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "addon"
_SUBSCRIPTION: Final = "subscription"
_CUSTOMER: Final = {"customerId": "`cus_…` or the seller's own id"}


class ActivationInput(Wire, frozen=True, kw_only=True):
    """Which add-on to switch on: `adn_…` or its slug."""

    addon_id: str


@post(
    "/{subscription_id:str}/addons",
    status_code=200,
    summary="Switch an add-on on",
    operation_class=documented(ActivationInput),
)
async def activate(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
) -> Response[bytes]:
    """The rest of the period is charged at once, and its feature is there when this answers (R-ADDON-3, R-ADDON-7)."""
    caller.must_write(_SUBSCRIPTION)
    asked = await read_body(request, ActivationInput)
    changed: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        row, charge, invoice = await activate_addon(
            connection, caller.organization, subscription_id, asked.addon_id, caller.real_ms
        )
        changed[:] = [row.customer_id]
        return {
            **caller.object("subscription_addon"),
            "id": row.id,
            "addonId": row.addon_id,
            "status": "active",
            "proratedCharge": charge.amount.minor,
            "invoiceId": invoice.id,
        }

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, changed)))


@get("/{subscription_id:str}/addons", summary="List add-ons that may be switched on, with what each costs now")
async def list_offered(caller: NamedDependency[Caller], subscription_id: FromPath[str]) -> Response[bytes]:
    """Additive: `proratedCharge` is what switching it on would charge at this moment (R-ADDON-9, R-ADDON-10)."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as connection:
        found = await offered_addons(connection, caller.organization, subscription_id, caller.real_ms)
    return reply_list(caller.dialect, [_offer(caller, one) for one in found])


def _offer(caller: Caller, offer: Offered) -> dict[str, Any]:
    remaining, days = offer.charge.share
    return {
        **addon_wire(caller, offer.addon),
        "basePrice": offer.base_minor,
        "currency": offer.charge.amount.currency,
        "proratedCharge": offer.charge.amount.minor,
        "daysRemaining": remaining,
        "daysInCycle": days,
    }


@delete("/{subscription_id:str}/addons/{addon_ref:str}", status_code=200, summary="Switch an add-on off")
async def deactivate(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
    subscription_id: FromPath[str],
    addon_ref: FromPath[str],
) -> Response[bytes]:
    """Its feature stops at once; nothing is paid back, what was used is still billed (R-ADDON-5)."""
    caller.must_write(_SUBSCRIPTION)
    changed: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        row = await deactivate_addon(connection, caller.organization, subscription_id, addon_ref, caller.real_ms)
        changed[:] = [row.customer_id]
        ended = None if row.ended_ms is None else instant_text(row.ended_ms)
        return {**caller.object("subscription_addon"), "id": row.addon_id, "status": "inactive", "deactivatedAt": ended}

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, changed)))


@get("/active", summary="List a customer's active add-ons", operation_class=documented(query=_CUSTOMER))
async def list_active(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Those of the live subscription, oldest first; none without one (R-ADDON-8)."""
    return await _active(request, caller)


@get("/", summary="List a customer's active add-ons", operation_class=documented(query=_CUSTOMER))
async def list_active_alias(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """The same as `/addons/active`, under its later path."""
    return await _active(request, caller)


async def _active(request: HttpRequest, caller: Caller) -> Response[bytes]:
    caller.must_read(_RESOURCE)
    customer = await customer_of(caller, request.query_params.get("customerId"))
    async with caller.catalog.sql.snapshot() as connection:
        live = await subscriptions.live_of(connection, customer.id_text)
        if live is None:
            return reply_list(caller.dialect, [])
        current = shown_terms(live, await terms.of(connection, live.id), caller.now_ms)
        found = await addons.active_of(connection, live.id)
    return reply_list(caller.dialect, [_members(caller, one, current) for one in found])


def _members(caller: Caller, row: SubscriptionAddon, current: PeriodTerms) -> dict[str, Any]:
    granted = current.feature(row.feature_id)
    assert granted is not None, "the terms in force have what is active"
    return {
        **caller.object("subscription_addon"),
        "id": row.addon_id,
        "slug": row.slug,
        "name": row.name,
        "basePrice": granted.base_minor,
        "featureCode": granted.code,
        "featureName": granted.name,
        "featureType": type_word(FeatureKind(granted.kind), caller.dialect),
        "consumptionModel": row.model,
        "activatedAt": instant_text(row.activated_ms),
    }


ADDON_CHANGES: Final = Router(
    path="/subscriptions",
    route_handlers=[activate, list_offered, deactivate],
    dependencies=DEPENDENCIES,
    tags=["add-ons"],
)
ACTIVE_ADDONS: Final = Router(path="/addons", route_handlers=[list_active], dependencies=DEPENDENCIES, tags=["add-ons"])
ACTIVE_ADDONS_ALIAS: Final = Router(
    path="/active-addons", route_handlers=[list_active_alias], dependencies=DEPENDENCIES, tags=["add-ons"]
)
