"""Seat types over HTTP, routes of our own: they exist before seats of them are assigned (R-FEAT-8)."""

from typing import Any, Final

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import SeatType
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from kernel import ids
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "feature"


class SeatTypeInput(Wire, frozen=True, kw_only=True):
    """A seat type to be made."""

    name: str
    code: str
    description: str | None = None


class SeatTypePatch(Wire, frozen=True, kw_only=True):
    """What may change of a seat type; the code may not."""

    name: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


def seat_type_wire(caller: Caller, shown: SeatType) -> dict[str, Any]:
    """Spell a seat type."""
    return {
        **caller.object("seat_type"),
        "id": shown.id,
        "code": shown.code,
        "name": shown.name,
        "description": shown.description,
        "createdAt": instant_text(shown.created_ms),
        "updatedAt": instant_text(shown.updated_ms),
    }


@post("/", status_code=200, summary="Define a seat type", operation_class=documented(SeatTypeInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Seats features name it by its code (R-FEAT-3)."""
    caller.must_write(_RESOURCE)
    wanted = await read_body(request, SeatTypeInput)
    made = SeatType(
        id=ids.new_id(ids.SEAT_TYPE, caller.real_ms),
        organization=caller.organization.id,
        code=rule.code_of(wanted.code),
        name=rule.name_of(wanted.name),
        description=wanted.description,
        created_ms=caller.now_ms,
        updated_ms=caller.now_ms,
    )

    async def work(conn: AsyncConnection) -> object:
        return seat_type_wire(caller, await store.create_seat_type(conn, made))

    return await once(request, caller, work)


@get("/", summary="List seat types")
async def list_all(caller: NamedDependency[Caller]) -> Response[bytes]:
    """Oldest first."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_seat_types(conn, caller.organization.id)
    return reply_list(caller.dialect, [seat_type_wire(caller, one) for one in found])


@get("/{code:str}", summary="Read a seat type by its id or code")
async def read(caller: NamedDependency[Caller], code: FromPath[str]) -> Response[bytes]:
    """One seat type."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.load_seat_type(conn, caller.organization.id, code)
    return reply(caller.dialect, seat_type_wire(caller, found))


@route(
    "/{code:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change a seat type's texts",
    operation_class=documented(SeatTypePatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], code: FromPath[str]) -> Response[bytes]:
    """Name and description may change."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, SeatTypePatch)
    changes = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not UNSET}
    if "name" in changes:
        rule.name_of(changes["name"])

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_seat_type(conn, caller.organization.id, code)
        after = msgspec.structs.replace(before, **changes, updated_ms=max(caller.now_ms, before.updated_ms))
        return seat_type_wire(caller, await store.save_seat_type(conn, after))

    return await once(request, caller, work)


@delete("/{code:str}", status_code=200, summary="Remove a seat type that no feature has")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], code: FromPath[str]) -> Response[bytes]:
    """Only one that no feature has can go (R-FEAT-6)."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        gone = await store.load_seat_type(conn, caller.organization.id, code)
        await store.remove_seat_type(conn, gone, caller.real_ms)
        return {**caller.object("seat_type"), "id": gone.id, "deleted": True}

    return await once(request, caller, work)


SEAT_TYPES = Router(
    path="/seat-types",
    route_handlers=[create, list_all, read, update, remove],
    dependencies=DEPENDENCIES,
    tags=["seats"],
)
