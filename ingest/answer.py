"""From what became of each event to the body and status of the answer. Pure.

Owns the errors of verdicts and the batch's three lists. Invariants: a repeat replays the first answer (its id and
createdAt); every error is a code of the contract with its one status; a batch is 503 only when none of its events has
an answer. Source: contract 3.18, 3.19, decisions 5, 7, 12, 13; DESIGN 3.4, 3.5.4.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from ingest.consumption import costs_of
from ingest.event import UsageEvent
from ingest.usage_event import (
    Frame,
    UsageEventA,
    UsageEventD,
    event_id_of,
    instant_of_us,
    write_event,
)
from ingest.verdict import Outcome, Verdict
from kernel import wire
from kernel.errors import Refusal
from kernel.wire import Wire

UNAVAILABLE: Final = Refusal(
    code="service_unavailable",
    message="Whether this event counts is not known yet; send it again with the same idempotency key.",
)
_US: Final = 1_000
# By name: on the hot path looking a member up costs more than comparing it.
_COUNTED: Final = Verdict.COUNTED
_REPEAT: Final = Verdict.REPEAT
_RETRIED: Final = frozenset({"service_unavailable", "rate_limited"})
_MESSAGES: Final[Mapping[str, str]] = {
    "included_limit_reached": "The plan's included amount is used up, and it has no overage.",
    "insufficient_credits": "The plan's credits and the packs do not cover this.",
    "insufficient_balance": "The balance does not cover this, and it may not be overdrawn.",
    "pricing_mode_mismatch": "Features priced by AI model take model and tokens, all others take value.",
    "no_active_subscription": "The customer has no subscription that covers this event.",
    "feature_not_in_plan": "The customer's plan does not have this feature.",
    "window_closed": "The window in which this event counts takes no such correction any more.",
}


class Judged(msgspec.Struct, frozen=True, gc=False):
    """An event with its verdict.

    `epoch`, `lane`, `offset` and `index` are its position; without meaning when the filter answered, whose outcome
    names the original.
    """

    event: UsageEvent
    outcome: Outcome
    epoch: int = 0
    lane: int = 0
    offset: int = 0
    index: int = 0


class Pending(msgspec.Struct, frozen=True, gc=False):
    """An event that is durable and not judged yet, with its position."""

    event: UsageEvent
    epoch: int
    lane: int
    offset: int
    index: int


# What became of an event: a verdict, pending, or a refusal (of the catalog; `UNAVAILABLE` for an unknown end).
Settled = Judged | Pending | Refusal


class FailedEvent(Wire, frozen=True):
    """One element of a batch that is not accepted; `data` is the element as it came."""

    index: int
    error: str
    code: str
    data: msgspec.Raw


class BatchResult(Wire, frozen=True, gc=False):
    """What became of the element at `index`: `accepted`, `duplicate`, `blocked`, `rejected` or `failed`."""

    index: int
    status: str
    id: str | msgspec.UnsetType = msgspec.UNSET
    pending: bool | msgspec.UnsetType = msgspec.UNSET
    error: Mapping[str, Any] | msgspec.UnsetType = msgspec.UNSET


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer. `retry`: try again in a second; `pending`: it says so of an event; `saying` counts its words."""

    status: int
    body: bytes
    retry: bool = False
    pending: bool = False
    saying: Mapping[str, int] = {}


def single_answer(settled: Settled, frame: Frame) -> Answer:
    """Answer a single track call. Source: contract, decision 13."""
    refusal = refusal_of(settled)
    if refusal is not None:
        return error_answer(refusal, frame.request_id)
    body = wire.encode(wire.success(frame.dialect, _event(settled, frame, 0)))
    pending = type(settled) is Pending
    return Answer(
        _success_status(frame, pending=pending), body, pending=pending, saying={"pending" if pending else "accepted": 1}
    )


def batch_answer(settled: Sequence[Settled], elements: Sequence[msgspec.Raw], frame: Frame) -> Answer:
    """Answer a batch: `successful`, `failed`, and in `results` one entry an index.

    503 when every event is unknown or superseded. Source: contract, decisions 5 and 13; R-TRACK-17.
    """
    successful: list[UsageEventA | UsageEventD] = []
    failed: list[FailedEvent] = []
    results: list[BatchResult] = []
    saying: dict[str, int] = {}
    accepted, pending = 0, False
    for index, each in enumerate(settled):
        refusal = None if type(each) is Judged and each.outcome.verdict is _COUNTED else refusal_of(each)
        if refusal is None:
            event = _event(each, frame, index)
            successful.append(event)
            results.append(BatchResult(index=index, status="accepted", id=event.id, pending=event.pending))
            if type(each) is not Pending:
                accepted += 1
                continue
            word, pending = "pending", True
        else:
            failed.append(FailedEvent(index=index, error=refusal.message, code=refusal.code, data=elements[index]))
            results.append(_failure(index, each, refusal))
            word = refusal.code
        saying[word] = saying.get(word, 0) + 1
    if accepted:
        saying["accepted"] = accepted
    if saying.get(UNAVAILABLE.code) == len(settled):
        return msgspec.structs.replace(error_answer(UNAVAILABLE, frame.request_id), saying=saying)
    lists: dict[str, object] = {"successful": successful, "failed": failed, "results": results}
    if frame.dialect.bare:
        lists = {"object": "usage_event_batch", "livemode": frame.livemode, **lists}
    body = wire.encode(wire.success(frame.dialect, lists))
    return Answer(_success_status(frame, pending=pending), body, pending=pending, saying=saying)


