"""The fold's word on an event, as it travels from the aggregator to the answer. Public contract of `ingest`.

Owns the closed set of verdicts and the outcome that `{l}o` keeps. Invariant: one event has one outcome; folding the
log again gives the same one. Source: DESIGN 3.5.4.
"""

from enum import StrEnum

import msgspec

from kernel.position import Position


class Verdict(StrEnum):
    """What the fold said of one attempt."""

    COUNTED = "counted"
    REPEAT = "repeat"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    BLOCKED = "blocked"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    DEAD = "dead"


class Drawn(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What a counted event drew on a pool, in 1e-9 credits or 1e-9 of the currency's major unit.

    `pool` is `credits` or `balance`. `cost` is more than the four draws together where an AI event took the rest of a
    hard pool (R-BAL-7). `left` is what the pool then had, below zero its overdraft. `margin` is the percentage that was
    added to the cost of tokens, empty for other events. `currency` is the subscription's, in lower case: empty of
    credits, and in outcomes that are older than it. Source: ADR 9.
    """

    pool: str
    cost: int
    plan: int
    packs: int
    top_ups: int
    overdraft: int
    left: int
    margin: str = ""
    currency: str = ""


class Outcome(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """One event's verdict and what follows from it.

    `code` is the contract's error code of a refused or blocked event, else empty. `term` and `window` (start of the
    usage window, days since 1970-01-01; `window_end` its end) say where a counted event counts; `cut` is the number
    of the cut that will bill it. `original` (a position's eleven bytes) and `original_at_ms` name the attempt that
    holds the key, for repeat, duplicate and conflict. `limited` says that a hard limit applies to this customer and
    feature. `drawn` says what the event took from a pool (None: it draws on none).
    """

    verdict: Verdict
    code: str = ""
    term: int = 0
    window: int = 0
    window_end: int = 0
    cut: int = 0
    original: bytes = b""
    original_at_ms: int = 0
    limited: bool = True
    drawn: Drawn | None = None

    def original_position(self) -> Position | None:
        """Name the attempt that holds the key; None where no other does."""
        return Position.from_bytes(self.original) if self.original else None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Outcome])


def encode_outcomes(outcomes: list[Outcome]) -> bytes:
    """Encode one record's outcomes, in the order of its events."""
    return _encoder.encode(outcomes)


def decode_outcomes(data: bytes) -> list[Outcome]:
    """Decode what `encode_outcomes` wrote."""
    return _decoder.decode(data)
