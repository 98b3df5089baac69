"""The wire's UsageEvent in the shapes of the eras, and the spelling of ids and instants in them. Pure.

Invariant: the id is the event's place in the log, spelled as `Position.event_id` does. Source: contract 3.18, 4.2, 4.3.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from ingest.event import UsageEvent
from kernel import ids
from kernel.period import instant_text
from kernel.position import Position
from kernel.wire import Dialect, Wire

_SECOND_US: Final = 1_000_000


class Property(Wire, frozen=True, gc=False):
    """A property in era D."""

    property: str
    value: str


class PropertyA(Wire, frozen=True, gc=False):
    """A property in eras A and C."""

    id: str
    usage_event_id: str
    property: str
    value: str
    created_at: str


class UsageEventA(Wire, frozen=True, gc=False):
    """The UsageEvent of eras A and C (contract 3.18, 4.3); members of other eras are additive."""

    id: str
    organization_id: str
    customer_id: str
    feature: str
    ts: str
    created_at: str
    value: msgspec.Raw
    object: str
    livemode: bool
    position: str
    idempotency_key: str | msgspec.UnsetType = msgspec.UNSET
    properties: Sequence[PropertyA] | msgspec.UnsetType = msgspec.UNSET
    pending: bool | msgspec.UnsetType = msgspec.UNSET


class UsageEventD(Wire, frozen=True, gc=False):
    """The UsageEvent of era D (contract 4.2)."""

    object: str
    livemode: bool
    id: str
    feature_code: str
    value: msgspec.Raw
    customer_id: str
    event_id: str | None
    ts: str
    created_at: str
    properties: Sequence[Property]
    position: str
    pending: bool | msgspec.UnsetType = msgspec.UNSET


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What all answers of a request share.

    `codes` are the codes of the features by id, `keys` the bodies' keys by index; `respond_async` says that the client
    asked not to wait.
    """

    dialect: Dialect
    organization: str
    livemode: bool
    codes: Mapping[bytes, str]
    keys: Sequence[str | None]
    respond_async: bool = False


class Accepted(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An accepted event as it is shown: its place, times in microseconds and milliseconds, the body's key."""

    event: UsageEvent
    epoch: int
    lane: int
    offset: int
    index: int
    ts_us: int
    created_ms: int
    key: str | None
    pending: bool


def write_event(accepted: Accepted, frame: Frame) -> UsageEventA | UsageEventD:
    """Write an accepted event in the frame's era."""
    return _era_d(accepted, frame) if frame.dialect is Dialect.D else _era_a(accepted, frame)


def _era_a(accepted: Accepted, frame: Frame) -> UsageEventA:
    event, created_at = accepted.event, _instant(accepted.created_ms)
    event_id = event_id_of(accepted.epoch, accepted.lane, accepted.offset, accepted.index)
    properties = [
        PropertyA(id=f"{event_id}_{place}", usage_event_id=event_id, property=name, value=value, created_at=created_at)
        for place, (name, value) in enumerate(event.properties)
    ]
    return UsageEventA(
        id=event_id,
        organization_id=frame.organization,
        customer_id=_customer_text(event.customer),
        feature=frame.codes[event.feature],
        ts=instant_of_us(accepted.ts_us),
        created_at=created_at,
        value=msgspec.Raw(event.quantity),
        object="usage_event",
        livemode=frame.livemode,
        position=f"{accepted.epoch}.{accepted.lane}.{accepted.offset}",
        idempotency_key=msgspec.UNSET if accepted.key is None else accepted.key,
        properties=properties or msgspec.UNSET,
        pending=accepted.pending or msgspec.UNSET,
    )


def _era_d(accepted: Accepted, frame: Frame) -> UsageEventD:
    event = accepted.event
    return UsageEventD(
        object="usage_event",
        livemode=frame.livemode,
        id=event_id_of(accepted.epoch, accepted.lane, accepted.offset, accepted.index),
        feature_code=frame.codes[event.feature],
        value=msgspec.Raw(event.quantity),
        customer_id=_customer_text(event.customer),
        event_id=accepted.key,
        ts=instant_of_us(accepted.ts_us),
        created_at=_instant(accepted.created_ms),
        properties=[Property(property=name, value=value) for name, value in event.properties],
        position=f"{accepted.epoch}.{accepted.lane}.{accepted.offset}",
        pending=accepted.pending or msgspec.UNSET,
    )


@lru_cache(maxsize=8192)
def _customer_text(customer: bytes) -> str:
    return ids.id_text(ids.CUSTOMER, customer)


_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


@lru_cache(maxsize=1024)
def _record_prefix(epoch: int, lane: int, offset: int) -> str:
    return Position(epoch, lane, offset, 0).event_id()[:-4]


def event_id_of(epoch: int, lane: int, offset: int, index: int) -> str:
    """Spell an event's id as `Position.event_id` does.

    Of the 88 bits the last 18 (two of the offset, 16 of the index) and two of padding are the last four characters;
    the rest is the same for all events of a record.
    """
    tail = (offset & 3) << 18 | index << 2
    return _record_prefix(epoch, lane, offset) + _PAIRS[tail >> 10] + _PAIRS[tail & 1023]


_instant = lru_cache(maxsize=1024)(instant_text)


@lru_cache(maxsize=8192)
def _second_text(second: int) -> str:
    return instant_text(second * 1_000)[:20]


def instant_of_us(instant_us: int) -> str:
    """Spell microseconds as the wire does, with milliseconds; the rest is cut."""
    second, rest = divmod(instant_us, _SECOND_US)
    return f"{_second_text(second)}{rest // 1_000:03d}Z"
