"""What every route module needs: who asks, in which dialect, and how an answer is written.

A router that lists `DEPENDENCIES` gets `caller`, `principal` and `dialect` by name; `catalog` (a `Catalog`) and, for
feature access, `access` (an `AccessGateway`) come from the application. Source: contract 1.2, 2.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, cast, runtime_checkable

import msgspec
from litestar import Request, Response
from litestar.datastructures import Headers
from litestar.di import NamedDependency, Provide

from catalog.definition import READ, WRITE, Organization, Principal
from catalog.gateway.body import read_body
from catalog.gateway.catalog import Catalog
from kernel import wire
from kernel.errors import rejected
from kernel.wire import Dialect

JSON: Final = "application/json"
HttpRequest = Request[Any, Any, Any]

__all__ = [
    "DEPENDENCIES",
    "JSON",
    "AccessGateway",
    "Caller",
    "HttpRequest",
    "authenticate",
    "authorize",
    "key_of",
    "read_body",
    "reply",
    "reply_list",
    "request_id_of",
]


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, what it asks of, and how it reads the answer."""

    catalog: Catalog
    principal: Principal
    organization: Organization
    dialect: Dialect
    real_ms: int

    @property
    def now_ms(self) -> int:
        """The organization's now (R-GEN-6)."""
        return self.organization.now_ms(self.real_ms)

    def object(self, name: str) -> dict[str, Any]:
        """The two members that every object of era D carries (contract 4.2)."""
        return {"object": name, "livemode": self.organization.livemode}

    def must_read(self, resource: str) -> None:
        """Raise Rejected `forbidden` unless the key may read the resource."""
        authorize(self.principal, resource, READ)

    def must_write(self, resource: str) -> None:
        """Raise Rejected `forbidden` unless the key may write the resource."""
        authorize(self.principal, resource, WRITE)


@runtime_checkable
class AccessGateway(Protocol):
    """Feature access as the aggregator gives it: `GET /features` with a `customerId` is a question about access."""

    async def list(
        self, principal: Principal, dialect: Dialect, customer_ref: str, request: HttpRequest
    ) -> Response[bytes]:
        """Answer all feature states of a customer."""
        ...

    async def one(
        self, principal: Principal, dialect: Dialect, code: str, customer_ref: str, request: HttpRequest
    ) -> Response[bytes]:
        """Answer one feature's state for a customer; `action=canUse` is honoured."""
        ...


def authorize(principal: Principal, resource: str, action: str) -> None:
    """Raise Rejected `forbidden` unless the key may `read` or `write` the resource."""
    if not principal.may(resource, action):
        raise rejected("forbidden", f"This key may not {action} {resource}.")


def key_of(headers: Mapping[str, str] | Headers) -> str | None:
    """Find the key that a request carries: `x-api-key`, else `Authorization: Bearer` (decision 3)."""
    key = headers.get("x-api-key")
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def authenticate(catalog: Catalog, key: str | None) -> Principal:
    """Tell who comes with a key, from a view that `current()` has made fresh. Raises Rejected `unauthorized`."""
    principal = None if key is None else catalog.principal(key)
    if principal is None:
        raise rejected("unauthorized", "Send a valid API key in the x-api-key header.")
    return principal


def reply(
    dialect: Dialect, obj: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response[bytes]:
    """Answer one object in the caller's dialect."""
    return _answer(wire.success(dialect, obj), status, headers)


def reply_list(dialect: Dialect, items: Sequence[object], next_cursor: str | None = None) -> Response[bytes]:
    """Answer a page of objects in the caller's dialect."""
    return _answer(wire.success_list(dialect, items, next_cursor), 200, None)


def _answer(obj: object, status: int, headers: Mapping[str, str] | None) -> Response[bytes]:
    return Response(wire.encode(obj), status_code=status, media_type=JSON, headers=dict(headers or {}))


def request_id_of(request: HttpRequest) -> str | None:
    """Tell the id that the answer to a request carries; None where no front has made one."""
    return cast("dict[str, str]", request.scope).get(wire.SCOPE_REQUEST_ID)


async def provide_caller(request: HttpRequest, catalog: NamedDependency[Catalog]) -> Caller:
    """Authenticate on a fresh view of the catalog."""
    await catalog.current()
    principal = authenticate(catalog, key_of(request.headers))
    return Caller(
        catalog=catalog,
        principal=principal,
        organization=catalog.organization(principal.organization),
        dialect=wire.dialect_of(request.url.path, request.headers.get("commet-version")),
        real_ms=catalog.clock.now_ms(),
    )


async def provide_principal(caller: NamedDependency[Caller]) -> Principal:
    """Tell who asks."""
    return caller.principal


async def provide_dialect(caller: NamedDependency[Caller]) -> Dialect:
    """Tell how the answer is read."""
    return caller.dialect


DEPENDENCIES: Final[Mapping[str, Provide]] = {
    "caller": Provide(provide_caller),
    "principal": Provide(provide_principal),
    "dialect": Provide(provide_dialect),
}
