"""The wire's UsageEvent in the shapes of the eras, and the spelling of ids and instants in them. Pure.

Invariant: the id is the event's place in the log, spelled as `Position.event_id` does. Source: contract 3.18, 4.2, 4.3.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from ingest.consumption import Consumption, TokenCosts
from ingest.event import UsageEvent
from kernel import ids
from kernel.period import instant_text
from kernel.position import Position
from kernel.wire import Dialect, Wire

_D: Final = Dialect.D  # by name: looking a member up costs more than comparing it
_MILLIS: Final = tuple(f"{millis:03d}Z" for millis in range(1_000))


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
    value: Raw
    object: str
    livemode: bool
    position: str
    idempotency_key: str | UnsetType = UNSET
    properties: Sequence[PropertyA] | UnsetType = UNSET
    pending: bool | UnsetType = UNSET
    consumption: Consumption | UnsetType = UNSET
    costs: TokenCosts | UnsetType = UNSET


class UsageEventD(Wire, frozen=True, gc=False):
    """The UsageEvent of era D (contract 4.2)."""

    object: str
    livemode: bool
    id: str
    feature_code: str
    value: Raw
    customer_id: str
    event_id: str | None
    ts: str
    created_at: str
    properties: Sequence[Property]
    position: str
    pending: bool | UnsetType = UNSET
    consumption: Consumption | UnsetType = UNSET
    costs: TokenCosts | UnsetType = UNSET


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What all answers of a request share.

    `codes` are the codes of the features by id, `keys` the bodies' keys by index; `respond_async` says that the client
    asked not to wait; `currency` is the organization's, where a draw names none; `request_id` is the answer's, None
    when nobody made one.
    """

    dialect: Dialect
    organization: str
    livemode: bool
    codes: Mapping[bytes, str]
    keys: Sequence[str | None]
    respond_async: bool = False
    currency: str = "usd"
    request_id: str | None = None


def write_event(
    event: UsageEvent,
    place: tuple[int, int, int, int],
    frame: Frame,
    key: str | None,
    *,
    ts_us: int,
    created_ms: int,
    pending: bool,
) -> UsageEventA | UsageEventD:
    """Write an accepted event in the frame's era.

    `place` is its position (for a repeat the original's), `key` the body's, `created_ms` when that was taken.
    """
    epoch, lane, offset, index = place
    prefix, position = _record(epoch, lane, offset)
    bits = (offset & 3) << 18 | index << 2  # as event_id_of
    event_id = prefix + _PAIRS[bits >> 10] + _PAIRS[bits & 1023]
    ts, created_at = instant_of_us(ts_us), _instant(created_ms)
    if frame.dialect is not _D:
        return _era_a(event, frame, key, event_id, position, ts, created_at, pending=pending)
    return UsageEventD(
        object="usage_event",
        livemode=frame.livemode,
        id=event_id,
        feature_code=frame.codes[event.feature],
        value=Raw(event.quantity),
        customer_id=_customer_text(event.customer),
        event_id=key,
        ts=ts,
        created_at=created_at,
        properties=[Property(property=name, value=value) for name, value in event.properties]
        if event.properties
        else (),
        position=position,
        pending=True if pending else UNSET,
    )


def _era_a(
    event: UsageEvent,
    frame: Frame,
    key: str | None,
    event_id: str,
    position: str,
    ts: str,
    created_at: str,
    *,
    pending: bool,
) -> UsageEventA:
    properties = [
        PropertyA(id=f"{event_id}_{number}", usage_event_id=event_id, property=name, value=value, created_at=created_at)
        for number, (name, value) in enumerate(event.properties)
    ]
    return UsageEventA(
        id=event_id,
        organization_id=frame.organization,
        customer_id=_customer_text(event.customer),
        feature=frame.codes[event.feature],
        ts=ts,
        created_at=created_at,
        value=Raw(event.quantity),
        object="usage_event",
        livemode=frame.livemode,
        position=position,
        idempotency_key=UNSET if key is None else key,
        properties=properties or UNSET,
        pending=True if pending else UNSET,
    )


@lru_cache(maxsize=8192)
def _customer_text(customer: bytes) -> str:
    return ids.id_text(ids.CUSTOMER, customer)


_ALPHABET: Final = "0123456789abcdefghijklmnopqrstuv"
_PAIRS: Final = tuple(first + second for first in _ALPHABET for second in _ALPHABET)


@lru_cache(maxsize=1024)
def _record(epoch: int, lane: int, offset: int) -> tuple[str, str]:
    """Spell what all events of a record share: the beginning of their ids, and the position."""
    first = Position(epoch, lane, offset, 0)
    return first.event_id()[:-4], first.record()


def event_id_of(epoch: int, lane: int, offset: int, index: int) -> str:
    """Spell an event's id as `Position.event_id` does, the record's part remembered.

    The last four characters are two bits of the offset, 16 of the index and two of padding.
    """
    bits = (offset & 3) << 18 | index << 2
    return _record(epoch, lane, offset)[0] + _PAIRS[bits >> 10] + _PAIRS[bits & 1023]


_instant = lru_cache(maxsize=1024)(instant_text)


@lru_cache(maxsize=8192)
def _second_text(second: int) -> str:
    return instant_text(second * 1_000)[:20]


def instant_of_us(instant_us: int) -> str:
    """Spell microseconds as the wire does, with milliseconds; the rest is cut."""
    second, rest = divmod(instant_us // 1_000, 1_000)
    return _second_text(second) + _MILLIS[rest]
