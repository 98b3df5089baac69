"""Why an event counts or not: judged once more, in words, from what stood at its place in the log. Pure.

Owns which rule a verdict rests on and the arithmetic behind it. It calls the fold's own parts (`standing`, `pool_left`)
on the snapshot and the sums that the fold had, so it says what the fold saw, not what holds today.
Source: DESIGN 3.5.4; R-TRACK-7 to R-TRACK-20, R-METER-4, R-CREDIT-5, R-BAL-7.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from aggregator.account import DrawKey, Draws
from aggregator.pool_left import cost_of, left_in
from aggregator.row import EventRow, corrected_of, tokens_of
from aggregator.standing import Place, Standing, feature_terms
from aggregator.usage_answer import reason_of
from catalog.terms import ConsumptionModel, FeatureTerms, Snapshot, Terms
from ingest.event import Corrected
from ingest.verdict import Verdict
from kernel import ids
from kernel.errors import Refusal
from kernel.period import DAY_US, date_of, instant_text
from kernel.quantity import canonical, from_units, to_units
from kernel.reason import rule_of

_CORRECTION: Final = "R-TRACK-20"
_PATH: Final = "/usage/events"
_RULES: Final[Mapping[str, str]] = {
    Verdict.COUNTED: "R-TRACK-8",
    Verdict.REPEAT: "R-TRACK-13",
    Verdict.DUPLICATE: "R-TRACK-13",
    Verdict.CONFLICT: "R-TRACK-13",
    Verdict.SUPERSEDED: "R-TRACK-12",
    Verdict.DEAD: "R-ERR-2",
}


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """What had happened before an event: of its feature in its window, and all that its customer drew.

    `units` counts 1e-9, `clock_ms` is the greatest acceptance of the customer's earlier events, 0 without one.
    """

    count: int = 0
    units: int = 0
    clock_ms: int = 0
    draws: Mapping[DrawKey, Draws] = msgspec.field(default_factory=dict)


def place_of(row: EventRow, snapshot: Snapshot | None, clock_ms: int) -> Place | None:
    """Tell where an event falls under a snapshot when the account's clock is `clock_ms`; None: nowhere."""
    if snapshot is None:
        return None
    found = Standing(snapshot).place(ids.id_bytes(row.feature), row.event_time, max(clock_ms, row.accepted_at))
    return None if isinstance(found, str) else found


def rule_of_event(row: EventRow) -> str | None:
    """Tell the rule on which a verdict rests; None while there is no verdict. A correction is late usage (ADR 10)."""
    if row.code:
        return rule_of(Refusal(code=row.code, message=""), _PATH)
    return _CORRECTION if row.corrects and row.verdict == Verdict.COUNTED else _RULES.get(row.verdict)


def judgement_wire(row: EventRow, snapshot: Snapshot | None, before: Before) -> dict[str, Any]:
    """Spell rule, terms in force, window and arithmetic of an event; decimals are strings."""
    corrects = corrected_of(row)
    if corrects is not None:
        return _correction_wire(row, corrects, snapshot)
    place = place_of(row, snapshot, before.clock_ms)
    terms = _terms(row, snapshot, place)
    told: dict[str, Any] = {
        "rule": rule_of_event(row),
        "why": _words(row),
        "terms": None if terms is None or snapshot is None else _terms_wire(snapshot, terms, row),
        "window": None if place is None else _window_wire(place, row),
        "arithmetic": None if place is None or terms is None else _arithmetic(row, snapshot, place, terms, before),
    }
    return told


def _correction_wire(row: EventRow, corrects: Corrected, snapshot: Snapshot | None) -> dict[str, Any]:
    """Spell a correction: it counts where its event does, whatever terms are in force (ADR 10)."""
    terms = None if snapshot is None else next(iter(_numbered(snapshot, corrects.term)), None)
    before = to_units(corrects.quantity)
    return {
        "rule": rule_of_event(row),
        "why": _words(row),
        "terms": None if terms is None or snapshot is None else _terms_wire(snapshot, terms, row),
        "window": {
            "start": date_of(corrects.window).isoformat(),
            "end": date_of(corrects.window_end).isoformat(),
            "cut": row.cut if row.verdict == Verdict.COUNTED else None,
        },
        "arithmetic": {
            "formula": "countedBefore + value",
            "inputs": {
                "countedBefore": corrects.quantity,
                "value": row.quantity,
                "number": corrects.number,
                "void": corrects.void,
            },
            "result": canonical(from_units(before + to_units(row.quantity))),
            "fits": row.verdict == Verdict.COUNTED,
        },
    }


