"""The usage routes: raw ASGI callables for the hot path, and their typed twins for OpenAPI."""

from ingest.routes.openapi import OPENAPI_TWINS
from ingest.routes.usage import UsageRoutes

__all__ = ["OPENAPI_TWINS", "UsageRoutes"]
