"""The cool part of the HTTP surface: every typed route as one Litestar application, one envelope for every error.

Decides nothing about usage or money. Source: DESIGN 7; contract 1.3, 2.2.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from litestar import Litestar, Request, Response, Router
from litestar.config.app import AppConfig
from litestar.di import Provide
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.types import ControllerRouterHandler

from kernel import limits, wire
from kernel.errors import MeterlineError, Refusal, Rejected, Retryable
from kernel.telemetry import logger
from meterline.front import JSON

_log = logger("http")

RETRY_AFTER: Final = {"Retry-After": "1"}
# What a handler may ask for by name; see `meterline.app` for the objects.
Dependencies = Mapping[str, Any]


def refused(refusal: Refusal, headers: Mapping[str, str] | None = None) -> Response[bytes]:
    """Answer a refusal in the contract's envelope (2.2)."""
    return Response(
        wire.encode(wire.error_body(refusal)),
        status_code=wire.status_of(refusal.code),
        media_type=JSON,
        headers=dict(headers or {}),
    )


def on_rejected(_: Request[Any, Any, Any], error: Rejected) -> Response[bytes]:
    """Answer a request that a handler rejected."""
    again = error.refusal.code in ("service_unavailable", "rate_limited")
    return refused(error.refusal, RETRY_AFTER if again else None)


def on_operating_error(_: Request[Any, Any, Any], error: MeterlineError) -> Response[bytes]:
    """Answer 503 when a store is away, 500 for what an operator has to mend."""
    if isinstance(error, Retryable):
        return refused(Refusal(code="service_unavailable", message=f"{error}; try again"), RETRY_AFTER)
    return on_bug(_, error)


def on_http_error(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer Litestar's own refusals in the contract's envelope."""
    if isinstance(error, NotFoundException):
        return refused(Refusal(code="not_found", message="There is nothing at this path."))
    if isinstance(error, MethodNotAllowedException):
        return refused(Refusal(code="method_not_allowed", message="This path does not take this method."))
    if error.status_code == 413:  # noqa: PLR2004 - the standard's number
        return refused(Refusal(code="payload_too_large", message=f"A body is at most {limits.BODY_BYTES_MAX} bytes."))
    details = error.extra if isinstance(error, ValidationException) and isinstance(error.extra, list) else None
    if error.status_code < 500:  # noqa: PLR2004 - client's fault
        found = [{"field": str(i.get("key", "unknown")), "message": str(i.get("message", ""))} for i in details or []]
        message = error.detail or "The request is not valid."
        return refused(Refusal(code="validation_error", message=message, details=found))
    return on_bug(_, error)


def on_bug(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer 500 for what should not happen, and log it with its origin."""
    _log.error("request failed", path=request.url.path, method=request.method, exc_info=error)
    return refused(Refusal(code="internal_error", message="Something went wrong on our side; it is logged."))


def litestar_app(
    routes: Sequence[ControllerRouterHandler],
    dependencies: Dependencies,
    linked: Sequence[ControllerRouterHandler] = (),
) -> Litestar:
    """Build the Litestar application: every route under each prefix, OpenAPI at `/schema`, which works offline.

    `linked` are those that stand without a prefix too: links that customers follow lead there.
    `dependencies` names all of them now; each request takes what it holds then.
    """
    provided = {name: Provide(_held(dependencies, name), sync_to_thread=False) for name in dependencies}

    def quiet(config: AppConfig) -> AppConfig:
        config.logging_config = None
        return config

    return Litestar(
        route_handlers=[*(Router(path=prefix, route_handlers=list(routes)) for prefix in wire.PREFIXES), *linked],
        dependencies=provided,
        on_app_init=[quiet],
        request_max_body_size=limits.BODY_BYTES_MAX,
        openapi_config=OpenAPIConfig(
            title="Meterline",
            version="0.1.0",
            path="/schema",
            render_plugins=[JsonRenderPlugin(), YamlRenderPlugin()],
        ),
        exception_handlers=cast(
            "Any",
            {
                Rejected: on_rejected,
                MeterlineError: on_operating_error,
                HTTPException: on_http_error,
                Exception: on_bug,
            },
        ),
    )


def _held(dependencies: Dependencies, name: str) -> Callable[[], Any]:
    def provide() -> Any:
        return dependencies[name]

    return provide
