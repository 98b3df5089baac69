"""What OpenAPI shows of calls whose bodies and queries are read by hand: the structs that they are read into."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from litestar.openapi.spec import Operation

_OWN: Final = "#/$defs/"
PAGE: Final = {"limit": "1 to 100, default 25", "cursor": "`nextCursor` of the page before"}


def documented(body: type[msgspec.Struct] | None = None, query: Mapping[str, str] | None = None) -> type[Operation]:
    """Make an operation that shows a JSON body of the struct's shape, and query parameters with what they mean."""
    taken = None if body is None else _inlined(msgspec.json.schema(body))
    asked = [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in (query or {}).items()
    ]

    @dataclass
    class Documented(Operation):
        def to_schema(self) -> dict[str, Any]:
            """Add what Litestar cannot see in the handler's signature."""
            shown = super().to_schema()
            if asked:
                shown["parameters"] = [*shown.get("parameters", []), *asked]
            if taken is not None:
                shown["requestBody"] = {"required": True, "content": {"application/json": {"schema": taken}}}
            return shown

    return Documented


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Put definitions where they are named, and show decimals as the numbers that they are on the wire."""
    definitions = schema.get("$defs", {})

    def inline(part: Any) -> Any:
        if isinstance(part, list):
            return [inline(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return inline(definitions[part["$ref"].removeprefix(_OWN)])
        if part.get("format") == "decimal":
            return {"type": "number"}
        # A discriminator's mapping names definitions that stand nowhere any more; its property is enough to tell.
        return {key: inline(value) for key, value in part.items() if key not in ("$defs", "mapping")}

    shown: dict[str, Any] = inline(schema)
    return shown
