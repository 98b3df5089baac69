"""The cool part of the HTTP surface: every typed route as one Litestar application, one envelope for every error.

Decides nothing about usage or money. Source: DESIGN 7; contract 1.3, 2.2.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from litestar import Litestar, Response, Router
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

from catalog.gateway.http import HttpRequest, key_of, request_id_of
from ingest.gateway.refusal_desk import RefusalDesk, bare, named_in
from kernel import limits, wire
from kernel.errors import MeterlineError, Refusal, Rejected, Retryable
from kernel.telemetry import logger
from meterline.front import JSON

_log = logger("http")

RETRY_AFTER: Final = {"Retry-After": "1"}
# What a handler may ask for by name; see `meterline.app` for the objects.
Dependencies = Mapping[str, Any]


class ErrorAnswers:
    """Answers what a handler could not, in the contract's envelope (2.2), and hands refusals to the desk."""

    def __init__(self, dependencies: Dependencies) -> None:
        """Take what handlers may ask for; the desk (`desk`) is among them where refusals are kept."""
        self._dependencies = dependencies

    def on_rejected(self, request: HttpRequest, error: Rejected) -> Response[bytes]:
        """Answer a request that a handler rejected."""
        again = error.refusal.code in ("service_unavailable", "rate_limited")
        return self._refused(request, error.refusal, RETRY_AFTER if again else None)

    def on_operating_error(self, request: HttpRequest, error: MeterlineError) -> Response[bytes]:
        """Answer 503 when a store is away, 500 for what an operator has to mend."""
        if isinstance(error, Retryable):
            refusal = Refusal(code="service_unavailable", message=f"{error}; try again")
            return self._refused(request, refusal, RETRY_AFTER)
        return self.on_bug(request, error)

    def on_http_error(self, request: HttpRequest, error: HTTPException) -> Response[bytes]:
        """Answer Litestar's own refusals in the contract's envelope."""
        refusal = _refusal_of(error)
        return self.on_bug(request, error) if refusal is None else self._refused(request, refusal)

    def on_bug(self, request: HttpRequest, error: Exception) -> Response[bytes]:
        """Answer 500 for what should not happen, and log it with its origin."""
        _log.error("request failed", path=request.url.path, method=request.method, exc_info=error)
        refusal = Refusal(code="internal_error", message="Something went wrong on our side; it is logged.")
        return self._refused(request, refusal)

    def _refused(
        self, request: HttpRequest, refusal: Refusal, headers: Mapping[str, str] | None = None
    ) -> Response[bytes]:
        request_id = request_id_of(request)
        desk: RefusalDesk | None = self._dependencies.get("desk")
        if desk is not None and request_id is not None:
            told = cast("dict[str, Any]", request.scope)
            route = bare(f"{request.method} {request.url.path}")
            desk.keep(
                refusal,
                request_id,
                route,
                key=key_of(request.headers),
                organization=told.get(wire.SCOPE_ORGANIZATION),
                customer=told.get(wire.SCOPE_CUSTOMER) or named_in(route, request.query_params),
            )
        return Response(
            wire.encode(wire.error_body(refusal, request_id)),
            status_code=wire.status_of(refusal.code),
            media_type=JSON,
            headers=dict(headers or {}),
        )


def _refusal_of(error: HTTPException) -> Refusal | None:
    """Spell one of Litestar's own refusals; None for what is no refusal."""
    if isinstance(error, NotFoundException):
        return Refusal(code="not_found", message="There is nothing at this path.")
    if isinstance(error, MethodNotAllowedException):
        return Refusal(code="method_not_allowed", message="This path does not take this method.")
    if error.status_code == 413:  # noqa: PLR2004 - the standard's number
        return Refusal(code="payload_too_large", message=f"A body is at most {limits.BODY_BYTES_MAX} bytes.")
    if error.status_code >= 500:  # noqa: PLR2004 - not the client's fault
        return None
    details = error.extra if isinstance(error, ValidationException) and isinstance(error.extra, list) else []
    found = [{"field": str(i.get("key", "unknown")), "message": str(i.get("message", ""))} for i in details]
    return Refusal(code="validation_error", message=error.detail or "The request is not valid.", details=found)


def litestar_app(
    routes: Sequence[ControllerRouterHandler],
    dependencies: Dependencies,
    linked: Sequence[ControllerRouterHandler] = (),
) -> Litestar:
    """Build the Litestar application: every route under each prefix, OpenAPI at `/schema`, which works offline.

    `linked` are those that stand without a prefix too: links that customers follow lead there.
    `dependencies` names all of them now; each request takes what it holds then.
    """
    answers = ErrorAnswers(dependencies)
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
                Rejected: answers.on_rejected,
                MeterlineError: answers.on_operating_error,
                HTTPException: answers.on_http_error,
                Exception: answers.on_bug,
            },
        ),
    )


def _held(dependencies: Dependencies, name: str) -> Callable[[], Any]:
    def provide() -> Any:
        return dependencies[name]

    return provide
