"""What routes and people read: series, lists of events, one event. Every read names one organization (R-GEN-7)."""

from decimal import Decimal
from typing import Any, Final

from aggregator.row import REFUSAL_COLUMNS, EventRow, RefusalRow
from aggregator.store.event import COLUMNS, event_row
from aggregator.tables import EVENTS, REFUSALS
from aggregator.usage import EventFilter, ListedEvent, UsageQuery, UsageSeries, newest_first, series_of
from kernel.engine.raw.base import Raw
from kernel.limits import BATCH_EVENTS_MAX
from kernel.position import Position

_BUCKETS: Final = f"""
SELECT us - positiveModulo(us, {{width:Int64}}) AS start, sum(quantity) FROM (
    SELECT toUnixTimestamp64Micro(event_time) AS us, quantity FROM {EVENTS} FINAL
    WHERE organization = {{organization:String}} AND feature = {{feature:String}} AND verdict = 'counted'
        AND event_time >= fromUnixTimestamp64Micro({{from_us:Int64}}, 'UTC')
        AND event_time < fromUnixTimestamp64Micro({{to_us:Int64}}, 'UTC')
        AND ({{customer:String}} = '' OR customer = {{customer:String}})
) GROUP BY start"""

_ONE: Final = f"""
SELECT {COLUMNS} FROM {EVENTS} FINAL
WHERE organization = {{organization:String}} AND epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}}
    AND `offset` = {{offset:UInt64}} AND `index` = {{index:UInt16}}"""

_REFUSAL_COLUMNS: Final = ", ".join("toUnixTimestamp64Milli(at)" if name == "at" else name for name in REFUSAL_COLUMNS)
_ONE_REFUSAL: Final = f"""
SELECT {_REFUSAL_COLUMNS} FROM {REFUSALS} FINAL
WHERE ({{organization:String}} = '' OR organization = {{organization:String}}) AND id = {{id:String}}"""
# The refusals of one request: a batch has one for each event that was refused.
_OF_REQUEST: Final = f"""
SELECT {_REFUSAL_COLUMNS} FROM {REFUSALS} FINAL
WHERE ({{organization:String}} = '' OR organization = {{organization:String}}) AND request = {{request:String}}
ORDER BY at, id LIMIT {{limit:UInt32}}"""

# What a filter names, as conditions on the two tables; only those whose value is given are used.
_EVENT_CONDITIONS: Final = {
    "customer": "customer = {customer:String}",
    "feature": "feature = {feature:String}",
    "verdict": "verdict = {verdict:String}",
    "key": "key = {key:String}",
    "from_us": "event_time >= fromUnixTimestamp64Micro({from_us:Int64}, 'UTC')",
    "to_us": "event_time < fromUnixTimestamp64Micro({to_us:Int64}, 'UTC')",
}
_REFUSAL_CONDITIONS: Final = {
    "customer_names": "customer IN {customer_names:Array(String)}",
    "feature_names": "feature IN {feature_names:Array(String)}",
    "key": "key = {key:String}",
    "from_us": "toUnixTimestamp64Milli(at) * 1000 >= {from_us:Int64}",
    "to_us": "toUnixTimestamp64Milli(at) * 1000 < {to_us:Int64}",
}
# Of one instant, events come before refusals, then the later position, then the greater id; a cursor continues there.
_EVENTS_AFTER_EVENT: Final = (
    "(toUnixTimestamp64Micro(event_time), epoch, lane, `offset`, `index`)"
    " < ({time_us:Int64}, {epoch:UInt8}, {lane:UInt16}, {offset:UInt64}, {index:UInt16})"
)
_EVENTS_AFTER_REFUSAL: Final = "toUnixTimestamp64Micro(event_time) < {time_us:Int64}"
_REFUSALS_AFTER_EVENT: Final = "toUnixTimestamp64Milli(at) * 1000 <= {time_us:Int64}"
_REFUSALS_AFTER_REFUSAL: Final = "(toUnixTimestamp64Milli(at) * 1000, id) < ({time_us:Int64}, {id:String})"


