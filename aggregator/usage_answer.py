"""How events, refusals and series look on the wire. Pure.

Owns the words that say why an event counts or not, and what a listed event adds to the UsageEvent of its era: verdict,
window, cut. Invariant: an event that is listed has every member of the answer it was given. Source: contract 3.18, 4.2.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import msgspec

from aggregator.correction_event import counted_now
from aggregator.row import EventRow, RefusalRow, corrected_of, drawn_of, tokens_of
from aggregator.usage import UsageQuestion, UsageSeries, position_of
from ingest.consumption import costs_of
from ingest.verdict import Verdict
from kernel.period import date_of, instant_text
from kernel.quantity import EXACT, canonical
from kernel.wire import Dialect


class Stage(StrEnum):
    """How far an event came: durable in the log, judged in LIVE, stored in RAW."""

    LOG = "log"
    LIVE = "live"
    RAW = "raw"


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Who reads an answer."""

    dialect: Dialect
    livemode: bool
    currency: str = "usd"

    def feature_member(self) -> str:
        """Tell what the reader's era calls a feature's code."""
        return "featureCode" if self.dialect is Dialect.D else "feature"

    def head(self, name: str) -> dict[str, Any]:
        """Begin an object."""
        return {"object": name, "livemode": self.livemode}


_REASONS: Final[Mapping[str, str]] = {
    Verdict.COUNTED: "It counts in the usage window from {start} up to {end}; the invoice of cut {cut} bills it.",
    Verdict.REPEAT: "It is the same request as {original}, which holds the key; it changes nothing.",
    Verdict.DUPLICATE: "Its idempotency key belongs to {original}; it does not count.",
    Verdict.CONFLICT: "Its idempotency key belongs to {original}, which says something else; it does not count.",
    Verdict.BLOCKED: "A hard limit did not cover it; it does not count.",
    Verdict.REFUSED: "The customer's terms do not allow it; it does not count.",
    Verdict.SUPERSEDED: "A later attempt of the same key was refused before it arrived; it never counts.",
    Verdict.DEAD: "It could not be processed; it is kept and looked into, and does not count.",
    "included_limit_reached": "The window's included amount was used up, and the plan has no overage.",
    "insufficient_credits": "The plan's credits and the packs did not cover it.",
    "insufficient_balance": "The balance did not cover it, and it may not be overdrawn.",
    "pricing_mode_mismatch": "Features priced by AI model take model and tokens, all others take value.",
    "no_active_subscription": "At its time the customer had no subscription that covers it.",
    "feature_not_in_plan": "The customer's plan does not have its feature.",
    "window_closed": "The window in which {corrects} counts takes no such correction any more.",
}
_CORRECTED: Final = "in the usage window from {start} up to {end}; the invoice of cut {cut} bills the difference."
_VOIDS: Final = f"It takes back all that {{corrects}} counted, {_CORRECTED}"
_AMENDS: Final = f"It changes what {{corrects}} counts, {_CORRECTED}"
_NO_LETTER: Final = "It replays {letter}, of which nothing was remembered any more; it never counts."
_NOT_JUDGED: Final = "It is durable in the log and not judged yet."


def reason_of(row: EventRow) -> str:
    """Say in plain words why an event counts or not."""
    if not row.verdict:
        return _NOT_JUDGED
    if row.replays and row.verdict == Verdict.SUPERSEDED:
        return _NO_LETTER.format(letter=row.replays)
    words = _REASONS.get(row.code) or _REASONS[row.verdict]
    corrects = corrected_of(row)
    if corrects is not None and row.verdict == Verdict.COUNTED:
        words = _VOIDS if corrects.void else _AMENDS
    span = {"start": date_of(row.window), "end": date_of(row.window_end)}
    return words.format(**span, cut=row.cut, original=row.original, corrects=row.corrects)