def _words(row: EventRow) -> str:
    words = reason_of(row)
    if not row.replays or row.replays in words:
        return words
    return f"It replays the dead letter {row.replays}. {words}"


def _terms(row: EventRow, snapshot: Snapshot | None, place: Place | None) -> Terms | None:
    if snapshot is None or snapshot.terms is None:
        return None
    if place is None:
        return snapshot.terms_on(row.event_time // DAY_US) or snapshot.terms
    both = _numbered(snapshot, place.key[1])
    return max((one for one in both if one.since <= max(place.key[2], both[0].since)), key=lambda one: one.since)


def _numbered(snapshot: Snapshot, number: int) -> list[Terms]:
    """List the terms of one number that an event may fall under: in force, announced, ended by a pause."""
    known = (snapshot.terms, snapshot.next, *(ended.terms for ended in snapshot.ended))
    return [one for one in known if one is not None and one.number == number]


def _terms_wire(snapshot: Snapshot, terms: Terms, row: EventRow) -> dict[str, Any]:
    granted = feature_terms(terms, ids.id_bytes(row.feature))
    return {
        "number": terms.number,
        "rev": snapshot.rev,
        "subscriptionId": terms.subscription,
        "status": None if snapshot.status is None else snapshot.status.value,
        "planId": terms.plan,
        "consumptionModel": terms.model.value,
        "since": date_of(terms.since).isoformat(),
        "accessEnds": None if snapshot.end_us is None else instant_text(snapshot.end_us // 1000),
        "pool": canonical(from_units(terms.pool)) if terms.pool else None,
        "overdraft": terms.overdraft,
        "feature": None if granted is None else granted_wire(granted),
    }


def granted_wire(granted: FeatureTerms) -> dict[str, Any]:
    """Spell what terms say of a feature; `included` None is unlimited."""
    return {
        "featureCode": granted.code,
        "enabled": granted.enabled,
        "included": None if granted.included is None else canonical(from_units(granted.included)),
        "overage": granted.overage,
        "unitPrice": granted.unit_price,
        "credits": granted.credits,
        "marginPercent": granted.margin,
        "addonId": granted.addon or None,
    }


def _window_wire(place: Place, row: EventRow) -> dict[str, Any]:
    counts = row.verdict == Verdict.COUNTED
    return {
        "start": date_of(place.key[2]).isoformat(),
        "end": date_of(place.end).isoformat(),
        "cut": row.cut if counts else None,
    }


def _arithmetic(
    row: EventRow, snapshot: Snapshot | None, place: Place, terms: Terms, before: Before
) -> dict[str, Any] | None:
    if place.terms is not None and place.granted is not None and snapshot is not None:
        return _drawn(row, snapshot, place, terms, before)
    units = to_units(row.quantity)
    limit = None if place.limit is None else canonical(from_units(place.limit))
    return {
        "formula": "usedBefore + value" if limit is None else "usedBefore + value <= limit",
        "inputs": {
            "usedBefore": canonical(from_units(before.units)),
            "eventsBefore": before.count,
            "value": row.quantity,
            "limit": limit,
        },
        "result": canonical(from_units(before.units + units)),
        "fits": place.limit is None or not units or before.units + units <= place.limit,
    }


def _drawn(row: EventRow, snapshot: Snapshot, place: Place, terms: Terms, before: Before) -> dict[str, Any] | None:
    granted, tokens = place.granted, tokens_of(row)
    assert granted is not None, "asked of a pool"
    if (tokens is not None) is not place.by_model:
        return None
    packs = sum(drawn.packs for drawn in before.draws.values())
    left = left_in(before.draws, packs, snapshot, terms, place.key[2])
    cost = cost_of(terms, granted, to_units(row.quantity), None if tokens is None else tokens.base_cost)
    price = {"baseCost": tokens.base_cost, "marginPercent": granted.margin} if tokens is not None else {}
    if tokens is None:
        credits_plan = terms.model is ConsumptionModel.CREDITS
        price = {"value": row.quantity, "price": granted.credits if credits_plan else granted.unit_price}
    return {
        "formula": "baseCost * (1 + marginPercent / 100)" if tokens is not None else "value * price",
        "inputs": {
            **price,
            "leftOfPlan": canonical(from_units(left.plan)),
            "leftOfPurchases": canonical(from_units(left.extra)),
            "overdraftBefore": canonical(from_units(left.overdraft)),
            "overdraftAllowed": terms.overdraft,
        },
        "result": canonical(from_units(cost)),
        "fits": terms.overdraft or cost <= left.usable or (tokens is not None and left.usable > 0),
    }
