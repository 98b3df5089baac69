"""The HTTP front: hot routes as raw ASGI callables, everything else handed on, the same for every role.

Owns which path goes where, the request id on every answer, health and metrics. Decides nothing about usage or money.
Loads no framework: a process that takes no requests needs none. Source: DESIGN 7.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from kernel import ids, wire
from kernel.clock import Clock
from kernel.errors import Refusal
from kernel.telemetry import Telemetry

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

JSON: Final = "application/json"
AsgiCallable = Callable[[Any, Any, Any], Awaitable[None]]


async def nothing(_scope: Any, _receive: Any, send: "Send") -> None:
    """Answer every path with 404: the surface of a process that takes no requests."""
    body = wire.encode(wire.error_body(Refusal(code="not_found", message="This process takes no requests.")))
    headers = [(b"content-type", JSON.encode())]
    await send(cast("Message", {"type": "http.response.start", "status": 404, "headers": headers}))
    await send(cast("Message", {"type": "http.response.body", "body": body}))


class Front:
    """The whole HTTP surface as one ASGI application."""

    def __init__(
        self,
        *,
        hot: Mapping[tuple[str, str], AsgiCallable],
        cool: "ASGIApp",
        telemetry: Telemetry,
        ready: Callable[[], Awaitable[str | None]],
        clock: Clock,
        hot_match: Callable[[str, str, bytes], AsgiCallable | None] | None = None,
    ) -> None:
        """Take the routes: `hot` maps method and path below a prefix, `hot_match` finds what a map cannot.

        `ready` tells why the process is not ready, or None.
        """
        self._hot = {
            (method, prefix + path): target for (method, path), target in hot.items() for prefix in wire.PREFIXES
        }
        self._cool = cool
        self._telemetry = telemetry
        self._ready = ready
        self._clock = clock
        self._hot_match = hot_match

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request, or the server's start and end."""
        if cast("str", scope["type"]) != "http":
            await self._cool(scope, receive, send)
            return
        path, method = scope["path"], str(cast("Any", scope)["method"])
        target = self._hot.get((method, path))
        if target is None and self._hot_match is not None:
            target = self._hot_match(method, path, scope.get("query_string", b""))
        if target is not None:
            await target(scope, receive, send)
        elif path in ("/healthz", "/readyz", "/metrics"):
            await self._operations(path, send)
        else:
            request_id = ids.new_id(ids.REQUEST, self._clock.now_ms())
            told = cast("Scope", {**scope, wire.SCOPE_REQUEST_ID: request_id})
            await self._cool(told, receive, self._stamped(send, request_id))

    def _stamped(self, send: "Send", request_id: str) -> "Send":
        async def stamped(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
                message = cast("Message", {**message, "headers": headers})
            await send(message)

        return stamped

    async def _operations(self, path: str, send: "Send") -> None:
        status, kind, body = 200, JSON, b'{"status":"ok"}'
        if path == "/metrics":
            kind, body = "text/plain; version=0.0.4; charset=utf-8", self._telemetry.render()
        elif path == "/readyz" and (reason := await self._ready()) is not None:
            status, body = 503, wire.encode({"status": "not ready", "reason": reason})
        request_id = ids.new_id(ids.REQUEST, self._clock.now_ms()).encode()
        headers = [(b"content-type", kind.encode()), (b"x-request-id", request_id)]
        await send(cast("Message", {"type": "http.response.start", "status": status, "headers": headers}))
        await send(cast("Message", {"type": "http.response.body", "body": body}))