def event_wire(row: EventRow, code: str, organization: str, reader: Reader) -> dict[str, Any]:
    """Spell an event as its answer was spelled, with its verdict; one that is not judged yet has none."""
    created = instant_text(row.at)
    event_id = position_of(row).event_id()
    era = _era_d(row) if reader.dialect is Dialect.D else _era_a(row, event_id, organization, created)
    return {
        **reader.head("usage_event"),
        "id": event_id,
        "customerId": row.customer,
        reader.feature_member(): code,
        "value": Decimal(row.quantity),
        "ts": instant_text(row.event_time // 1_000),
        "createdAt": created,
        **era,
        "position": position_of(row).record(),
        **_costs(row, reader),
        **_judgement(row),
    }


def _costs(row: EventRow, reader: Reader) -> dict[str, Any]:
    told = zip(("consumption", "costs"), costs_of(tokens_of(row), drawn_of(row), reader.currency), strict=True)
    return {name: value for name, value in told if value is not msgspec.UNSET}


def _era_d(row: EventRow) -> dict[str, Any]:
    properties = [{"property": name, "value": value} for name, value in row.properties]
    return {"eventId": row.key or None, "properties": properties}


def _era_a(row: EventRow, event_id: str, organization: str, created: str) -> dict[str, Any]:
    era: dict[str, Any] = {"organizationId": organization}
    if row.key:
        era["idempotencyKey"] = row.key
    if row.properties:
        era["properties"] = [
            {
                "id": f"{event_id}_{place}",
                "usageEventId": event_id,
                "property": name,
                "value": value,
                "createdAt": created,
            }
            for place, (name, value) in enumerate(row.properties)
        ]
    return era


def _judgement(row: EventRow) -> dict[str, Any]:
    counts = row.verdict == Verdict.COUNTED
    window = {"start": str(date_of(row.window)), "end": str(date_of(row.window_end))} if counts else None
    return {
        "verdict": row.verdict or None,
        "code": row.code or None,
        "reason": reason_of(row),
        "window": window,
        "cut": row.cut if counts else None,
        "originalEventId": row.original or None,
        "replaysEventId": row.replays or None,
        **_correction(row),
        "acceptedAt": instant_text(row.accepted_at),
    }


def _correction(row: EventRow) -> dict[str, Any]:
    """Say what a correction corrects: its `value` is the difference, before and after are what the event counts."""
    corrects = corrected_of(row)
    if corrects is None:
        return {"correctsEventId": None}
    before = Decimal(corrects.quantity)
    after = EXACT.add(before, Decimal(row.quantity))
    told = {"number": corrects.number, "void": corrects.void, "before": before, "after": Decimal(canonical(after))}
    return {"correctsEventId": row.corrects, "correction": told}


def corrections_wire(row: EventRow, corrections: Sequence[EventRow]) -> dict[str, Any]:
    """Say what became of an event that counts: what it counts now, and the corrections that made it so."""
    now = counted_now(row, corrections)
    listed = [
        {"id": position_of(one).event_id(), "value": Decimal(one.quantity), "createdAt": instant_text(one.at)}
        for one in corrections
    ]
    return {"valueNow": Decimal(canonical(now)), "corrections": listed}


def refusal_wire(row: RefusalRow, reader: Reader) -> dict[str, Any]:
    """Spell a request that never reached the log: customer, feature, value and key are what the client sent."""
    return {
        **reader.head("usage_refusal"),
        "id": row.id,
        "customerId": row.customer or None,
        reader.feature_member(): row.feature or None,
        "value": row.quantity or None,
        "eventId" if reader.dialect is Dialect.D else "idempotencyKey": row.key or None,
        "createdAt": instant_text(row.at),
        "verdict": Verdict.REFUSED.value,
        "code": row.code,
        "reason": row.message,
        "body": row.body,
    }


def series_wire(
    question: UsageQuestion, series: UsageSeries, customer: str | None, as_of_ms: int | None, reader: Reader
) -> dict[str, Any]:
    """Spell a series: bucket starts, exact sums, and up to when everything accepted is in it."""
    width_us = question.granularity.width_us
    return {
        **reader.head("usage_series"),
        "customerId": customer,
        reader.feature_member(): question.feature,
        "granularity": question.granularity.value,
        "from": instant_text(question.from_us // 1_000),
        "to": instant_text(question.to_us // 1_000),
        "buckets": [
            {
                "start": instant_text(bucket.start_us // 1_000),
                "end": instant_text((bucket.start_us + width_us) // 1_000),
                "value": bucket.quantity,
            }
            for bucket in series.buckets
        ],
        "total": series.total,
        "asOf": None if as_of_ms is None else instant_text(as_of_ms),
    }
