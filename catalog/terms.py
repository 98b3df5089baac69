"""What one subscription grants, frozen: the terms, and the account's snapshot that carries them. Contract of `catalog`.

Owns the body of an account record (`[version, "a", gateway, snapshot]`). Invariants: a snapshot is whole, never a
difference; of two the one with the greater `rev` rules; terms never change, new terms get a new number or take over
from a window on.
Source: DESIGN 3.2, 3.8; R-PRICE-1.
"""

from enum import StrEnum

import msgspec

from kernel.errors import RecordUnreadable
from kernel.record import ACCOUNT, UNREADABLE, Envelope, encode_record


class SubscriptionStatus(StrEnum):
    """States of a subscription (R-SUB-4) that this version reaches."""

    ACTIVE = "active"
    CANCELED = "canceled"


# Statuses under which usage is judged and access granted (R-ACC-2).
LIVE_STATUSES = frozenset({SubscriptionStatus.ACTIVE})


class FeatureTerms(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What the terms say of one feature.

    `feature` is its id (16 bytes); `kind` is `boolean` or `metered`. `included` counts 1e-9 units a usage
    window, None is unlimited. With `overage` off usage stops at `included`. `unit_price` is a decimal string in the
    currency's major unit.
    """

    feature: bytes
    code: str
    kind: str
    enabled: bool = True
    included: int | None = 0
    overage: bool = False
    unit_price: str = "0"

    @property
    def limited(self) -> bool:
        """A hard limit applies: not unlimited, and no overage beyond what is included."""
        return self.kind == "metered" and self.included is not None and not self.overage


class Terms(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What one subscription grants in the windows that start on or after `since` (days since 1970-01-01).

    `number` rises with every subscription of a customer: windows of different numbers never mix. `anchor` is the day
    from which windows are counted (clamped to month ends, R-INT-2); `start_us` the instant the subscription began.
    """

    number: int
    subscription: str
    plan: str
    start_us: int
    anchor: int
    since: int
    free: bool
    features: tuple[FeatureTerms, ...]


class Snapshot(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """One account as SQL has it at `rev`.

    `end_us` is when access ends (None: no end is set). `next` are the terms announced for the windows from
    `next.since` on. `cut` is the number of cuts taken through the customer's lane so far.
    """

    organization: bytes
    customer: bytes
    rev: int
    status: SubscriptionStatus | None
    end_us: int | None
    terms: Terms | None
    next: Terms | None
    cut: int

    def terms_of(self, window: int) -> Terms | None:
        """Tell the terms in force in the usage window that starts on day `window`."""
        if self.next is not None and window >= self.next.since:
            return self.next
        return self.terms


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Snapshot)


def encode_account_record(gateway: str, snapshot: Snapshot) -> bytes:
    """Encode an account record for the log."""
    return encode_record(ACCOUNT, gateway, snapshot)


def decode_account_record(envelope: Envelope) -> Snapshot:
    """Decode an account record's body. Raises RecordUnreadable."""
    return decode_snapshot(bytes(envelope.body))


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """Encode a snapshot alone, as LIVE keeps it."""
    return _encoder.encode(snapshot)


def decode_snapshot(data: bytes) -> Snapshot:
    """Decode what `encode_snapshot` wrote. Raises RecordUnreadable."""
    try:
        return _decoder.decode(data)
    except UNREADABLE as error:
        raise RecordUnreadable(f"an account snapshot does not decode: {error}") from error
