"""The wire's shapes that every route shares: dialects, envelopes, errors, cursors and the encoder. Pure.

Owns how an answer looks in each era of the contract; what it says belongs to the routes. Invariants: every body is
JSON, errors have one superset shape for all clients, decimals are written as JSON numbers without passing a float.
Source: contract 1.5, 2, 4.5; decisions 4, 6.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

import msgspec

from kernel.errors import Refusal, invalid
from kernel.limits import PAGE_DEFAULT, PAGE_MAX
from kernel.money import RATE_SCALE
from kernel.quantity import EXACT, canonical

PREFIXES: Final = ("/api/v1", "/api")
VERSION_CURRENT: Final = "2026-08-27"
_VERSION_C: Final = "2026-05-12"
_VERSION_D: Final = "2026-07-24"
_VERSION_PATTERN: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

# Under these keys an ASGI scope says which id its answer carries, whose request it is, and of which customer it speaks.
SCOPE_REQUEST_ID: Final = "meterline.request_id"
SCOPE_ORGANIZATION: Final = "meterline.organization"
SCOPE_CUSTOMER: Final = "meterline.customer"

T = TypeVar("T")


class Dialect(StrEnum):
    """The era whose shapes a client reads: A wraps and is flat, C wraps, D is bare."""

    A = "A"
    C = "C"
    D = "D"

    @property
    def bare(self) -> bool:
        """Tell whether success is sent without an envelope."""
        return self is Dialect.D


def dialect_of(path: str, version: str | None) -> Dialect:
    """Tell the dialect of a request from its path and its `commet-version` header.

    A version that is not a date resolves to the current one. Source: contract, decision 4, and 4.5.
    """
    if version is None:
        unversioned = path.startswith("/api/") and not path.startswith("/api/v1/")
        return Dialect.A if unversioned else Dialect.D
    if not _VERSION_PATTERN.fullmatch(version) or version >= _VERSION_D:
        return Dialect.D
    return Dialect.C if version >= _VERSION_C else Dialect.A


class Wire(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what goes over the wire: snake_case here, camelCase there. A member set to UNSET is left out."""


_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(obj: object) -> bytes:
    """Encode as JSON; a Decimal becomes a number, digit by digit."""
    return _encoder.encode(obj)


def success(dialect: Dialect, obj: object) -> object:
    """Wrap one object as the dialect wants it (contract 2.1)."""
    return obj if dialect.bare else {"success": True, "data": obj}


def success_list(dialect: Dialect, items: Sequence[object], next_cursor: str | None = None) -> object:
    """Wrap a page of objects as the dialect wants it; `next_cursor` None says that it is the last page."""
    head: dict[str, object] = {"object": "list"} if dialect.bare else {"success": True}
    page = {**head, "data": items, "hasMore": next_cursor is not None}
    return page if next_cursor is None else {**page, "nextCursor": next_cursor}


_CODES: Final[Mapping[str, Mapping[str, int]]] = {
    "validation_error": {
        "validation_error": 400,
        "amount_too_large": 400,
        "invalid_json": 400,
        "no_change_requested": 400,
        "free_plan_change_not_supported": 400,
        "offer_not_applicable": 400,
        "plan_change_scheduled": 400,
        "plans_not_in_same_group": 400,
        "method_not_allowed": 405,
        "payload_too_large": 413,
        "event_unprocessable": 422,
    },
    "authentication_error": {"unauthorized": 401, "forbidden": 403, "sandbox_only": 403},
    "billing_error": {
        "charge_failed": 402,
        "payment_failed": 402,
        "included_limit_reached": 402,
        "insufficient_balance": 402,
        "insufficient_credits": 402,
        "missing_regional_price": 402,
        "pricing_mode_mismatch": 400,
        "insufficient_seats": 400,
        "seat_limit_exceeded": 400,
        "feature_not_in_plan": 403,
        "feature_disabled": 403,
        "addon_not_active": 404,
    },
    "not_found_error": {
        "not_found": 404,
        "customer_not_found": 404,
        "feature_not_found": 404,
        "seat_type_not_found": 404,
        "offer_not_found": 404,
        "plan_not_found": 404,
        "price_not_found": 404,
        "subscription_not_found": 404,
        "no_active_subscription": 404,
        "invoice_not_found": 404,
        "payment_not_found": 404,
        "event_not_found": 404,
        "api_key_not_found": 404,
        "addon_not_found": 404,
        "credit_pack_not_found": 404,
        "promo_code_not_found": 404,
        "plan_group_not_found": 404,
        "model_not_found": 404,
        "endpoint_not_available": 404,
        "endpoint_deprecated": 410,
    },
    "conflict_error": {
        "duplicate": 409,
        "already_has_active_subscription": 409,
        "already_scheduled": 409,
        "charge_in_progress": 409,
        "subscription_not_active": 409,
        "invalid_subscription_status": 409,
        "subscription_already_canceled": 409,
        "subscription_required": 409,
        "not_scheduled_for_cancellation": 409,
        "no_payment_method": 422,
        "no_outstanding_invoice": 409,
        "no_prices_configured": 409,
        "plan_unavailable": 422,
        "feature_already_exists": 409,
        "feature_in_use": 409,
        "seat_type_in_use": 409,
        "price_in_use": 409,
        "addon_already_active": 409,
        "addon_has_activations": 409,
        "promo_code_expired": 409,
        "plan_in_use": 409,
        "event_not_settled": 409,
        "event_not_counted": 409,
        "event_is_correction": 409,
        "event_voided": 409,
        "correction_conflict": 409,
        "window_closed": 409,
        "idempotency_key_mismatch": 409,
        "idempotency_in_progress": 409,
    },
    "rate_limit_error": {"rate_limited": 429},
    "internal_error": {
        "internal_error": 500,
        "subscription_creation_failed": 500,
        "service_unavailable": 503,
        "idempotency_unavailable": 503,
    },
}
STATUS: Final[Mapping[str, int]] = {code: status for codes in _CODES.values() for code, status in codes.items()}
TYPE: Final[Mapping[str, str]] = {code: kind for kind, codes in _CODES.items() for code in codes}


