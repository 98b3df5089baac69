"""From the bytes of a request to candidate events, or to what is wrong with them, field by field. Pure.

Owns what a track call may look like: names and their synonyms, types, limits. Knows no catalog: whether a customer or a
feature exists is `ingest.matching`'s. Invariants: no input raises; a value never passes through a float; one bad event
of a batch says nothing about the others. Source: contract 3.18, 3.19; R-TRACK-1 to 5, 16 to 18.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from ingest.pricing import TokenCounts
from kernel.errors import Refusal
from kernel.limits import (
    BATCH_EVENTS_MAX,
    KEY_BYTES_MAX,
    PROPERTIES_MAX,
    PROPERTY_CHARS_MAX,
    QUANTITY_MAX,
    QUANTITY_PLACES_MAX,
)
from kernel.period import parse_instant_us
from kernel.quantity import canonical, parse_quantity

# 13 digits before the point and 9 after fit four times; a longer spelling is refused before any arithmetic on it.
NUMBER_CHARS_MAX: Final = 64
# The width of `customers.external_id`: a longer reference names nobody.
REFERENCE_CHARS_MAX: Final = 255

_FEATURE: Final = re.compile(r"[a-z0-9_]+")
_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
# Digits of JSON, which have no leading zero, are canonical up to here but for zeros at the end: most numbers need no
# arithmetic. Twelve digits stay below QUANTITY_MAX.
_PLAIN_DIGITS_MAX: Final = 12
_NUMBER_STARTS: Final = frozenset(b"-0123456789")


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One event as the client described it, well-formed, not yet met with the catalog.

    `customer` is a `cus_` id or the seller's own id; `quantity` is canonical; `time_us` is None when no time was sent.
    `model` and `tokens` are set on a call that asks for AI pricing; its `quantity` is input and output tokens together
    (R-AI-12).
    """

    feature: str
    customer: str
    quantity: str
    time_us: int | None
    key: str | None
    properties: tuple[tuple[str, str], ...]
    model: str | None = None
    tokens: TokenCounts | None = None


class _Property(msgspec.Struct, gc=False):
    property: str
    value: str


class _Track(msgspec.Struct, gc=False, rename="camel"):
    feature: str | None = None
    feature_code: str | None = None
    customer_id: str | None = None
    external_id: str | None = None
    value: msgspec.Raw = msgspec.Raw()  # empty: not sent
    timestamp: str | None = None
    idempotency_key: str | None = None
    event_id: str | None = None
    properties: list[_Property] | dict[str, str] | None = None
    model: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


class _Batch(msgspec.Struct, gc=False):
    events: list[msgspec.Raw]


_track: Final = msgspec.json.Decoder(_Track)
_batch: Final = msgspec.json.Decoder(_Batch)
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_EXPECTED: Final = {
    str | None: "must be a string",
    int | None: "must be a whole number",
    list[_Property] | dict[str, str] | None: "must be a list of {property, value}, both strings",
}
_FIELDS: Final[Mapping[str, tuple[msgspec.json.Decoder[Any], str]]] = {
    field.encode_name: (msgspec.json.Decoder(field.type), _EXPECTED[field.type])
    for field in msgspec.structs.fields(_Track)
    if field.name != "value"
}

_FRACTION_DIGITS_MAX: Final = 9
_Errors = list[tuple[str, str]]


def field_errors(errors: _Errors) -> Refusal:
    """Spell errors of fields in the contract's shape (2.2)."""
    return Refusal(
        code="validation_error",
        message="; ".join(f"{field} {message}" for field, message in errors),
        param=errors[0][0],
        details=[{"field": field, "message": message} for field, message in errors],
    )


def invalid_json(reason: str) -> Refusal:
    """Refuse a body that is not JSON."""
    return Refusal(code="invalid_json", message=f"The body is not JSON: {reason}.")


