"""Reading RAW and SQL, by statements of the audit's own."""

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import text

from kernel import ids
from kernel.engine.raw.base import Raw
from kernel.engine.sql.base import Sql
from meterline.audit.decoding import (
    AccountRecord,
    Attempt,
    Correction,
    Position,
    Tokens,
    decode_snapshot,
    position_named,
)
from meterline.audit.pool import Taken

_EVENT_COLUMNS: Final = """organization, customer, feature, toUnixTimestamp64Micro(event_time), epoch, lane, `offset`,
    `index`, toUnixTimestamp64Milli(at), toUnixTimestamp64Milli(accepted_at), clock_ms, has_timestamp,
    toString(quantity), key, digest, content, request, properties, toString(gateway), toString(verdict),
    toString(code), term,
    dateDiff('day', toDate32('1970-01-01'), `window`), dateDiff('day', toDate32('1970-01-01'), window_end), cut,
    original, limited, replays, toString(pool), toString(cost), toString(drawn_plan), toString(drawn_packs),
    toString(drawn_top_ups), toString(overdraft), toString(pool_left), toString(margin), toString(model), input_tokens,
    output_tokens, cache_read_tokens, cache_write_tokens, input_cost, output_cost, cache_read_cost, cache_write_cost,
    base_cost, toString(price_version), price_since_ms, corrects, correction"""


_id = lru_cache(maxsize=65_536)(ids.id_bytes)  # most rows name the same few


class Stored(NamedTuple):
    """One row of RAW: the attempt, and the outcome beside it. `original` is an event id or empty."""

    attempt: Attempt
    accepted_ms: int
    verdict: str
    code: str
    term: int
    window: int
    window_end: int
    cut: int
    original: str
    limited: bool
    taken: Taken = Taken()


async def progress(raw: Raw) -> dict[tuple[int, int], int]:
    """Read, by epoch and lane, the offset below which RAW has everything."""
    rows = await raw.query("SELECT epoch, lane, max(next) FROM progress GROUP BY epoch, lane")
    return {(int(epoch), int(lane)): int(following) for epoch, lane, following in rows}


async def corrected(raw: Raw) -> set[Position]:
    """Read the places of all events that corrections name."""
    rows = await raw.query("SELECT DISTINCT corrects FROM events WHERE corrects != ''")
    return {place for (name,) in rows if (place := position_named(name)) is not None}


async def stored_events(raw: Raw, epoch: int, lane: int, start: int, end: int) -> list[Stored]:
    """Read the rows of a lane with offsets from `start` up to, but without, `end`, in the order of the log."""
    rows = await raw.query(
        f"SELECT {_EVENT_COLUMNS} FROM events FINAL WHERE epoch = {{epoch:UInt8}} AND lane = {{lane:UInt16}}"
        " AND `offset` >= {start:UInt64} AND `offset` < {end:UInt64} ORDER BY `offset`, `index`",
        {"epoch": epoch, "lane": lane, "start": start, "end": end},
    )
    return [_stored(row) for row in rows]


def _stored(row: tuple[Any, ...]) -> Stored:
    organization, customer, feature, time_us, epoch, lane, offset, index, at, accepted = row[:10]
    clock_ms, stamped, quantity, key, digest, content, request, properties, gateway = row[10:19]
    verdict, code, term, window, window_end, cut, original, limited, replays = row[19:28]
    pool, *amounts, margin, model = row[28:37]
    attempt = Attempt(
        (int(epoch), int(lane), int(offset), int(index)),
        _id(organization),
        _id(customer),
        _id(feature),
        int(time_us),
        int(at),
        None if clock_ms is None else int(clock_ms),
        bool(stamped),
        Decimal(quantity),
        key,
        bytes.fromhex(digest),
        bytes.fromhex(content),
        bytes.fromhex(request),
        tuple((str(pair[0]), str(pair[1])) for pair in properties),
        gateway,
        position_named(replays),
        Tokens.of((model, *map(int, row[37:41]), *row[41:46], row[46], int(row[47]))) if model else None,
        Correction.named(row[48], row[49]),
    )
    taken = Taken._make((pool, *map(Decimal, amounts), margin))
    days = int(window), int(window_end)
    return Stored(attempt, int(accepted), verdict, code, int(term), *days, int(cut), original, bool(limited), taken)


async def stored_records(raw: Raw, epoch: int, lane: int, start: int, end: int) -> dict[int, AccountRecord]:
    """Read the account records of a lane by offset. Raises ValueError for one whose columns are not its body's."""
    rows = await raw.query(
        "SELECT `offset`, rev, cut, snapshot FROM account_records FINAL WHERE epoch = {epoch:UInt8} AND"
        " lane = {lane:UInt16} AND `offset` >= {start:UInt64} AND `offset` < {end:UInt64} ORDER BY `offset`",
        {"epoch": epoch, "lane": lane, "start": start, "end": end},
    )
    found = {}
    for offset, rev, cut, snapshot in rows:
        record = decode_snapshot(bytes.fromhex(snapshot))
        if (record.rev, record.cut) != (int(rev), int(cut)):
            raise ValueError(f"account record {epoch}.{lane}.{offset}: its columns are not its body's")
        found[int(offset)] = record
    return found


