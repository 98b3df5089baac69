"""The mapping file: which columns of a row become which events of which customer. Pure.

Owns its shape and its checks; everything wrong with it is said before the first row is read. Source: DESIGN 7.
"""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from kernel.errors import Misconfigured
from meterline.importer.template import Template


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`time` is the column of the event time (None: events carry no time); `zone` applies where its text has none."""

    time: str | None = None
    zone: str = "UTC"


class CustomerRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`id` is a template. With `create` a missing customer is made and subscribed to `plan`."""

    id: str
    create: bool = False
    plan: str | None = None
    email: str = "billing@example.com"


class EventRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event a row: `value` is a column or a constant, `key` and the values of `properties` are templates."""

    feature: str
    value: str | int = 1
    key: str | None = None
    properties: dict[str, str] = {}


class MappingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file as it is written."""

    source: Source = Source()
    customer: CustomerRule
    event: list[EventRule]


class EventMapping(msgspec.Struct, frozen=True, kw_only=True):
    """One compiled event of a row."""

    feature: str
    value: str | int
    key: Template | None
    properties: Sequence[tuple[str, Template]]


class Mapping(msgspec.Struct, frozen=True, kw_only=True):
    """A checked, compiled mapping."""

    time: str | None
    zone: ZoneInfo
    customer: Template
    create: bool
    plan: str | None
    email: Template
    events: Sequence[EventMapping]

    def columns(self) -> set[str]:
        """Tell which columns every row needs, as far as the file's header can be checked."""
        names = set(self.customer.names) | self.email.names
        if self.time is not None:
            names.add(self.time)
        for event in self.events:
            if isinstance(event.value, str):
                names.add(event.value)
            for template in (*(t for _, t in event.properties), *(() if event.key is None else (event.key,))):
                names |= template.names
        return names


def parse_mapping(data: bytes) -> Mapping:
    """Read a mapping file's bytes (TOML). Raises Misconfigured with a sentence that says what to change."""
    try:
        read: Any = msgspec.toml.decode(data, type=MappingFile)
        return _compiled(read)
    except (msgspec.DecodeError, ValueError) as error:
        raise Misconfigured(f"the mapping file: {error}") from error


def _compiled(read: MappingFile) -> Mapping:
    if not read.event:
        raise ValueError("it needs at least one [[event]]")
    if read.customer.create and not read.customer.plan:
        raise ValueError("[customer] create = true needs plan, the code of the plan to subscribe to")
    try:
        zone = ZoneInfo(read.source.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"[source] zone {read.source.zone!r} is not a known time zone") from error
    return Mapping(
        time=read.source.time,
        zone=zone,
        customer=Template(read.customer.id),
        create=read.customer.create,
        plan=read.customer.plan,
        email=Template(read.customer.email),
        events=[
            EventMapping(
                feature=event.feature,
                value=event.value,
                key=None if event.key is None else Template(event.key),
                properties=[(name, Template(text)) for name, text in event.properties.items()],
            )
            for event in read.event
        ],
    )