def error_answer(refusal: Refusal, request_id: str | None = None) -> Answer:
    """Answer a refusal in the contract's envelope (2.2)."""
    return Answer(
        wire.status_of(refusal.code),
        wire.encode(wire.error_body(refusal, request_id)),
        retry=refusal.code in _RETRIED,
        saying={refusal.code: 1},
    )


def refusal_of(settled: Settled) -> Refusal | None:
    """Tell why an event is not accepted; None when it is. Source: contract, decision 13; R-TRACK-13, 19."""
    if type(settled) is Refusal:
        return settled
    if type(settled) is not Judged:
        return None
    verdict = settled.outcome.verdict
    if verdict is _COUNTED or verdict is _REPEAT:
        return None
    if verdict is Verdict.DUPLICATE or verdict is Verdict.CONFLICT:
        return Refusal(
            code="duplicate",
            message="An event with this idempotency key is recorded already.",
            details={"eventId": _original_id(settled.outcome), "conflict": verdict is Verdict.CONFLICT},
        )
    if verdict is Verdict.DEAD:
        return Refusal(
            code="event_unprocessable",
            message="This event could not be processed; it is kept and looked into.",
            details={"eventId": _original_id(settled.outcome) or _own_id(settled)},
        )
    return UNAVAILABLE if verdict is Verdict.SUPERSEDED else _ruled_out(settled)


def _ruled_out(judged: Judged) -> Refusal:
    """Spell a blocked or refused event; its code is the fold's."""
    code = judged.outcome.code
    details = {"eventId": _own_id(judged)}
    if code == "no_active_subscription":
        details["timestamp"] = instant_of_us(judged.event.event_time_us)
    return Refusal(code=code, message=_MESSAGES.get(code, "The customer's terms do not allow this."), details=details)


def _failure(index: int, settled: Settled, refusal: Refusal) -> BatchResult:
    status = "rejected"
    if refusal.code in ("duplicate", UNAVAILABLE.code):
        status = "duplicate" if refusal.code == "duplicate" else "failed"
    elif type(settled) is Judged and settled.outcome.verdict is Verdict.BLOCKED:
        status = "blocked"
    found = refusal.details.get("eventId") if isinstance(refusal.details, Mapping) else None
    error = wire.error_body(refusal)[
        "error"
    ]  # without the request's id: a batch that is sent again is answered the same
    return BatchResult(index=index, status=status, id=found or msgspec.UNSET, error=error)


def _success_status(frame: Frame, *, pending: bool) -> int:
    return 202 if pending and frame.respond_async else 200


def _original_id(outcome: Outcome) -> str | None:
    original = outcome.original_position()
    return original.event_id() if original is not None else None


def event_of(settled: Settled) -> str:
    """Tell the id of the event that a settled one became in the log, else of the one that holds its key; or empty."""
    if type(settled) is not Judged:
        return ""
    in_log = settled.epoch > 0  # what the filter answers has no place of its own
    return _own_id(settled) if in_log else _original_id(settled.outcome) or ""


def _own_id(judged: Judged) -> str:
    return event_id_of(judged.epoch, judged.lane, judged.offset, judged.index)


def _event(settled: Settled, frame: Frame, index: int) -> UsageEventA | UsageEventD:
    """Write an accepted event: with its own id, or for a repeat the original's."""
    assert type(settled) is Judged or type(settled) is Pending, "a refusal is no event"
    event = settled.event
    place = (settled.epoch, settled.lane, settled.offset, settled.index)
    ts_us, created_ms, pending = event.event_time_us, event.at_ms, type(settled) is Pending
    if type(settled) is Judged and settled.outcome.verdict is _REPEAT:
        original = settled.outcome.original_position()
        assert original is not None, "a repeat names its original"
        place, created_ms = original, settled.outcome.original_at_ms
        if not event.has_timestamp and event.clock_ms is None:
            ts_us = created_ms * _US
    written = write_event(event, place, frame, frame.keys[index], ts_us=ts_us, created_ms=created_ms, pending=pending)
    drawn = settled.outcome.drawn if type(settled) is Judged else None
    if drawn is None:
        return written
    told, costs = costs_of(event.tokens, drawn, frame.currency)
    return msgspec.structs.replace(written, consumption=told, costs=costs)
