"""The tables of RAW: events, account records, progress, refusals, books and carried customers.

Owns their DDL alone; who reads and writes them is `aggregator.store`. Invariants: a row that is written twice replaces
itself (ReplacingMergeTree, read with FINAL), so whatever was inserted and not confirmed may be inserted again; an
insert is on the disk when it returns (fsync settings). Ids are text, digests hexadecimal. Source: DESIGN 3.6.
"""

from typing import Final

EVENTS: Final = "events"
ACCOUNT_RECORDS: Final = "account_records"
PROGRESS: Final = "progress"
REFUSALS: Final = "refusals"
BOOKS: Final = "books"
CARRIED: Final = "carried_customers"

_DURABLE: Final = "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"

# What an event drew on a pool, what it says of an AI model, and what it corrects; all of it empty for most events.
_AMOUNT: Final = "Decimal(38, 9)"
_POOL_TYPES: Final = {
    "pool": "LowCardinality(String)",
    **dict.fromkeys(
        ("cost", "drawn_plan", "drawn_packs", "drawn_top_ups", "overdraft", "pool_left"),
        _AMOUNT,
    ),
    "currency": "LowCardinality(String)",
    "margin": "LowCardinality(String)",
    "model": "LowCardinality(String)",
    **dict.fromkeys(("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"), "UInt64"),
    **dict.fromkeys(("input_cost", "output_cost", "cache_read_cost", "cache_write_cost", "base_cost"), "String"),
    "price_version": "LowCardinality(String)",
    "price_since_ms": "Int64",
    **dict.fromkeys(("corrects", "correction"), "String"),
}
_POOL_COLUMNS: Final = ",\n    ".join(f"{name} {type_}" for name, type_ in _POOL_TYPES.items())

# One row an event, refused ones too. `at` is when it took effect (the lower of the gateway's and the log's time),
# `window` the first day of its usage window and `window_end` the day after the last, both of the epoch when it counts
# nowhere; `original` is the event that holds the key, `replays` the dead letter that this attempt replays. The minmax
# index finds an event by its place in the log, the two others the few dead letters and replays.
_EVENTS: Final = f"""
CREATE TABLE IF NOT EXISTS {EVENTS} (
    organization String,
    customer String,
    feature String,
    event_time DateTime64(6, 'UTC'),
    epoch UInt8,
    lane UInt16,
    `offset` UInt64,
    `index` UInt16,
    at DateTime64(3, 'UTC'),
    accepted_at DateTime64(3, 'UTC'),
    clock_ms Nullable(Int64),
    has_timestamp Bool,
    quantity Decimal(38, 9),
    key String,
    digest String,
    content String,
    request String,
    properties Array(Tuple(String, String)),
    gateway LowCardinality(String),
    verdict LowCardinality(String),
    code LowCardinality(String),
    term UInt32,
    window Date32,
    window_end Date32,
    cut UInt32,
    original String,
    original_at DateTime64(3, 'UTC'),
    limited Bool,
    replays String,
    {_POOL_COLUMNS},
    INDEX by_offset `offset` TYPE minmax GRANULARITY 1,
    INDEX by_verdict verdict TYPE set(8) GRANULARITY 1,
    INDEX by_replays replays TYPE minmax GRANULARITY 1
) ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(event_time)
ORDER BY (organization, customer, feature, event_time, epoch, lane, `offset`, `index`)
{_DURABLE}"""

# Every account record of the log; `snapshot` is its body.
_ACCOUNT_RECORDS: Final = f"""
CREATE TABLE IF NOT EXISTS {ACCOUNT_RECORDS} (
    epoch UInt8,
    lane UInt16,
    `offset` UInt64,
    time DateTime64(3, 'UTC'),
    organization String,
    customer String,
    rev UInt64,
    cut UInt32,
    snapshot String
) ENGINE = ReplacingMergeTree
ORDER BY (lane, epoch, `offset`)
{_DURABLE}"""

