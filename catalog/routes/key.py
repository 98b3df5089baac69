"""API keys over HTTP (contract rows 130 to 132). Keys expire by real time: they guard real data."""

import re
from collections.abc import Mapping
from typing import Any, Final

from litestar import Response, Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import READ, WRITE, ApiKey, Principal
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from kernel import wire
from kernel.errors import invalid, rejected
from kernel.limits import DAY_MS
from kernel.period import instant_text
from kernel.wire import Wire

EXPIRES_DAYS_MAX: Final = 365
RESOURCES: Final = frozenset(
    {"customer", "subscription", "invoice", "usage", "seat", "plan", "plan_group", "feature", "addon", "credit_pack"}
    | {"offer", "promo_code", "market_group", "payment", "transaction", "payout", "test_clock", "organization"}
    | {"api_key"}
)
_RESOURCE: Final = "api_key"
_CAPITAL: Final = re.compile(r"(?<!^)([A-Z])")


class KeyInput(Wire, frozen=True, kw_only=True):
    """A key to be made; with `permissions` it is a restricted one."""

    name: str
    expires_in_days: int = EXPIRES_DAYS_MAX
    permissions: dict[str, list[str]] | None = None


def key_wire(caller: Caller, key: ApiKey) -> dict[str, Any]:
    """Spell a key without its secret."""
    return {
        **caller.object("api_key"),
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "permissions": key.permissions,
        "expiresAt": None if key.expires_ms is None else instant_text(key.expires_ms),
        "lastUsedAt": None,
        "createdAt": instant_text(key.created_ms),
    }


def permissions_of(given: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Check permissions; a resource may come camelized (contract 1.8)."""
    checked: dict[str, tuple[str, ...]] = {}
    for name, actions in given.items():
        resource = _CAPITAL.sub(r"_\1", name).lower()
        if resource not in RESOURCES:
            raise invalid(f"permissions.{name}", f"must be one of {', '.join(sorted(RESOURCES))}")
        if not set(actions) <= {READ, WRITE}:
            raise invalid(f"permissions.{name}", "must be a list of read and write")
        checked[resource] = tuple(sorted(set(actions)))
    return checked


def check_grantable(principal: Principal, permissions: Mapping[str, tuple[str, ...]] | None, expires_ms: int) -> None:
    """Refuse a key that can do more, or lives longer, than the restricted one that makes it (contract row 132)."""
    if not principal.restricted:
        return
    if permissions is None:
        raise rejected("forbidden", "A restricted key makes restricted keys only: send permissions.")
    for resource, actions in permissions.items():
        if any(not principal.may(resource, action) for action in actions):
            raise rejected("forbidden", f"This key cannot give more of {resource} than it has.")
    if principal.expires_ms is not None and expires_ms > principal.expires_ms:
        raise rejected("forbidden", "A key made by a restricted key expires no later than that one.")


@post("/", status_code=200, summary="Make an API key; it is shown once", operation_class=documented(KeyInput))
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """A full key (`ck_…`), or with permissions a restricted one (`rk_…`)."""
    caller.must_write(_RESOURCE)
    made = await read_body(request, KeyInput)
    if not 1 <= made.expires_in_days <= EXPIRES_DAYS_MAX:
        raise invalid("expiresInDays", f"must be from 1 to {EXPIRES_DAYS_MAX}")
    name = rule.name_of(made.name)
    permissions = None if made.permissions is None else permissions_of(made.permissions)
    expires_ms = caller.real_ms + made.expires_in_days * DAY_MS
    check_grantable(caller.principal, permissions, expires_ms)

    async def work(conn: AsyncConnection) -> object:
        key, secret = await store.create_key(
            conn,
            caller.organization,
            name=name,
            now_ms=caller.real_ms,
            permissions=permissions,
            expires_ms=expires_ms,
        )
        return {**key_wire(caller, key), "apiKey": secret}

    return await once(request, caller, work)


@get("/", summary="List API keys, newest first, without their secrets", operation_class=documented(query=PAGE))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Keys that are not revoked."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    after = wire.decode_cursor(query["cursor"], int, str) if "cursor" in query else None
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_keys(
            conn, caller.organization.id, limit=limit + 1, after=None if after is None else (after[0], after[1])
        )
    page, cursor = wire.cut_page(found, limit, lambda key: (key.created_ms, key.id))
    return reply_list(caller.dialect, [key_wire(caller, key) for key in page], cursor)


@delete("/{key_id:str}", status_code=200, summary="Revoke an API key")
async def revoke(request: HttpRequest, caller: NamedDependency[Caller], key_id: FromPath[str]) -> Response[bytes]:
    """Access ends at once and for good (R-ENV-3)."""
    caller.must_write(_RESOURCE)

    async def work(conn: AsyncConnection) -> object:
        await store.revoke_key(conn, caller.organization.id, key_id, caller.real_ms)
        return {**caller.object("api_key"), "id": key_id, "deleted": True}

    return await once(request, caller, work)


KEYS = Router(path="/api-keys", route_handlers=[create, list_all, revoke], dependencies=DEPENDENCIES, tags=["api keys"])
