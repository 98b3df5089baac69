"""Rows of RAW, made from what the log and the fold say. Pure.

Owns the order of the columns and the conversion of an event with its outcome into them: ids and positions to text,
digests to hexadecimal, quantities as the decimal strings that they are (exact, never through a float). Events are
collected by column, because inserts by column are four times as fast as by row. Source: DESIGN 3.6.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from catalog.terms import Snapshot, encode_snapshot
from ingest.event import Corrected, TokenUse, UsageEvent
from ingest.refusal import RefusedRequest
from ingest.verdict import Drawn, Outcome, Verdict
from kernel import ids
from kernel.position import Position
from kernel.quantity import canonical, from_units, to_units

# One sink's insert names few organizations and features and some thousand customers; spelling base32 again and again
# would cost more than the rest of a row.
_SPELLINGS_MAX: Final = 65_536


class EventRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of `events`, as inserted. Field order is EVENT_COLUMNS.

    Since 1970: `event_time` in microseconds, `at` (effective at), `accepted_at` and `original_at` in milliseconds,
    `window` and `window_end` in days. `quantity` is a decimal string; digest, content and request are hexadecimal.
    `original` and `replays` are ids of events, or empty. What follows `replays` is set on events that drew on a pool or
    name an AI model: amounts are decimal strings, of a pool with nine places at most, `currency` a balance's, `margin`
    a percentage, costs of tokens exact in USD, `price_since_ms` in milliseconds since 1970. `corrects` is the id of a
    corrected event, and `correction` the rest of what a correction says of it, as JSON; both are empty for others.
    """

    organization: str
    customer: str
    feature: str
    event_time: int
    epoch: int
    lane: int
    offset: int
    index: int
    at: int
    accepted_at: int
    clock_ms: int | None
    has_timestamp: bool
    quantity: str
    key: str
    digest: str
    content: str
    request: str
    properties: tuple[tuple[str, str], ...]
    gateway: str
    verdict: str
    code: str
    term: int
    window: int
    window_end: int
    cut: int
    original: str
    original_at: int
    limited: bool
    replays: str
    pool: str = ""
    cost: str = "0"
    drawn_plan: str = "0"
    drawn_packs: str = "0"
    drawn_top_ups: str = "0"
    overdraft: str = "0"
    pool_left: str = "0"
    currency: str = ""
    margin: str = ""
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    input_cost: str = ""
    output_cost: str = ""
    cache_read_cost: str = ""
    cache_write_cost: str = ""
    base_cost: str = ""
    price_version: str = ""
    price_since_ms: int = 0
    corrects: str = ""
    correction: str = ""


class AccountRecordRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of `account_records`. `time` is the record's in milliseconds; `snapshot` its body in hexadecimal."""

    epoch: int
    lane: int
    offset: int
    time: int
    organization: str
    customer: str
    rev: int
    cut: int
    snapshot: str


class RefusalRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One row of `refusals`, as `ingest.refusal.RefusedRequest` says; `at` is its real time in milliseconds."""

    organization: str
    at: int
    id: str
    customer: str
    feature: str
    quantity: str
    key: str
    code: str
    message: str
    body: str
    request: str = ""
    route: str = ""
    param: str = ""
    rule: str = ""
    event: str = ""
    now_ms: int = 0


EVENT_COLUMNS: Final = EventRow.__struct_fields__
# Metered events end here: RAW has the defaults of the rest.
METERED_COLUMNS: Final = EVENT_COLUMNS[: EVENT_COLUMNS.index("pool")]
_POOL_DEFAULTS: Final = EventRow.__struct_defaults__
_POOL: Final = len(METERED_COLUMNS)
_DRAWN: Final = EVENT_COLUMNS.index("model") - _POOL
_PRICED: Final = EVENT_COLUMNS.index("corrects") - _POOL
_WORDS: Final = {verdict: verdict.value for verdict in Verdict}  # asking a member for its value costs far more
ACCOUNT_RECORD_COLUMNS: Final = AccountRecordRow.__struct_fields__
REFUSAL_COLUMNS: Final = RefusalRow.__struct_fields__


@lru_cache(maxsize=_SPELLINGS_MAX)
def _text(prefix: str, raw: bytes) -> str:
    return ids.id_text(prefix, raw)


def event_row(
    epoch: int,
    lane: int,
    offset: int,
    record_time_ms: int,
    gateway: str,
    index: int,
    event: UsageEvent,
    outcome: Outcome,
) -> tuple[Any, ...]:
    """Make one row in the order of EVENT_COLUMNS."""
    metered = _metered(epoch, lane, offset, record_time_ms, gateway, index, event, outcome)
    return metered + _pool_values(event, outcome)


def _pool_values(event: UsageEvent, outcome: Outcome) -> tuple[Any, ...]:
    """Tell the rest of a row behind METERED_COLUMNS."""
    drawn, tokens, corrects = outcome.drawn, event.tokens, event.corrects
    if drawn is None and tokens is None and corrects is None:
        return _POOL_DEFAULTS
    told = _POOL_DEFAULTS[:_DRAWN] if drawn is None else _drawn_values(drawn)
    priced = _POOL_DEFAULTS[_DRAWN:_PRICED] if tokens is None else msgspec.structs.astuple(tokens)
    return told + priced + (_POOL_DEFAULTS[_PRICED:] if corrects is None else _correction_values(corrects))


def _correction_values(corrects: Corrected) -> tuple[str, str]:
    said = msgspec.structs.asdict(corrects)
    del said["position"]
    return corrects.event().event_id(), msgspec.json.encode(said).decode()


def _drawn_values(drawn: Drawn) -> tuple[Any, ...]:
    amounts = (drawn.cost, drawn.plan, drawn.packs, drawn.top_ups, drawn.overdraft, drawn.left)
    return drawn.pool, *(canonical(from_units(amount)) for amount in amounts), drawn.currency, drawn.margin


def _metered(
    epoch: int,
    lane: int,
    offset: int,
    record_time_ms: int,
    gateway: str,
    index: int,
    event: UsageEvent,
    outcome: Outcome,
) -> tuple[Any, ...]:
    """Make the part of a row that every event has, in the order of METERED_COLUMNS."""
    at = min(event.at_ms, record_time_ms)
    return (
        _text(ids.ORGANIZATION, event.organization),
        _text(ids.CUSTOMER, event.customer),
        _text(ids.FEATURE, event.feature),
        event.event_time_us,
        epoch,
        lane,
        offset,
        index,
        at,
        at if event.clock_ms is None else event.clock_ms,
        event.clock_ms,
        event.has_timestamp,
        event.quantity,
        event.key,
        event.digest.hex(),
        event.content.hex(),
        event.request.hex(),
        event.properties,
        gateway,
        _WORDS[outcome.verdict],
        outcome.code,
        outcome.term,
        outcome.window,
        outcome.window_end,
        outcome.cut,
        _event_id(outcome.original) if outcome.original else "",
        outcome.original_at_ms,
        outcome.limited,
        _event_id(event.replays) if event.replays else "",
    )


def _event_id(position: bytes) -> str:
    return Position.from_bytes(position).event_id()


def drawn_of(row: EventRow) -> Drawn | None:
    """Tell what a row's event drew; None when it drew on no pool."""
    if not row.pool:
        return None
    return Drawn(
        pool=row.pool,
        cost=to_units(row.cost),
        plan=to_units(row.drawn_plan),
        packs=to_units(row.drawn_packs),
        top_ups=to_units(row.drawn_top_ups),
        overdraft=to_units(row.overdraft),
        left=to_units(row.pool_left),
        margin=row.margin,
        currency=row.currency,
    )