# Below `next` everything of the lane is in the two tables above; the greatest `next` rules. `clock_ms` is the lane's
# clock there.
_PROGRESS: Final = f"""
CREATE TABLE IF NOT EXISTS {PROGRESS} (
    epoch UInt8,
    lane UInt16,
    next UInt64,
    clock_ms Int64
) ENGINE = ReplacingMergeTree(next)
ORDER BY (epoch, lane)
{_DURABLE}"""

# What a refusal says of the request: its id, method and path, the field at fault, the rule, the event that it became.
_ASKED_TYPES: Final = {
    "request": "String",
    "route": "String",
    "param": "LowCardinality(String)",
    "rule": "LowCardinality(String)",
    "event": "String",
    "now_ms": "Int64",
}
_ASKED_COLUMNS: Final = ",\n    ".join(f"{name} {type_}" for name, type_ in _ASKED_TYPES.items())

# Requests that were refused. `customer`, `feature`, `quantity` and `key` are what the client sent, `body` the beginning
# of a usage event. Without `event` it never reached the log. The filter finds a request by its id.
_REFUSALS: Final = f"""
CREATE TABLE IF NOT EXISTS {REFUSALS} (
    organization String,
    at DateTime64(3, 'UTC'),
    id String,
    customer String,
    feature String,
    quantity String,
    key String,
    code LowCardinality(String),
    message String,
    body String,
    {_ASKED_COLUMNS},
    INDEX by_request request TYPE bloom_filter GRANULARITY 1
) ENGINE = ReplacingMergeTree
ORDER BY (organization, at, id)
{_DURABLE}"""

# What `aggregator.books` has reckoned, below `next` of a lane; of one lane the latest row rules.
_BOOKS: Final = f"""
CREATE TABLE IF NOT EXISTS {BOOKS} (
    epoch UInt8,
    lane UInt16,
    next UInt64,
    events UInt64,
    verdicts Map(String, UInt64),
    carried UInt64,
    difference UInt64,
    lost UInt64,
    at Int64
) ENGINE = ReplacingMergeTree(at)
ORDER BY (epoch, lane)
{_DURABLE}"""

# Which customers of older epochs are a lane's in its own epoch; a row without a customer says that the list is whole.
_CARRIED: Final = f"""
CREATE TABLE IF NOT EXISTS {CARRIED} (
    epoch UInt8,
    lane UInt16,
    customer String
) ENGINE = ReplacingMergeTree
ORDER BY (epoch, lane, customer)
{_DURABLE}"""

# What tables of older versions lack.
_REPLAYS: Final = f"ALTER TABLE {EVENTS} ADD COLUMN IF NOT EXISTS replays String AFTER limited"
_POOL: Final = f"ALTER TABLE {EVENTS} " + ", ".join(
    f"ADD COLUMN IF NOT EXISTS {name} {type_} AFTER {after}"
    for after, (name, type_) in zip(("replays", *_POOL_TYPES), _POOL_TYPES.items(), strict=False)
)
_ASKED: Final = f"ALTER TABLE {REFUSALS} " + ", ".join(
    f"ADD COLUMN IF NOT EXISTS {name} {type_} AFTER {after}"
    for after, (name, type_) in zip(("body", *_ASKED_TYPES), _ASKED_TYPES.items(), strict=False)
)
_BY_REQUEST: Final = (
    f"ALTER TABLE {REFUSALS} ADD INDEX IF NOT EXISTS by_request request TYPE bloom_filter GRANULARITY 1"
)
_BY_VERDICT: Final = f"ALTER TABLE {EVENTS} ADD INDEX IF NOT EXISTS by_verdict verdict TYPE set(8) GRANULARITY 1"

_BY_REPLAYS: Final = f"ALTER TABLE {EVENTS} ADD INDEX IF NOT EXISTS by_replays replays TYPE minmax GRANULARITY 1"

RAW_TABLES: Final = (
    _EVENTS,
    _REPLAYS,
    _POOL,
    _BY_VERDICT,
    _BY_REPLAYS,
    _ACCOUNT_RECORDS,
    _PROGRESS,
    _REFUSALS,
    _ASKED,
    _BY_REQUEST,
    _BOOKS,
    _CARRIED,
)
