"""Feature access over HTTP: GET /feature-access, GET /feature-access/{code} and POST /usage/check.

The question about one feature is hot: `AccessRoutes.one` answers it as a raw ASGI callable in front of Litestar, also
under era A's path, and the Litestar route is its typed twin. Source: contract 3.6 to 3.8, 4.1 rows 13, 14, 20, 4.5.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType

from aggregator.gateway import RESOURCE, AccessGateway, Question
from catalog.definition import Principal
from catalog.gateway.catalog import Catalog
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, authenticate, key_of, read_body, reply
from ingest.gateway.refusal_desk import RefusalDesk
from kernel import ids, wire
from kernel.clock import Clock
from kernel.errors import Refusal, Rejected, Retryable, invalid
from kernel.quantity import parse_quantity
from kernel.telemetry import logger
from kernel.wire import Wire

_log = logger("access")

Scope = Mapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiCallable = Callable[[Scope, Receive, Send], Awaitable[None]]

_ACCESS: Final = "/feature-access/"
_FEATURES: Final = "/features/"
_NAMES_CUSTOMER: Final = (b"customerId=", b"externalId=")
_BROKEN: Final = Refusal(code="internal_error", message="Something went wrong here; it is logged.")


class AccessRoutes:
    """The hot route: one feature's state for one customer."""

    def __init__(self, gateway: AccessGateway, catalog: Catalog, clock: Clock, desk: RefusalDesk | None = None) -> None:
        """`desk` keeps refusals (None: nobody does)."""
        self._gateway = gateway
        self._catalog = catalog
        self._clock = clock
        self._desk = desk

    def match(self, method: str, path: str, query: bytes) -> AsgiCallable | None:
        """Find the callable for a request; None: it is not this one's."""
        if method != "GET" or _code(path, query) is None:
            return None
        return self.one

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Answer a request that `match` found."""
        status, body = 200, b""
        request_id = ids.new_id(ids.REQUEST, self._clock.now_ms())
        try:
            body = await self._answer(scope)
        except Rejected as error:
            status, body = _refused(error.refusal, request_id)
            self._keep(error.refusal, request_id, scope)
        except Retryable as error:
            refusal = Refusal(code="service_unavailable", message=f"{error}; try again")
            status, body = _refused(refusal, request_id)
        except Exception as error:  # noqa: BLE001 - the edge: every request is answered
            _log.error("a feature access request failed", path=scope["path"], exc_info=error)
            status, body = _refused(_BROKEN, request_id)
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
        ]
        if status == wire.status_of("service_unavailable"):
            headers.append((b"retry-after", b"1"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _keep(self, refusal: Refusal, request_id: str, scope: Scope) -> None:
        if self._desk is None:
            return
        asked = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        customer = asked.get("customerId") or asked.get("externalId") or ""
        route = f"GET {scope['path']}"
        self._desk.keep(refusal, request_id, route, key=key_of(_headers(scope)), customer=customer)

    async def _answer(self, scope: Scope) -> bytes:
        headers = _headers(scope)
        query = scope.get("query_string", b"")
        dialect = wire.dialect_of(scope["path"], headers.get("commet-version"))
        question = Question.of(dict(parse_qsl(query.decode("latin-1"))), code=_code(scope["path"], query))
        key = key_of(headers)

        def who() -> Principal:
            return authenticate(self._catalog, key)

        seen = await self._gateway.see(who, question)
        return wire.encode(wire.success(dialect, self._gateway.one_of(seen, question, dialect)))


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _code(path: str, query: bytes) -> str | None:
    """Tell of which feature's access a path speaks; `/features/{code}` does when a customer is named (contract 4.5)."""
    for prefix in wire.PREFIXES:
        if not path.startswith(prefix):
            continue
        rest = path[len(prefix) :]
        named = _ACCESS if rest.startswith(_ACCESS) else _FEATURES
        code = rest[len(named) :]
        if not rest.startswith(named) or not code or "/" in code:
            continue
        if named == _ACCESS or any(name in query for name in _NAMES_CUSTOMER):
            return code
    return None


def _refused(refusal: Refusal, request_id: str) -> tuple[int, bytes]:
    return wire.status_of(refusal.code), wire.encode(wire.error_body(refusal, request_id))


class UsageCheckInput(Wire, frozen=True, kw_only=True):
    """A consumption to try; eras before D name `featureCode` `feature`. `quantity` is 1 unless it is given."""

    customer_id: str
    feature_code: str | UnsetType = UNSET
    feature: str | UnsetType = UNSET
    quantity: Decimal = Decimal(1)


@get("/", summary="What a customer may use: all features of its plan")
async def list_all(
    request: HttpRequest, caller: NamedDependency[Caller], access: NamedDependency[Any]
) -> Response[bytes]:
    """Live balances; `asOf` says how new they are."""
    answer: Response[bytes] = await access.list(caller.principal, caller.dialect, "", request)
    return answer


@get("/{code:str}", summary="What a customer may use: one feature")
async def get_one(
    request: HttpRequest, caller: NamedDependency[Caller], access: NamedDependency[Any], code: FromPath[str]
) -> Response[bytes]:
    """With `action=canUse`: may one more unit be used, and would it be charged?"""
    answer: Response[bytes] = await access.one(caller.principal, caller.dialect, code, "", request)
    return answer


@post("/check", status_code=200, summary="Try a consumption without recording it")
async def check(request: HttpRequest, caller: NamedDependency[Caller], access: NamedDependency[Any]) -> Response[bytes]:
    """Says what the usage call would answer now; reserves nothing."""
    caller.must_read(RESOURCE)
    asked = await read_body(request, UsageCheckInput)
    code = asked.feature_code if asked.feature_code is not UNSET else asked.feature
    if code is UNSET:
        raise invalid("featureCode", "is required")
    try:
        quantity = parse_quantity(asked.quantity)
    except ValueError as error:
        raise invalid("quantity", str(error)) from error
    return reply(caller.dialect, await access.check(caller.principal, asked.customer_id, code, quantity))


ROUTES: Final = (
    Router(
        path="/feature-access", route_handlers=[list_all, get_one], dependencies=DEPENDENCIES, tags=["Feature access"]
    ),
    Router(path="/usage", route_handlers=[check], dependencies=DEPENDENCIES, tags=["Usage"]),
)
