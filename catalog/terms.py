"""What one subscription grants, frozen: the terms, and the account's snapshot that carries them. Contract of `catalog`.

Owns the body of an account record (`[version, "a", gateway, snapshot]`). Invariants: a snapshot is whole, never a
difference; of two the one with the greater `rev` rules; terms never change, new terms get a new number or take over
from a window on. A field that is added goes to the end and has a default, so that older records still decode.
Source: DESIGN 3.2, 3.8; R-PRICE-1; ADR 9.
"""

from enum import StrEnum

import msgspec

from kernel.errors import RecordUnreadable
from kernel.record import ACCOUNT, UNREADABLE, Envelope, encode_record


class ConsumptionModel(StrEnum):
    """How a plan turns usage into money: exactly one a plan (R-PLAN-2)."""

    METERED = "metered"
    CREDITS = "credits"
    BALANCE = "balance"


class SubscriptionStatus(StrEnum):
    """States of a subscription (R-SUB-4). Canceled and expired are final."""

    DRAFT = "draft"
    TRIALING = "trialing"
    PENDING_PAYMENT = "pending_payment"
    ACTIVE = "active"
    PAUSED = "paused"
    PAST_DUE = "past_due"
    CANCELED = "canceled"
    EXPIRED = "expired"


# Statuses under which usage is judged and access granted, once there are terms (R-ACC-2): a trial has none before a
# card is captured.
LIVE_STATUSES = frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.TRIALING, SubscriptionStatus.PAST_DUE})


class FeatureTerms(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What the terms say of one feature.

    `feature` is its id (16 bytes); `kind` is `boolean`, `metered` or `seats`. `included` counts 1e-9 units a usage
    window (of seats: 1e-9 seats), None is unlimited. With `overage` off usage stops at `included`. `unit_price` is a
    decimal string in the currency's major unit: beyond `included`, a seat's, or on a balance plan every unit's.
    `credits` is what one unit costs on a credits plan, a decimal string. `margin` (a percentage, a decimal string) is
    set on a feature that is priced by AI model (R-AI-1). `addon` is the id of the add-on that brings it, or empty.
    """

    feature: bytes
    code: str
    kind: str
    enabled: bool = True
    included: int | None = 0
    overage: bool = False
    unit_price: str = "0"
    credits: str = "0"
    margin: str | None = None
    addon: str = ""

    @property
    def limited(self) -> bool:
        """A hard limit applies: not unlimited, and no overage beyond what is included."""
        return self.kind == "metered" and self.included is not None and not self.overage


class PoolChain(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """Where the sum of what was bought begins: at the window that starts on day `window` under term `term`."""

    term: int
    window: int


class Terms(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """What one subscription grants on the days from `since` on (days since 1970-01-01).

    `number` rises whenever windows or pools start afresh (subscribing, the end of a trial, a change of plan, a resume)
    and where a renewal sets other limits: windows of different numbers never mix. `anchor` is the day from which
    windows are counted: months clamped to month ends (R-INT-2), or `window_days` days each when that is not 0 (a trial,
    R-TRIAL-7). `start_us` is the instant from which usage counts. `months` is the billing period's length, 0 when there
    is none (a free plan, a trial).
    `pool` is what the plan grants a usage window in 1e-9 credits or 1e-9 of the currency's major unit; with `overdraft`
    a balance may go below zero. `chain` says from where top-ups add up until the first renewal under this number (None:
    from its own first window). `counts_us` is set only in terms that an older version wrote and that followed others:
    what happened since then and comes late counts in the first window. `currency` is the subscription's, in lower case
    (empty in terms that are older than it). Source: ADR 9.
    """

    number: int
    subscription: str
    plan: str
    start_us: int
    anchor: int
    since: int
    free: bool
    features: tuple[FeatureTerms, ...]
    model: ConsumptionModel = ConsumptionModel.METERED
    months: int = 1
    window_days: int = 0
    pool: int = 0
    overdraft: bool = False
    chain: PoolChain | None = None
    counts_us: int | None = None
    currency: str = ""

    @property
    def first_us(self) -> int:
        """Tell the instant from which an event may count."""
        return self.start_us if self.counts_us is None else self.counts_us


class TopUp(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """Money bought in one usage window of a balance plan: `amount` counts 1e-9 of the currency's major unit."""

    term: int
    window: int
    amount: int


class SeatCount(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """Seats held of one feature (16 bytes)."""

    feature: bytes
    count: int


class EndedTerms(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """Terms that ended at the instant `until_us`: what happened before counts if late.

    A pause ended them, a change of plan, or a renewal whose terms set other limits.
    Of their features only metered ones are named.
    """

    terms: Terms
    until_us: int


class Snapshot(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """One account as SQL has it at `rev`.

    `end_us` is when access ends, for good or by a pause (None: neither is set). `next` are the terms announced for the
    days from `next.since` on. `cut` is the number of cuts taken through the customer's lane so far. `packs` sums the
    credits of all packs ever bought (1e-9 credits); `top_ups` are those that still count in the terms' chain, in order
    of (term, window).
    `ended` are the subscription's terms of before, the latest first: those under which late usage may count.
    """

    organization: bytes
    customer: bytes
    rev: int
    status: SubscriptionStatus | None
    end_us: int | None
    terms: Terms | None
    next: Terms | None
    cut: int
    packs: int = 0
    top_ups: tuple[TopUp, ...] = ()
    seats: tuple[SeatCount, ...] = ()
    ended: tuple[EndedTerms, ...] = ()

    def terms_on(self, day: int) -> Terms | None:
        """Tell the terms in force on a day."""
        if self.next is not None and day >= self.next.since:
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
