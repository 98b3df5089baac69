"""Bodies of management calls: JSON in, a typed value out, faults named by the wire's field (contract 1.6, 2.2)."""

import re
from typing import Any, Final, TypeVar, cast

import msgspec
from litestar import Request

from kernel.errors import Rejected, invalid, rejected
from kernel.wire import SCOPE_CUSTOMER

T = TypeVar("T")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")
_WHERE: Final = re.compile(r" - at `\$\.?([^`]*)`$")


async def read_body(request: Request[Any, Any, Any], kind: type[T]) -> T:
    """Read a request's body as `kind`; an empty one is `{}`, unknown members are ignored. Raises Rejected.

    The customer that it names is noted beside the request, for the record of a refusal.
    """
    body = await request.body()
    read = decode_body(body, request.headers.get("content-type"), kind)
    customer = getattr(read, "customer_id", None)
    if isinstance(customer, str):
        cast("dict[str, Any]", request.scope)[SCOPE_CUSTOMER] = customer
    return read


def decode_body(body: bytes, content_type: str | None, kind: type[T]) -> T:
    """Decode a body. Raises Rejected: `invalid_json`, or `validation_error` with the field."""
    if body and content_type is not None and not _is_json(content_type):
        raise rejected("invalid_json", "Send the body as application/json.")
    try:
        return msgspec.json.decode(body or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise _fault(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise rejected("invalid_json", f"The body is not JSON that can be read: {error}.") from error


def _is_json(content_type: str) -> bool:
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or media.endswith("+json")


def _fault(text: str) -> Rejected:
    where = _WHERE.search(text)
    words = text[: where.start()] if where else text
    path = where.group(1) if where else ""
    missing = _MISSING.search(words)
    if missing:
        return invalid(f"{path}.{missing.group(1)}" if path else missing.group(1), "is required")
    return invalid(path or "body", words)