def status_of(code: str) -> int:
    """Tell the HTTP status of an error code (contract 2.3); a code that is not listed is a programmer error."""
    return STATUS[code]


def error_body(refusal: Refusal, request_id: str | None = None) -> dict[str, Any]:
    """Spell a refusal in the one body that every client reads, flat and nested (contract 2.2).

    Additive: `requestId`, the id of the answer's header, by which `GET /explain/{id}` says why.
    """
    flat: dict[str, Any] = {"code": refusal.code, "message": refusal.message}
    if refusal.details is not None:
        flat["details"] = refusal.details
    if request_id is not None:
        flat["requestId"] = request_id
    nested = {"type": TYPE[refusal.code], **flat}
    if refusal.param is not None:
        nested["param"] = refusal.param
    nested["doc_url"] = f"/docs/api-reference/{VERSION_CURRENT}/errors/{refusal.code}.md"
    return {"success": False, **flat, "error": nested}


def encode_cursor(*key: str | int) -> str:
    """Spell the sort key of the last item shown as an opaque cursor."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode_cursor(text: str, *shape: type, bits: int = 64) -> list[Any]:
    """Read a cursor whose key has the types of `shape`; its numbers fit signed columns of so many `bits`.

    Raises Rejected for anything else.
    """
    try:
        key = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError) as error:
        raise invalid("cursor", "is not a cursor of this list") from error
    if not isinstance(key, list) or [type(part) for part in key] != list(shape):
        raise invalid("cursor", "is not a cursor of this list")
    if not all(_is_stored(part, bits) for part in key):
        raise invalid("cursor", "is not a cursor of this list")
    return key


def _is_stored(part: str | int, bits: int) -> bool:
    """Tell whether a store could hold it: no text has a zero character."""
    return "\0" not in part if isinstance(part, str) else part.bit_length() < bits


def page_limit(text: str | None) -> int:
    """Read the `limit` of a list. Raises Rejected outside 1 to PAGE_MAX (contract 2.5)."""
    if text is None:
        return PAGE_DEFAULT
    digits = text.lstrip("0")
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits[:9]) <= PAGE_MAX:
        raise invalid("limit", f"must be a whole number from 1 to {PAGE_MAX}")
    return int(digits)


def cut_page(
    rows: Sequence[T], limit: int, key: Callable[[T], tuple[str | int, ...]]
) -> tuple[Sequence[T], str | None]:
    """Cut rows that were asked for with `limit` + 1 to the page, and tell the next page's cursor if there is one."""
    if len(rows) <= limit:
        return rows, None
    page = rows[:limit]
    return page, encode_cursor(*key(page[-1]))


def page_of(
    rows: Sequence[T], query: Mapping[str, str], key: Callable[[T], tuple[int, str]], *, newest_first: bool = False
) -> tuple[Sequence[T], str | None]:
    """Cut the page that `limit` and `cursor` of a query name from a whole list in the order of `key`."""
    if "cursor" in query:
        after = tuple(decode_cursor(query["cursor"], int, str))
        rows = [row for row in rows if (key(row) < after if newest_first else key(row) > after)]
    return cut_page(rows, page_limit(query.get("limit")), key)


def flag(name: str, text: str | None) -> bool | None:
    """Read a boolean of the query; None when it is absent. Raises Rejected."""
    if text is None:
        return None
    if text not in ("true", "false"):
        raise invalid(name, "must be true or false")
    return text == "true"


def unit_price_of_rate(rate: int) -> str:
    """Turn a wire integer at the rate scale (10,000 = one major unit) into a decimal string in the major unit."""
    return canonical(EXACT.divide(Decimal(rate), Decimal(RATE_SCALE)))


def rate_of_unit_price(unit_price: str) -> int:
    """Turn a unit price into the wire's integer at the rate scale, halves away from zero.

    It may lose digits, so the decimal goes beside it (decision 6).
    """
    scaled = EXACT.multiply(Decimal(unit_price), Decimal(RATE_SCALE))
    return int(scaled.to_integral_value(rounding=ROUND_HALF_UP))