class Books(NamedTuple):
    """What SQL says at one moment: rows by name of table."""

    accounts: Sequence[Mapping[str, Any]]
    organizations: Sequence[Mapping[str, Any]]
    subscriptions: Sequence[Mapping[str, Any]]
    terms: Sequence[Mapping[str, Any]]
    closes: Sequence[Mapping[str, Any]]
    invoices: Sequence[Mapping[str, Any]]
    lines: Sequence[Mapping[str, Any]]
    credits: Sequence[Mapping[str, Any]]
    refunds: Sequence[Mapping[str, Any]]
    payments: Sequence[Mapping[str, Any]]
    applications: Sequence[Mapping[str, Any]]
    carried: Sequence[Mapping[str, Any]]
    numbers: Sequence[Mapping[str, Any]]
    packs: Sequence[Mapping[str, Any]]
    top_ups: Sequence[Mapping[str, Any]]
    seats: Sequence[Mapping[str, Any]]
    addons: Sequence[Mapping[str, Any]]
    features: dict[str, str]
    archived: frozenset[str]  # customers who were archived or deleted


async def books(sql: Sql) -> Books:
    """Read the tables of billing in one snapshot."""
    async with sql.snapshot() as connection:

        async def rows(statement: str) -> list[dict[str, Any]]:
            return [dict(row) for row in (await connection.execute(text(statement))).mappings()]

        def exact(found: list[dict[str, Any]], *names: str) -> Sequence[Mapping[str, Any]]:
            for row in found:
                row.update({name: _document(row[name]) for name in names})
            return found

        return Books(
            accounts=await rows("SELECT customer_id, organization_id, rev, cut, open_cut FROM accounts"),
            organizations=await rows("SELECT id, currency, clock_ms, settle_ms, environment FROM organizations"),
            subscriptions=await rows(
                "SELECT id, organization_id, customer_id, status, free, currency, term, period_start_day,"
                " period_end_day FROM subscriptions WHERE started"
            ),
            terms=exact(
                await rows(
                    "SELECT t.subscription_id, t.term, since_day, until_day, t.start_us, t.anchor_day, t.currency,"
                    ' t."interval", trial, window_days, chain_term, chain_window, base_minor, paid_minor, model, pool,'
                    " overdraft, CAST(features AS TEXT) AS features, CAST(discount AS TEXT) AS discount,"
                    " CAST(earlier AS TEXT) AS earlier"
                    " FROM subscription_terms t JOIN subscriptions s ON s.id = t.subscription_id WHERE s.started"
                ),
                "features",
                "discount",
                "earlier",
            ),
            closes=await rows(
                "SELECT id, organization_id, customer_id, subscription_id, cut, kind, base_term, start_day,"
                " through_day, end_us, final, state, invoice_id, returns_term, refusal,"
                " settled_ms FROM closes"
            ),
            invoices=exact(
                await rows(
                    "SELECT id, organization_id, customer_id, subscription_id, cut, kind, number, currency,"
                    " total_minor, credit_applied_minor, credited_minor, carried_in_minor, carried_out_minor,"
                    " due_minor, discount_minor, source, issued_ms, period_start_ms, period_end_ms,"
                    " voided_ms, refunded_minor, days_remaining, days_in_cycle,"
                    " CAST(basis AS TEXT) AS basis FROM invoices"
                ),
                "basis",
            ),
            lines=await rows(
                "SELECT invoice_id, position, kind, feature_id, feature_code, quantity, unit_price, included, used,"
                " overage, term, window_day, window_end_day, cut_after, cut, amount_minor FROM invoice_lines"
                " ORDER BY invoice_id, position"
            ),
            credits=await rows(
                "SELECT id, customer_id, currency, amount_minor, left_minor, invoice_id, close_id FROM account_credits"
            ),
            applications=await rows("SELECT credit_id, invoice_id, amount_minor FROM credit_applications"),
            refunds=await rows("SELECT id, customer_id, currency, payment_id, invoice_id, amount_minor FROM refunds"),
            payments=await rows("SELECT id, customer_id, currency, invoice_id, status, amount_minor FROM payments"),
            carried=await rows("SELECT customer_id, currency, invoice_id, amount_minor, taken_by FROM carried_amounts"),
            numbers=await rows("SELECT organization_id, last FROM invoice_numbers"),
            packs=await rows("SELECT id, invoice_id, customer_id, credits, price_minor, term FROM pack_purchases"),
            top_ups=await rows(
                "SELECT id, invoice_id, customer_id, currency, amount_minor, term, window_day FROM top_ups"
            ),
            seats=await rows('SELECT customer_id, feature_id, number, "before", "after", term, ts_ms FROM seat_events'),
            addons=await rows("SELECT id, customer_id, feature_id, ended_ms FROM subscription_addons"),
            features={row["id"]: row["code"] for row in await rows("SELECT id, code FROM features")},
            archived=frozenset(row["id"] for row in await rows("SELECT id FROM customers WHERE archived")),
        )


def _document(stored: str | None) -> Any:
    """Read a JSON column exactly."""
    return None if stored is None else json.loads(stored, parse_float=Decimal)
