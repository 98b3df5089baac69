"""The envelope of a log record: msgpack `[version, kind, gateway, body]`.

Owns the two kinds that exist and the version; the bodies belong to `ingest.event` (usage) and `catalog.terms`
(account snapshots). Invariant: a record that cannot be decoded is never skipped; the reader stops its lane.
Source: DESIGN 3.2.
"""

from typing import Final, Literal

import msgspec

from kernel.errors import RecordUnreadable

RECORD_VERSION: Final = 1
USAGE: Final = "u"
ACCOUNT: Final = "a"

Kind = Literal["u", "a"]


class Envelope(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """A record as it lies in the log; `body` is the kind's own msgpack, still encoded."""

    version: int
    kind: Kind
    gateway: str
    body: msgspec.Raw


# What msgspec raises on bytes that nobody encoded: broken UTF-8 and endless nesting are not DecodeErrors.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode_record(kind: Kind, gateway: str, body: object) -> bytes:
    """Encode a record of `kind`; `body` is whatever the kind's struct or list of structs is."""
    return _encoder.encode((RECORD_VERSION, kind, gateway, body))


def decode_record(data: bytes) -> Envelope:
    """Decode an envelope. Raises RecordUnreadable for anything but this version of the two kinds."""
    try:
        envelope = _decoder.decode(data)
    except UNREADABLE as error:
        raise RecordUnreadable(f"a log record does not decode: {error}") from error
    if envelope.version != RECORD_VERSION:
        raise RecordUnreadable(f"a log record has version {envelope.version}, this program reads {RECORD_VERSION}")
    return envelope
