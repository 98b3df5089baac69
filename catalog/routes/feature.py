"""Features over HTTP (contract rows 15 to 19); a `customerId` in the query asks for access instead (contract 4.5)."""

from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import Feature, FeatureKind
from catalog.gateway.http import DEPENDENCIES, AccessGateway, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from kernel import ids
from kernel.errors import invalid
from kernel.period import instant_text
from kernel.wire import Dialect, Wire

_RESOURCE: Final = "feature"
_QUERY: Final = {"customerId": "asks for a customer's access instead (era A)", "action": "canUse, with customerId"}


class FeatureInput(Wire, frozen=True, kw_only=True):
    """A feature to be made; `eventCode` is the code unless it is given (R-FEAT-4).

    `seatType` is the code of a seat type that exists; without it a seats feature gets one of its own code and name.
    """

    name: str
    code: str
    type: str
    description: str | None = None
    unit_name: str | None = None
    event_code: str | None = None
    seat_type: str | None = None


class FeaturePatch(Wire, frozen=True, kw_only=True):
    """What may change of a feature; the code may not (R-FEAT-7)."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    unit_name: str | UnsetType | None = UNSET


def type_word(kind: FeatureKind, dialect: Dialect) -> str:
    """Spell a feature's type: era A says `metered`, later ones `usage` (contract 6)."""
    return "usage" if kind is FeatureKind.METERED and dialect is not Dialect.A else kind.value


def feature_wire(caller: Caller, feature: Feature) -> dict[str, Any]:
    """Spell a feature's definition."""
    return {
        **caller.object("feature"),
        "id": feature.id_text,
        "name": feature.name,
        "code": feature.code,
        "eventCode": feature.event_code,
        "type": type_word(feature.kind, caller.dialect),
        "description": feature.description,
        "unitName": feature.unit_name,
        "seatType": feature.seat_type,
        "createdAt": instant_text(feature.created_ms),
        "updatedAt": instant_text(feature.updated_ms),
    }


@post("/", status_code=200, summary="Define a feature", operation_class=documented(FeatureInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """A feature is defined once and put in many plans (R-FEAT-1)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, FeatureInput)
    kind = rule.kind_of(made.type)
    feature = rule.check_feature(
        Feature(
            id=ids.new_bytes(caller.real_ms),
            organization=caller.organization.id,
            code=rule.code_of(made.code),
            event_code=rule.code_of(made.event_code or made.code, "eventCode"),
            name=rule.name_of(made.name),
            kind=kind,
            unit_name=rule.unit_name_of(kind, made.unit_name),
            description=made.description,
            created_ms=caller.now_ms,
            updated_ms=caller.now_ms,
            seat_type=made.seat_type,
        )
    )

    async def work(conn: AsyncConnection) -> object:
        seated = await store.with_seat_type(conn, feature, caller.real_ms)
        return feature_wire(caller, await store.create_feature(conn, seated))

    return await once(request, caller, work)


def _asks_access(request: HttpRequest, caller: Caller) -> str | None:
    reference = request.query_params.get("customerId") or request.query_params.get("externalId")
    if reference is None and caller.dialect is Dialect.A:
        raise invalid("customerId", "is required")
    return reference


@get(
    "/", summary="List features; with customerId, a customer's access to them", operation_class=documented(query=_QUERY)
)
async def list_all(
    request: HttpRequest, caller: NamedDependency[Caller], access: NamedDependency[AccessGateway]
) -> Response[bytes]:
    """Definitions, or a customer's feature states when the query names one."""
    customer = _asks_access(request, caller)
    if customer is not None:
        return await access.list(caller.principal, caller.dialect, customer, request)
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_features(conn, caller.organization.id)
    return reply_list(caller.dialect, [feature_wire(caller, feature) for feature in found])


@get(
    "/{code:str}",
    summary="Read a feature; with customerId, a customer's access to it",
    operation_class=documented(query=_QUERY),
)
async def read(
    request: HttpRequest, caller: NamedDependency[Caller], code: FromPath[str], access: NamedDependency[AccessGateway]
) -> Response[bytes]:
    """A definition, or a customer's feature state when the query names one."""
    customer = _asks_access(request, caller)
    if customer is not None:
        return await access.one(caller.principal, caller.dialect, code, customer, request)
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.load_feature(conn, caller.organization.id, code)
    return reply(caller.dialect, feature_wire(caller, found))


@route(
    "/{code:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change a feature's texts",
    operation_class=documented(FeaturePatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], code: FromPath[str]) -> Response[bytes]:
    """Name, description and unit name may change (R-FEAT-7)."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, FeaturePatch)

    async def work(conn: AsyncConnection) -> object:
        feature = await store.load_feature(conn, caller.organization.id, code)
        changes = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not UNSET}
        if "name" in changes:
            rule.name_of(changes["name"])
        if "unit_name" in changes:
            changes["unit_name"] = rule.unit_name_of(feature.kind, changes["unit_name"])
        changed = msgspec.structs.replace(feature, **changes, updated_ms=max(caller.now_ms, feature.updated_ms))
        return feature_wire(caller, await store.save_feature(conn, changed))

    return await once(request, caller, work)


@delete("/{code:str}", status_code=200, summary="Remove a feature that no plan has")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], code: FromPath[str]) -> Response[bytes]:
    """Only a feature that no plan has can go (R-FEAT-6)."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        feature = await store.load_feature(conn, caller.organization.id, code)
        await store.remove_feature(conn, feature, caller.real_ms)
        return {**caller.object("feature"), "id": feature.id_text, "deleted": True}

    return await once(request, caller, work)


FEATURES = Router(
    path="/features",
    route_handlers=[create, list_all, read, update, remove],
    dependencies=DEPENDENCIES,
    tags=["features"],
)
