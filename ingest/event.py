"""A usage event as the log carries it, and its identity. Public contract of `ingest`.

Owns the fields of an event in a usage record (`[version, "u", gateway, [event, …]]`) and how its key, its content and
its request are digested. Invariant: two attempts of one identity have one digest, whatever gateway took them.
Source: DESIGN 3.1, 3.2; R-TRACK-11.
"""

from hashlib import blake2b
from typing import Final

import msgspec

from kernel.errors import RecordUnreadable
from kernel.position import Position
from kernel.record import UNREADABLE, USAGE, Envelope, encode_record

NO_DIGEST: Final = b""
NO_REQUEST: Final = bytes(8)
NO_REPLAY: Final = b""

# Key namespaces: a key from the body never meets one from the header, nor one of a correction (DESIGN 3.1).
BODY_KEY: Final = "b"
HEADER_KEY: Final = "h"
CORRECTION_KEY: Final = "c"


class TokenUse(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """The AI part of an event: which model, how many tokens of each kind, and what they cost without a margin.

    `model` is `provider/name` as the catalog resolved it (R-AI-6). `input` includes `cache_read` and `cache_write`
    (R-AI-3). The costs are exact decimal strings in USD, not rounded; `base_cost` is their sum. `price_version` and
    `price_since_ms` name the price that was in force at the event's time (R-AI-8). Source: ADR 9; R-AI-11.
    """

    model: str
    input: int
    output: int
    cache_read: int
    cache_write: int
    input_cost: str
    output_cost: str
    cache_read_cost: str
    cache_write_cost: str
    base_cost: str
    price_version: str
    price_since_ms: int


class Corrected(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What a correction corrects: an event that counts, and what it counts before this correction.

    `position` is the event's (eleven bytes), `number` counts its corrections, the first is 1. `void` takes all of it
    back. `term` and `window` (days since 1970-01-01, `window_end` its end) say where it counts; `quantity` is a decimal
    string. `pool` is `credits` or `balance` where it drew on one; `cost` and what it took, in 1e-9 of that pool, differ
    where an AI event took the rest of a hard balance. Source: ADR 10.
    """

    position: bytes
    number: int
    void: bool
    term: int
    window: int
    window_end: int
    quantity: str
    pool: str = ""
    cost: int = 0
    taken: int = 0

    def event(self) -> Position:
        """Name the event."""
        return Position.from_bytes(self.position)

    def key(self) -> str:
        """Spell the key of this correction: of one event and number at most one counts."""
        return f"{self.event().event_id()}#{self.number}"


class UsageEvent(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """One attempt of one usage event.

    Ids are 16 bytes. Times are UTC: `event_time_us` microseconds, `at_ms` (when the gateway read the request) and
    `clock_ms` (the organization's test clock, None on real time) milliseconds since 1970. `quantity` is a decimal
    string. `key` is what the client sent; `digest` (16 bytes) is empty when there is no key. `content` covers feature
    and amount, `request` the HTTP request (eight zero bytes without an `Idempotency-Key` header). `has_timestamp` is
    false when the client sent no time. `replays` is the position (eleven bytes) of the dead letter that an operator
    lets be judged again, with the digest that it is held under; empty for what a client sent. `tokens` is set on an AI
    event, whose quantity is input and output tokens together (R-AI-12). `corrects` is set on a correction, whose
    quantity is the signed difference. A field that is added goes to the end and has a default, so that older records
    still decode.
    """

    organization: bytes
    customer: bytes
    feature: bytes
    event_time_us: int
    at_ms: int
    clock_ms: int | None
    quantity: str
    key: str
    digest: bytes
    content: bytes
    request: bytes
    has_timestamp: bool = True
    properties: tuple[tuple[str, str], ...] = ()
    replays: bytes = NO_REPLAY
    tokens: TokenUse | None = None
    corrects: Corrected | None = None

    def replayed(self) -> Position | None:
        """Name the dead letter that this attempt replays; None for any other attempt."""
        return Position.from_bytes(self.replays) if self.replays else None


def _prefixed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def key_digest(secret: bytes, organization: bytes, customer: bytes, namespace: str, key: str) -> bytes:
    """Digest an identity: BLAKE2b-128 of its length-prefixed parts, keyed by the deployment's secret."""
    return blake2b(
        _prefixed(organization, customer, namespace.encode(), key.encode()), digest_size=16, key=secret
    ).digest()


class KeyDigester:
    """Digests many keys of one customer and namespace as `key_digest` does; their common part is hashed once."""

    def __init__(self, secret: bytes, organization: bytes, customer: bytes, namespace: str) -> None:
        self._start = blake2b(_prefixed(organization, customer, namespace.encode()), digest_size=16, key=secret)

    def digest(self, key: str) -> bytes:
        """Digest one key (16 bytes)."""
        state = self._start.copy()
        data = key.encode()
        state.update(len(data).to_bytes(4, "big") + data)
        return state.digest()


def content_digest(feature: bytes, quantity: str, tokens: TokenUse | None = None) -> bytes:
    """Digest what an event says (8 bytes): the feature, the canonical quantity, and of an AI event model and counts."""
    parts = [feature, quantity.encode()]
    if tokens is not None:
        counts = (tokens.input, tokens.output, tokens.cache_read, tokens.cache_write)
        parts += [tokens.model.encode(), *(str(count).encode() for count in counts)]
    return blake2b(_prefixed(*parts), digest_size=8).digest()


def request_digest(header_key: str | None, dialect: str, body: bytes, index: int) -> bytes:
    """Digest an HTTP request (8 bytes): equal only for a byte-identical retry; eight zero bytes without a header."""
    return RequestDigester(header_key, dialect, body).digest(index)


class RequestDigester:
    """Digests the events of one HTTP request; the body is hashed once for all of them."""

    def __init__(self, header_key: str | None, dialect: str, body: bytes) -> None:
        self._start = (
            None
            if header_key is None
            else blake2b(_prefixed(header_key.encode(), dialect.encode(), body), digest_size=8)
        )

    def digest(self, index: int) -> bytes:
        """Digest the event at `index` (8 bytes); eight zero bytes without a header."""
        if self._start is None:
            return NO_REQUEST
        state = self._start.copy()
        state.update(_prefixed(index.to_bytes(4, "big")))
        digest = state.digest()
        return digest if digest != NO_REQUEST else b"\x01" + NO_REQUEST[1:]


_events_decoder = msgspec.msgpack.Decoder(list[UsageEvent])


def encode_usage(gateway: str, events: list[UsageEvent]) -> bytes:
    """Encode a usage record."""
    return encode_record(USAGE, gateway, events)


def decode_usage(envelope: Envelope) -> list[UsageEvent]:
    """Decode a usage record's body. Raises RecordUnreadable."""
    try:
        return _events_decoder.decode(envelope.body)
    except UNREADABLE as error:
        raise RecordUnreadable(f"a usage record does not decode: {error}") from error
