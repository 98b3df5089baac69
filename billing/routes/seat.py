"""Seats over HTTP: add, remove, set, set many, read (contract 3.12 to 3.14; rows 23 to 28)."""

from collections.abc import Mapping
from typing import Any, Final

from litestar import HttpMethod, Response, Router, delete, get, post, put, route
from litestar.di import NamedDependency
from sqlalchemy.ext.asyncio import AsyncConnection

from billing.gateway.seating import change_seats
from billing.routes.customer import customer_of
from billing.routes.shown import shown
from billing.sale.seat import Operation, SeatEvent, seat_feature
from billing.store import seat as seats
from billing.worker.catching_up import caught_up
from billing.worker.closer import Closer
from billing.worker.relay import Relay
from catalog.definition import FeatureKind
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from kernel.errors import invalid
from kernel.period import instant_text
from kernel.wire import Dialect, Wire, success_list

_RESOURCE: Final = "seat"
_QUERY: Final = {"customerId": "`cus_…` or the seller's own id"}
_ONE: Final = {**_QUERY, "featureCode": "the seats feature's code; `seatType` is taken as well"}


class SeatInput(Wire, frozen=True, kw_only=True):
    """One count to change; era A says `seatType` for `featureCode`."""

    customer_id: str
    feature_code: str | None = None
    seat_type: str | None = None
    count: int


class SeatsInput(Wire, frozen=True, kw_only=True):
    """Counts to set, all or none; types that are not named stay (R-SEAT-3)."""

    customer_id: str
    seats: dict[str, int]


@post("/", status_code=200, summary="Add seats", operation_class=documented(SeatInput))
async def add(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
) -> Response[bytes]:
    """What goes beyond the paid level is charged at the period's end (R-SEAT-7)."""
    return await _change(request, caller, relay, closer, Operation.ADD)


@delete("/", status_code=200, summary="Take seats away", operation_class=documented(SeatInput))
async def take(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
) -> Response[bytes]:
    """Below zero is refused (R-SEAT-2); nothing is paid back (R-SEAT-8)."""
    return await _change(request, caller, relay, closer, Operation.REMOVE)


@post("/remove", status_code=200, summary="Take seats away", operation_class=documented(SeatInput))
async def remove(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
) -> Response[bytes]:
    """The same as the deletion with a body."""
    return await _change(request, caller, relay, closer, Operation.REMOVE)


@put("/", summary="Set a count", operation_class=documented(SeatInput))
async def assign(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
) -> Response[bytes]:
    """Set one type's count."""
    return await _change(request, caller, relay, closer, Operation.SET)


async def _change(
    request: HttpRequest, caller: Caller, relay: Relay, closer: Closer, operation: Operation
) -> Response[bytes]:
    caller.must_write(_RESOURCE)
    asked = await read_body(request, SeatInput)
    key = asked.feature_code or asked.seat_type
    if not key:
        raise invalid("featureCode", "is required")
    if asked.count < (0 if operation is Operation.SET else 1):
        raise invalid("count", "must be 0 or more" if operation is Operation.SET else "must be 1 or more")
    changed: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        [event] = await change_seats(
            connection,
            caller.organization,
            caller.catalog.features(caller.organization.id),
            asked.customer_id,
            operation,
            {key: asked.count},
            caller.real_ms,
        )
        changed[:] = [event.customer_id]
        return _members(caller, event)

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, changed)))


@route(
    "/bulk",
    http_method=[HttpMethod.PUT, HttpMethod.POST],
    status_code=200,
    summary="Set several counts",
    operation_class=documented(SeatsInput),
)
async def assign_all(
    request: HttpRequest,
    caller: NamedDependency[Caller],
    relay: NamedDependency[Relay],
    closer: NamedDependency[Closer],
) -> Response[bytes]:
    """All of them or none (R-SEAT-3)."""
    caller.must_write(_RESOURCE)
    asked = await read_body(request, SeatsInput)
    if not asked.seats:
        raise invalid("seats", "must name at least one seat type")
    if min(asked.seats.values()) < 0:
        raise invalid("seats", "must be counts of 0 or more")
    changed: list[str] = []

    async def work(connection: AsyncConnection) -> object:
        events = await change_seats(
            connection,
            caller.organization,
            caller.catalog.features(caller.organization.id),
            asked.customer_id,
            Operation.SET,
            asked.seats,
            caller.real_ms,
        )
        changed[:] = [events[0].customer_id]
        items = [_members(caller, event) for event in events]
        return success_list(caller.dialect, items) if caller.dialect.bare else items

    return await caught_up(closer, lambda: once(request, caller, work, after=shown(relay, changed)))


@get("/balance", summary="Read one count", operation_class=documented(query=_ONE))
async def read_one(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """What a customer holds of one type now."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    customer = await customer_of(caller, query.get("customerId"))
    key = query.get("featureCode") or query.get("seatType")
    if not key:
        raise invalid("featureCode", "is required")
    feature = seat_feature(caller.catalog.features(caller.organization.id), key)
    async with caller.catalog.sql.snapshot() as connection:
        held = await seats.counts(connection, customer.id_text)
    return reply(caller.dialect, {**caller.object("seat_balance"), **_balance(caller, held, feature.id_text)})


@get("/balances", summary="Read all counts", operation_class=documented(query=_QUERY))
async def read_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Every seats feature of the organization, by code; the shape of the map is each era's own (contract 4.5)."""
    caller.must_read(_RESOURCE)
    customer = await customer_of(caller, request.query_params.get("customerId"))
    known = caller.catalog.features(caller.organization.id)
    async with caller.catalog.sql.snapshot() as connection:
        held = await seats.counts(connection, customer.id_text)
    balances = {
        feature.code: _balance(caller, held, feature.id_text) for feature in known if feature.kind is FeatureKind.SEATS
    }
    if caller.dialect is Dialect.D:
        return reply(caller.dialect, {**caller.object("seat_balance_collection"), "balances": balances})
    head = {} if caller.dialect is Dialect.A else caller.object("seat")
    return reply(caller.dialect, {**head, **balances})


def _balance(caller: Caller, held: Mapping[str, int], feature_id: str) -> dict[str, Any]:
    return {"current": held.get(feature_id, 0), "asOf": instant_text(caller.now_ms)}


def _members(caller: Caller, event: SeatEvent) -> dict[str, Any]:
    return {
        **caller.object("seat_event"),
        "id": event.id,
        "organizationId": event.organization_id,
        "customerId": event.customer_id,
        "subscriptionId": event.subscription_id,
        "featureCode": event.feature_code,
        "seatType": event.feature_code,
        "eventType": event.operation.value,
        "quantity": event.quantity,
        "previousBalance": event.before,
        "newBalance": event.after,
        "ts": instant_text(event.ts_ms),
        "createdAt": instant_text(event.created_ms),
    }


SEATS: Final = Router(
    path="/seats",
    route_handlers=[add, take, remove, assign, assign_all, read_one, read_all],
    dependencies=DEPENDENCIES,
    tags=["seats"],
)