def tokens_of(row: EventRow) -> TokenUse | None:
    """Tell the AI part of a row's event; None when it has none."""
    if not row.model:
        return None
    return TokenUse(
        model=row.model,
        input=row.input_tokens,
        output=row.output_tokens,
        cache_read=row.cache_read_tokens,
        cache_write=row.cache_write_tokens,
        input_cost=row.input_cost,
        output_cost=row.output_cost,
        cache_read_cost=row.cache_read_cost,
        cache_write_cost=row.cache_write_cost,
        base_cost=row.base_cost,
        price_version=row.price_version,
        price_since_ms=row.price_since_ms,
    )


def corrected_of(row: EventRow) -> Corrected | None:
    """Tell what a row's event corrects; None when it is no correction."""
    position = Position.from_event_id(row.corrects)
    if position is None:
        return None
    return Corrected(position=position.to_bytes(), **msgspec.json.decode(row.correction))


def rows_of(
    epoch: int,
    lane: int,
    record_offset: int,
    record_time_ms: int,
    gateway: str,
    events: Sequence[UsageEvent],
    outcomes: Sequence[Outcome],
) -> list[tuple[Any, ...]]:
    """Join one record's events with their outcomes: one row each, in the order of EVENT_COLUMNS.

    They end with METERED_COLUMNS when none of them drew on a pool or is a correction: most are not, and a short row is
    a fast one.
    """
    assert len(events) == len(outcomes), "one event has one outcome"
    joined = zip(events, outcomes, strict=True)
    rows = [
        _metered(epoch, lane, record_offset, record_time_ms, gateway, index, event, outcome)
        for index, (event, outcome) in enumerate(joined)
    ]
    plain = all(event.tokens is None and event.corrects is None for event in events)
    if plain and all(outcome.drawn is None for outcome in outcomes):
        return rows
    return [row + _pool_values(event, outcome) for row, event, outcome in zip(rows, events, outcomes, strict=True)]


class EventColumns:
    """Rows on their way to one insert, collected by column; `data` has one list a column of `names`."""

    def __init__(self) -> None:
        self.names: Sequence[str] = METERED_COLUMNS
        self.data: list[list[Any]] = [[] for _ in METERED_COLUMNS]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.data[0])

    def extend(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Add rows that `rows_of` made: all of them short, or all whole."""
        if not rows:
            return
        short = len(rows[0]) == _POOL
        if not short and len(self.data) == _POOL:
            self.names = EVENT_COLUMNS
            self.data += [[default] * len(self) for default in _POOL_DEFAULTS]
        for column, values in zip(self.data, zip(*rows, strict=True), strict=False):
            column.extend(values)
        if short:
            for column, default in zip(self.data[_POOL:], _POOL_DEFAULTS, strict=False):
                column.extend([default] * len(rows))


def account_record_row(epoch: int, lane: int, offset: int, time_ms: int, snapshot: Snapshot) -> AccountRecordRow:
    """Make the row of an account record of the log."""
    return AccountRecordRow(
        epoch=epoch,
        lane=lane,
        offset=offset,
        time=time_ms,
        organization=_text(ids.ORGANIZATION, snapshot.organization),
        customer=_text(ids.CUSTOMER, snapshot.customer),
        rev=snapshot.rev,
        cut=snapshot.cut,
        snapshot=encode_snapshot(snapshot).hex(),
    )


def refusal_row(refused: RefusedRequest) -> RefusalRow:
    """Make the row of a request that the catalog alone refused."""
    return RefusalRow(
        organization=_text(ids.ORGANIZATION, refused.organization),
        at=refused.at_ms,
        id=refused.id,
        customer=refused.customer,
        feature=refused.feature,
        quantity=refused.quantity,
        key=refused.key,
        code=refused.code,
        message=refused.message,
        body=refused.body,
        request=refused.request,
        route=refused.route,
        param=refused.param,
        rule=refused.rule,
        event=refused.event,
        now_ms=refused.now_ms,
    )