def decode_track(body: bytes) -> Candidate | Refusal:
    """Read the body of one track call; an empty one is `{}` (contract 1.6)."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return invalid_json(str(error))
    return decode_element(body or b"{}")


def decode_batch(body: bytes) -> list[msgspec.Raw] | Refusal:
    """Read the body of a batch into its elements, still encoded, each of them JSON. Source: R-TRACK-16."""
    try:
        body.decode()
        events = _batch.decode(body or b"{}").events
    except msgspec.ValidationError:
        return field_errors([("events", "must be a list of events")])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return invalid_json(str(error))
    except RecursionError:
        return invalid_json("it is nested too deeply")
    if not 1 <= len(events) <= BATCH_EVENTS_MAX:
        return field_errors([("events", f"must hold 1 to {BATCH_EVENTS_MAX} events, not {len(events)}")])
    return events


def decode_element(element: bytes | msgspec.Raw) -> Candidate | Refusal:
    """Read one event; names every field that is wrong."""
    try:
        track = _track.decode(element)
    except msgspec.ValidationError as error:
        return field_errors(_wrong_types(element) or [("body", str(error))])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return invalid_json(str(error))
    except RecursionError:
        return invalid_json("it is nested too deeply")
    return _checked(track)


def _checked(track: _Track) -> Candidate | Refusal:
    errors: _Errors = []
    feature = track.feature if track.feature is not None else track.feature_code
    if feature is None:
        errors.append(("feature", "is required"))
    elif _FEATURE.fullmatch(feature) is None:
        errors.append((_named(track.feature, "feature", "featureCode"), "must match ^[a-z0-9_]+$"))
    customer = track.customer_id if track.customer_id is not None else track.external_id
    if customer is None:
        errors.append(("customerId", "is required"))
    elif not 1 <= len(customer) <= REFERENCE_CHARS_MAX:
        field = _named(track.customer_id, "customerId", "externalId")
        errors.append((field, f"must have 1 to {REFERENCE_CHARS_MAX} characters"))
    key = track.idempotency_key if track.idempotency_key is not None else track.event_id
    if key is not None and not _key_fits(key):
        field = _named(track.idempotency_key, "idempotencyKey", "eventId")
        errors.append((field, f"must have 1 to {KEY_BYTES_MAX} bytes"))
    tokens = None if track.model is None else _tokens(track, errors)
    quantity = _quantity(track, errors) if tokens is None else str(tokens.total)
    time_us = None if track.timestamp is None else _instant(track.timestamp, errors)
    properties = () if not track.properties else _properties(track.properties, errors)
    if errors or feature is None or customer is None:
        return field_errors(errors)
    return Candidate(
        feature=feature,
        customer=customer,
        quantity=quantity,
        time_us=time_us,
        key=key,
        properties=properties,
        model=track.model,
        tokens=tokens,
    )


def key_error(key: str) -> Refusal | None:
    """Check the `Idempotency-Key` of a header; None: it may be used."""
    return None if _key_fits(key) else field_errors([("Idempotency-Key", f"must have 1 to {KEY_BYTES_MAX} bytes")])


def _key_fits(key: str) -> bool:
    return 0 < len(key) <= KEY_BYTES_MAX and (key.isascii() or len(key.encode()) <= KEY_BYTES_MAX)


def _named(first: str | None, name: str, synonym: str) -> str:
    return synonym if first is None else name


def _wrong_types(element: bytes | msgspec.Raw) -> _Errors:
    """Name every member of a wrong type; the fast decoder stops at the first one and names it in its own words."""
    try:
        members = _members.decode(element)
    except msgspec.ValidationError:
        return [("body", "must be an object")]
    errors: _Errors = []
    for name, (decoder, message) in _FIELDS.items():
        if name in members:
            try:
                decoder.decode(members[name])
            except msgspec.ValidationError:
                errors.append((name, message))
    return errors


def _quantity(track: _Track, errors: _Errors) -> str:
    number = bytes(track.value)
    whole, _, fraction = number.partition(b".")
    if whole.isdigit() and len(whole) <= _PLAIN_DIGITS_MAX and len(fraction) <= QUANTITY_PLACES_MAX:
        if not fraction:
            return number.decode()
        if fraction.isdigit():
            return number.rstrip(b"0").rstrip(b".").decode()
    if number in (b"", b"null"):
        return "1"
    if len(number) > NUMBER_CHARS_MAX and number[0] in _NUMBER_STARTS:
        errors.append(("value", f"must be written in at most {NUMBER_CHARS_MAX} characters"))
        return "0"
    quantity, reason = _parsed(number[: NUMBER_CHARS_MAX + 1])
    if reason:
        errors.append(("value", reason))
    return quantity


def _parsed(number: bytes) -> tuple[str, str]:
    """Read a JSON value of at most NUMBER_CHARS_MAX characters: its canonical spelling, or the reason against it."""
    if number[0] not in _NUMBER_STARTS:
        return "0", "must be a number"
    try:
        return canonical(parse_quantity(Decimal(number.decode()))), ""
    except ValueError as error:
        return "0", str(error)
    except ArithmeticError:  # an exponent that no decimal holds
        return "0", "must be a number of at most 9 decimal places"


def _tokens(track: _Track, errors: _Errors) -> TokenCounts:
    """Read the counts of an AI call; without meaning when it has errors. Source: R-TRACK-18, R-AI-3."""
    before = len(errors)
    if not track.model:
        errors.append(("model", "must not be empty"))
    counts: dict[str, int | None] = {"inputTokens": track.input_tokens, "outputTokens": track.output_tokens}
    errors.extend((name, "is required with model") for name, count in counts.items() if count is None)
    counts.update({"cacheReadTokens": track.cache_read_tokens, "cacheWriteTokens": track.cache_write_tokens})
    errors.extend((name, "must not be negative") for name, count in counts.items() if count is not None and count < 0)
    tokens = TokenCounts(
        input=track.input_tokens or 0,
        output=track.output_tokens or 0,
        cache_read=track.cache_read_tokens or 0,
        cache_write=track.cache_write_tokens or 0,
    )
    if len(errors) == before:
        if tokens.not_cached < 0:
            errors.append(("inputTokens", "must include cacheReadTokens and cacheWriteTokens"))
        elif tokens.total > QUANTITY_MAX:
            errors.append(("inputTokens", f"must be at most {QUANTITY_MAX} together with outputTokens"))
    return tokens


def _instant(text: str, errors: _Errors) -> int | None:
    if text[-1:] == "Z" and text[19:20] == "." and text[16] == ":":
        # As most clients stamp: whole seconds, which follow each other and are remembered, and a fraction.
        second, fraction = _second(text[:19]), text[20:-1]
        if second is not None and len(fraction) <= _FRACTION_DIGITS_MAX and fraction.isdigit() and fraction.isascii():
            return second + int(fraction[:6].ljust(6, "0"))
    if _INSTANT.fullmatch(text) is not None:
        try:
            return parse_instant_us(text if text[-1].isdigit() else text.upper())
        except ValueError:
            pass  # a 30th of February, an hour 24: the pattern knows no calendar
    errors.append(("timestamp", "must be an ISO 8601 date and time, such as 2026-01-31T12:00:00Z"))
    return None


@lru_cache(maxsize=4096)
def _second(text: str) -> int | None:
    if _INSTANT.fullmatch(text) is None:
        return None
    try:
        return parse_instant_us(text)
    except ValueError:
        return None


def _properties(sent: list[_Property] | dict[str, str], errors: _Errors) -> tuple[tuple[str, str], ...]:
    pairs = tuple(sent.items()) if isinstance(sent, dict) else tuple((each.property, each.value) for each in sent)
    if len(pairs) > PROPERTIES_MAX:
        errors.append(("properties", f"must be at most {PROPERTIES_MAX}"))
    if any(len(name) > PROPERTY_CHARS_MAX or len(value) > PROPERTY_CHARS_MAX for name, value in pairs):
        errors.append(("properties", f"must have names and values of at most {PROPERTY_CHARS_MAX} characters"))
    return pairs