class QueryReads:
    """Reads for routes."""

    raw: Raw

    async def series(self, query: UsageQuery) -> UsageSeries:
        """Sum counted usage by event_time, one bucket an hour or a day; buckets without usage are zero."""
        rows = await self.raw.query(
            _BUCKETS,
            {
                "organization": query.organization,
                "customer": query.customer or "",
                "feature": query.feature,
                "from_us": query.from_us,
                "to_us": query.to_us,
                "width": query.granularity.width_us,
            },
        )
        sums: dict[int, Decimal] = dict(rows)
        return series_of(query, sums)

    async def event(self, organization: str, position: Position) -> EventRow | None:
        """Read one event; None when it is not in RAW or another organization's."""
        rows = await self.raw.query(_ONE, {"organization": organization, **position._asdict()})
        return event_row(rows[0]) if rows else None

    async def refusal(self, organization: str | None, refusal_id: str) -> RefusalRow | None:
        """Read one refusal; None when it was not kept or is another organization's.

        An operator names no organization and sees all.
        """
        rows = await self.raw.query(_ONE_REFUSAL, {"organization": organization or "", "id": refusal_id})
        return _refusal_row(rows[0]) if rows else None

    async def refusals_of(self, organization: str | None, request_id: str) -> list[RefusalRow]:
        """Read what was refused of one request, in order; empty when nothing was, or it was not kept."""
        wanted = {"organization": organization or "", "request": request_id, "limit": BATCH_EVENTS_MAX}
        return [_refusal_row(row) for row in await self.raw.query(_OF_REQUEST, wanted)]

    async def events(self, asked: EventFilter, *, limit: int) -> list[ListedEvent]:
        """List events, and refusals where the filter wants them, newest first, at most `limit` after its cursor."""
        found: list[ListedEvent] = []
        found += [event_row(row) for row in await self.raw.query(*_events_sql(asked, limit))]
        if asked.refusals:
            found += [_refusal_row(row) for row in await self.raw.query(*_refusals_sql(asked, limit))]
        return newest_first(found)[:limit]


def _refusal_row(values: tuple[Any, ...]) -> RefusalRow:
    return RefusalRow(**dict(zip(REFUSAL_COLUMNS, values, strict=True)))


def _conditions(asked: EventFilter, limit: int, known: dict[str, str]) -> tuple[list[str], dict[str, Any]]:
    given = {name: getattr(asked, name) for name in known if getattr(asked, name) is not None}
    where = ["organization = {organization:String}", *(known[name] for name in given)]
    return where, {**given, "organization": asked.organization, "limit": limit}


def _events_sql(asked: EventFilter, limit: int) -> tuple[str, dict[str, Any]]:
    where, parameters = _conditions(asked, limit, _EVENT_CONDITIONS)
    if asked.after is not None:
        parameters["time_us"] = asked.after.time_us
        if asked.after.position is None:
            where.append(_EVENTS_AFTER_REFUSAL)
        else:
            where.append(_EVENTS_AFTER_EVENT)
            parameters.update(asked.after.position._asdict())
    order = "event_time DESC, epoch DESC, lane DESC, `offset` DESC, `index` DESC"
    sql = f"SELECT {COLUMNS} FROM {EVENTS} FINAL WHERE {' AND '.join(where)} ORDER BY {order} LIMIT {{limit:UInt32}}"
    return sql, parameters


def _refusals_sql(asked: EventFilter, limit: int) -> tuple[str, dict[str, Any]]:
    where, parameters = _conditions(asked, limit, _REFUSAL_CONDITIONS)
    where += ["event = ''", "(route = '' OR startsWith(route, 'POST /usage/events'))"]  # events, not yet listed as such
    if asked.after is not None:
        parameters["time_us"] = asked.after.time_us
        if asked.after.position is None:
            where.append(_REFUSALS_AFTER_REFUSAL)
            parameters["id"] = asked.after.id
        else:
            where.append(_REFUSALS_AFTER_EVENT)
    sql = (
        f"SELECT {_REFUSAL_COLUMNS} FROM {REFUSALS} FINAL WHERE {' AND '.join(where)}"
        " ORDER BY at DESC, id DESC LIMIT {limit:UInt32}"
    )
    return sql, parameters
