"""Questions about usage and their answers. Public contract of `aggregator`. Pure.

Owns what `GET /usage/query` and `GET /usage/events` may ask. Invariants: intervals are half-open and in event_time,
sums are exact decimals over counted events alone, lists are newest first and stay stable while events arrive
(contract 2.5).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from aggregator.row import EventRow, RefusalRow
from ingest.verdict import Verdict
from kernel import ids
from kernel.errors import invalid
from kernel.limits import QUERY_BUCKETS_MAX
from kernel.period import DAY_US, parse_instant_us
from kernel.position import Position
from kernel.quantity import EXACT, canonical
from kernel.wire import decode_cursor, page_limit

_HOUR_US: Final = 3_600_000_000
# What RAW's times hold (DateTime64): 1900-01-01 to 2299-12-31.
_TIME_MIN_US: Final = -2_208_988_800_000_000
_TIME_MAX_US: Final = 10_413_705_600_000_000
ALL_VERDICTS: Final = "all"

ListedEvent = EventRow | RefusalRow


class Granularity(StrEnum):
    """Width of a bucket; both begin on whole UTC hours or days."""

    HOUR = "hour"
    DAY = "day"

    @property
    def width_us(self) -> int:
        """Tell the width in microseconds."""
        return _HOUR_US if self is Granularity.HOUR else DAY_US

    @property
    def span_us(self) -> int:
        """Tell how far a query reaches back that says nothing: a day of hours, 30 days."""
        return DAY_US if self is Granularity.HOUR else 30 * DAY_US


class UsageQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /usage/query` as asked: the customer (None: all) and the feature as the client names them."""

    customer: str | None
    feature: str
    granularity: Granularity
    from_us: int
    to_us: int


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A question with the ids that it means. Times are microseconds of event_time, `to_us` excluded."""

    organization: str
    customer: str | None
    feature: str
    granularity: Granularity
    from_us: int
    to_us: int


class Bucket(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Usage from `start_us` on, for one granularity; what lies outside the query's interval is not in it."""

    start_us: int
    quantity: Decimal


class UsageSeries(msgspec.Struct, frozen=True, kw_only=True):
    """Every bucket of a query in order, empty ones too, and their exact sum."""

    buckets: tuple[Bucket, ...]
    total: Decimal


class ListCursor(msgspec.Struct, frozen=True, kw_only=True):
    """The last item shown: its time and id; `position` is None for a refusal, which has none."""

    time_us: int
    id: str
    position: Position | None


class EventQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /usage/events` as asked. `verdict` None is all; None elsewhere: not filtered."""

    customer: str | None
    feature: str | None
    verdict: Verdict | None
    key: str | None
    from_us: int | None
    to_us: int | None
    limit: int
    after: ListCursor | None

    @property
    def refusals(self) -> bool:
        """Tell whether requests that never reached the log belong to the answer."""
        return self.verdict in (None, Verdict.REFUSED)


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """An event question with the ids that it means. A None does not filter.

    `customer_names` and `feature_names` are what a refused request may have called the two: it may have named what does
    not exist.
    """

    organization: str
    customer: str | None = None
    customer_names: tuple[str, ...] | None = None
    feature: str | None = None
    feature_names: tuple[str, ...] | None = None
    verdict: Verdict | None = None
    key: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    after: ListCursor | None = None
    refusals: bool = False


class EventSums(msgspec.Struct, frozen=True, kw_only=True):
    """The counted events behind an invoice line: how many, their sum, and when the first and the last happened.

    `units` and `overdraft` count 1e-9 (of the feature; of the currency's major unit), times are microseconds.
    `of_window` is what the whole window holds up to the line's cut, `price_versions` names the editions of AI prices.
    """

    count: int
    units: int
    overdraft: int
    of_window: int
    first_us: int | None
    last_us: int | None
    price_versions: tuple[str, ...]


def usage_question(asked: Mapping[str, str], now_ms: int) -> UsageQuestion:
    """Read the query of `GET /usage/query`; `now_ms` is the organization's. Raises Rejected.

    Without `to` the running bucket is the last one; without `from` it is a day of hours, or 30 days.
    """
    feature = asked.get("feature") or asked.get("featureCode")
    if not feature:
        raise invalid("feature", "is required")
    granularity = _granularity(asked.get("granularity"))
    width = granularity.width_us
    to_us = _instant(asked, "to")
    if to_us is None:
        to_us = (now_ms * 1_000 // width + 1) * width
    from_us = _instant(asked, "from")
    if from_us is None:
        from_us = (to_us - 1) // width * width + width - granularity.span_us
    if from_us >= to_us:
        raise invalid("from", "must be earlier than to")
    if _bucket_count(granularity, from_us, to_us) > QUERY_BUCKETS_MAX:
        raise invalid("from", f"is too far from to: an answer has at most {QUERY_BUCKETS_MAX} buckets")
    return UsageQuestion(
        customer=asked.get("customerId") or None,
        feature=feature,
        granularity=granularity,
        from_us=from_us,
        to_us=to_us,
    )


def event_question(asked: Mapping[str, str]) -> EventQuestion:
    """Read the query of `GET /usage/events`. Without `verdict` counted events are meant. Raises Rejected."""
    from_us, to_us = _instant(asked, "from"), _instant(asked, "to")
    if from_us is not None and to_us is not None and from_us >= to_us:
        raise invalid("from", "must be earlier than to")
    cursor = asked.get("cursor")
    return EventQuestion(
        customer=asked.get("customerId") or None,
        feature=asked.get("feature") or asked.get("featureCode") or None,
        verdict=_verdict(asked.get("verdict")),
        key=asked.get("idempotencyKey") or asked.get("eventId") or None,
        from_us=from_us,
        to_us=to_us,
        limit=page_limit(asked.get("limit")),
        after=_list_cursor(cursor) if cursor else None,
    )


def series_of(query: UsageQuery, sums: Mapping[int, Decimal]) -> UsageSeries:
    """Lay sums by bucket start out over the query's whole interval, zeros where there are none."""
    width = query.granularity.width_us
    first = query.from_us // width * width
    buckets = tuple(
        Bucket(start_us=start, quantity=_plain(sums.get(start, Decimal(0))))
        for start in range(first, query.to_us, width)
    )
    total = Decimal(0)
    for bucket in buckets:
        total = EXACT.add(total, bucket.quantity)
    return UsageSeries(buckets=buckets, total=_plain(total))


def newest_first(found: Iterable[ListedEvent]) -> list[ListedEvent]:
    """Order by time, latest first; of one instant events before refusals, then the later position, the greater id."""
    return sorted(found, key=_order, reverse=True)


def cursor_key(item: ListedEvent) -> tuple[int, str]:
    """Tell what a cursor says of the last item shown."""
    if isinstance(item, RefusalRow):
        return item.at * 1_000, item.id
    return item.event_time, position_of(item).event_id()


def position_of(row: EventRow) -> Position:
    """Tell where a row's event stands in the log."""
    return Position(row.epoch, row.lane, row.offset, row.index)


def _order(item: ListedEvent) -> tuple[int, int, Position, str]:
    if isinstance(item, RefusalRow):
        return item.at * 1_000, 0, Position(0, 0, 0, 0), item.id
    return item.event_time, 1, position_of(item), ""


def _plain(quantity: Decimal) -> Decimal:
    return Decimal(canonical(quantity))


def _bucket_count(granularity: Granularity, from_us: int, to_us: int) -> int:
    width = granularity.width_us
    return (to_us - 1) // width - from_us // width + 1


def _granularity(text: str | None) -> Granularity:
    try:
        return Granularity(text or Granularity.DAY)
    except ValueError as error:
        raise invalid("granularity", "must be hour or day") from error


def _verdict(text: str | None) -> Verdict | None:
    if text == ALL_VERDICTS:
        return None
    try:
        return Verdict(text or Verdict.COUNTED)
    except ValueError as error:
        names = ", ".join(verdict.value for verdict in Verdict)
        raise invalid("verdict", f"must be {ALL_VERDICTS} or one of {names}") from error


def _instant(asked: Mapping[str, str], name: str) -> int | None:
    text = asked.get(name)
    if not text:
        return None
    try:
        return min(max(parse_instant_us(text), _TIME_MIN_US), _TIME_MAX_US)
    except ValueError as error:
        raise invalid(name, "must be an ISO 8601 date or time") from error


def _list_cursor(text: str) -> ListCursor:
    time_us, item = decode_cursor(text, int, str)
    position = Position.from_event_id(item)
    if position is None and not ids.is_id(ids.REFUSAL, item):
        raise invalid("cursor", "is not a cursor of this list")
    return ListCursor(time_us=time_us, id=item, position=position)
