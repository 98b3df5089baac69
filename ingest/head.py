"""What the headers of a usage request say. Pure. Source: contract 1.2, decisions 3, 4, 7; DESIGN 3.1."""

from collections.abc import Iterable

import msgspec

from kernel.wire import Dialect, dialect_of


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A request's headers, read. `length` is None when it is not declared or not a number; `json` is its type."""

    api_key: str | None
    dialect: Dialect
    idempotency_key: str | None
    respond_async: bool
    json: bool
    length: int | None


def read_head(path: str, headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """Read the headers of a request to `path`; names are lower case, as ASGI has them. An empty key is no key."""
    named = {name: value.decode("latin-1").strip() for name, value in headers}
    key = named.get(b"x-api-key")
    if key is None:
        scheme, _, token = named.get(b"authorization", "").partition(" ")
        key = token.strip() if scheme.lower() == "bearer" else None
    length = named.get(b"content-length", "")
    return Head(
        api_key=key or None,
        dialect=dialect_of(path, named.get(b"commet-version")),
        idempotency_key=named.get(b"idempotency-key") or None,
        respond_async=_prefers_async(named.get(b"prefer", "")),
        json=_is_json(named.get(b"content-type", "")),
        length=int(length) if length.isascii() and length.isdigit() and len(length) < 16 else None,  # noqa: PLR2004
    )


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _prefers_async(prefer: str) -> bool:
    """Find `respond-async` among the preferences (RFC 7240)."""
    return any(part.partition(";")[0].strip().lower() == "respond-async" for part in prefer.split(","))
