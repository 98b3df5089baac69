"""What the catalog refuses, and how words of the wire become its values. Pure.

Every refusal names the field at fault and says what would be taken. Source: billing-rules 4 to 7; contract 4.1.
"""

import re
from decimal import Decimal
from typing import Final, TypeVar

from catalog.definition import Feature, FeatureKind
from kernel import ids
from kernel.errors import invalid
from kernel.limits import AMOUNT_MINOR_MAX
from kernel.money import parse_unit_price
from kernel.period import Interval
from kernel.quantity import canonical, parse_quantity
from kernel.wire import unit_price_of_rate

T = TypeVar("T")
_CODE: Final = re.compile(r"[a-z0-9_]{1,200}")
# One @ between a local part and a domain with a dot, no blanks: what a mail server would be asked about at all.
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_EMAIL_CHARS_MAX: Final = 254
_COUNTRY: Final = re.compile(r"[A-Za-z]{2}")
_VAGUE_CODES: Final = frozenset({"feature", "metric", "usage", "event", "count", "value", "units", "test"})
_NUMBERED_CODE: Final = re.compile(r"[a-z]?|(feature|metric|usage|event|meter)_?[0-9]+")
_RESERVED_CODES: Final = frozenset({"manage", "active", "batch", "bulk"})  # they are words of paths (contract 4.5)
REFERENCE_CHARS_MAX: Final = 255
METADATA_DEPTH_MAX: Final = 20  # far beyond what anybody reads, far below where a JSON library gives up
UNIT_NAME: Final = "unit"  # of a metered feature that names none (R-FEAT-3)
KINDS: Final = {
    "boolean": FeatureKind.BOOLEAN,
    "metered": FeatureKind.METERED,
    "usage": FeatureKind.METERED,
    "seats": FeatureKind.SEATS,
}


def code_of(text: str, field: str = "code") -> str:
    """Check a code (R-FEAT-2, R-PLAN-11)."""
    if not _CODE.fullmatch(text):
        raise invalid(field, "must be 1 to 200 of the characters a to z, 0 to 9 and _")
    if text in _RESERVED_CODES:
        raise invalid(field, f"must not be one of the words {', '.join(sorted(_RESERVED_CODES))}")
    return text


def code_hint(code: str) -> str | None:
    """Tell what is better about a descriptive event code; None for one that says what it counts (R-TRACK-22).

    Guidance alone: every code that `code_of` takes is taken.
    """
    if code not in _VAGUE_CODES and not _NUMBERED_CODE.fullmatch(code):
        return None
    return f"{code} does not say what is counted: events are easier to read as api_calls, storage_gb or emails_sent"


def name_of(text: str) -> str:
    """Check a name: it is not blank."""
    if not text.strip():
        raise invalid("name", "must not be blank")
    return text


def email_of(text: str) -> str:
    """Check an e-mail address (R-CUST-4); the field is `email` in every era (contract 2.2)."""
    if len(text) > _EMAIL_CHARS_MAX or not _EMAIL.fullmatch(text):
        raise invalid("email", "must be a valid e-mail address")
    return text


def external_id_of(text: str) -> str:
    """Check a seller's own customer id (R-CUST-10)."""
    if not 1 <= len(text) <= REFERENCE_CHARS_MAX:
        raise invalid("id", f"must have 1 to {REFERENCE_CHARS_MAX} characters")
    if text.startswith(ids.CUSTOMER):
        raise invalid("id", f"must not start with {ids.CUSTOMER}: that is how Meterline's own ids start")
    return text


def country_of(text: str) -> str:
    """Check a country: two letters of ISO 3166."""
    if not _COUNTRY.fullmatch(text):
        raise invalid("address.country", "must be a country code of two letters")
    return text.upper()


def metadata_of(value: T, depth: int = METADATA_DEPTH_MAX) -> T:
    """Check metadata: whatever JSON it is, nested at most METADATA_DEPTH_MAX deep."""
    if isinstance(value, dict | list):
        if depth == 0:
            raise invalid("metadata", f"must be nested at most {METADATA_DEPTH_MAX} deep")
        for item in value.values() if isinstance(value, dict) else value:
            metadata_of(item, depth - 1)
    return value


def kind_of(word: str) -> FeatureKind:
    """Read a feature's type; `usage` is the newer word for `metered`."""
    if word not in KINDS:
        raise invalid("type", f"{word} is not supported: use boolean, metered (usage) or seats")
    return KINDS[word]


def interval_of(word: str) -> Interval:
    """Read a price's interval (R-PLAN-3)."""
    try:
        return Interval(word)
    except ValueError as error:
        raise invalid("billingInterval", f"{word} is not supported: use monthly, quarterly or yearly") from error


def amount_of(price: int | None, field: str = "price") -> int:
    """Check a price in minor units."""
    if price is None:
        raise invalid(field, "is required")
    if not 0 <= price <= AMOUNT_MINOR_MAX:
        raise invalid(field, f"must be from 0 to {AMOUNT_MINOR_MAX} minor units")
    return price


def unit_price_of(
    rate: int | None,
    decimal: str | None,
    field: str = "overage.unitPrice",
    decimal_field: str = "overage.unitPriceDecimal",
) -> str:
    """Read a unit price: a decimal string in the major unit, or else an integer at the rate scale (decision 6)."""
    if decimal is not None:
        try:
            return canonical(parse_unit_price(decimal))
        except ValueError as error:
            raise invalid(decimal_field, str(error)) from error
    if rate is not None and rate < 0:
        raise invalid(field, "must not be negative")
    try:
        return canonical(parse_unit_price(unit_price_of_rate(rate or 0)))
    except (ValueError, ArithmeticError) as error:
        raise invalid(field, "is too large") from error


def unit_price_text(value: Decimal, field: str) -> str:
    """Check a price of a unit, or of a million tokens, and spell it in its one way. Raises Rejected."""
    try:
        return canonical(parse_unit_price(str(value)))
    except ValueError as error:
        raise invalid(field, str(error)) from error


def included_of(amount: Decimal, field: str = "includedAmount") -> Decimal:
    """Check an included quantity."""
    try:
        return parse_quantity(amount)
    except ValueError as error:
        raise invalid(field, str(error)) from error


def unit_name_of(kind: FeatureKind, text: str | None) -> str | None:
    """Read a feature's unit name: a metered one always has one (R-FEAT-3)."""
    return text or (UNIT_NAME if kind is FeatureKind.METERED else None)


def check_feature(feature: Feature) -> Feature:
    """Refuse an event code on a feature that takes no events, and a seat type on one without seats (R-FEAT-3).

    Only events name an event code: on another feature it would shadow a code.
    """
    if feature.kind is not FeatureKind.METERED and feature.event_code != feature.code:
        raise invalid("eventCode", f"A feature of type {feature.kind} takes no events.")
    if feature.kind is not FeatureKind.SEATS and feature.seat_type is not None:
        raise invalid("seatType", f"A feature of type {feature.kind} has no seats.")
    return feature
