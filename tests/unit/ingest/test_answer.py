"""What each verdict is answered, in every era. Source: contract 3.18, 3.19, 4.2, decisions 5, 7, 12, 13."""

import json

import msgspec
import pytest

from ingest.answer import UNAVAILABLE, Judged, Pending, batch_answer, error_answer, single_answer
from ingest.event import NO_DIGEST, NO_REQUEST, UsageEvent
from ingest.usage_event import Frame
from ingest.verdict import Outcome, Verdict
from kernel import ids
from kernel.errors import Refusal
from kernel.position import Position
from kernel.wire import Dialect

AT = 1_767_225_600_000  # 2026-01-01T00:00:00Z
HERE, ORIGINAL = Position(1, 2, 300, 4), Position(1, 2, 7, 65_535)
FEATURE, CUSTOMER = b"f" * 16, b"c" * 16


def event(**changes):
    given = {
        "organization": b"o" * 16,
        "customer": CUSTOMER,
        "feature": FEATURE,
        "event_time_us": AT * 1000 + 123_456,
        "at_ms": AT + 5,
        "clock_ms": None,
        "quantity": "0.5",
        "key": "k",
        "digest": NO_DIGEST,
        "content": b"c" * 8,
        "request": NO_REQUEST,
        "properties": (("region", "eu"),),
    }
    return UsageEvent(**{**given, **changes})


def judged(verdict, code="", original=b"", at_ms=0, **changes):
    outcome = Outcome(verdict=verdict, code=code, original=original, original_at_ms=at_ms)
    return Judged(event(**changes), outcome, *HERE)


def repeat(**changes):
    return judged(Verdict.REPEAT, original=ORIGINAL.to_bytes(), at_ms=AT - 1000, **changes)


def duplicate(verdict=Verdict.DUPLICATE):
    return judged(verdict, original=ORIGINAL.to_bytes(), at_ms=AT - 1000)


COUNTED = judged(Verdict.COUNTED)
PENDING = Pending(event(), *HERE)
BLOCKED = judged(Verdict.BLOCKED, "included_limit_reached")
NOT_IN_PLAN = judged(Verdict.REFUSED, "feature_not_in_plan")
NO_SUBSCRIPTION = judged(Verdict.REFUSED, "no_active_subscription")
DEAD = judged(Verdict.DEAD, "event_unprocessable")
SUPERSEDED = judged(Verdict.SUPERSEDED)


def frame(dialect=Dialect.D, keys=("k",) * 20, respond_async=False):
    return Frame(
        dialect=dialect,
        organization="org_1",
        livemode=False,
        codes={FEATURE: "calls"},
        keys=keys,
        respond_async=respond_async,
    )


def body(answer):
    return json.loads(answer.body)


def test_an_accepted_event_in_era_d():
    answer = single_answer(COUNTED, frame())
    assert (answer.status, answer.retry) == (200, False)
    assert body(answer) == {
        "object": "usage_event",
        "livemode": False,
        "id": HERE.event_id(),
        "featureCode": "calls",
        "value": 0.5,
        "customerId": ids.id_text(ids.CUSTOMER, CUSTOMER),
        "eventId": "k",
        "ts": "2026-01-01T00:00:00.123Z",
        "createdAt": "2026-01-01T00:00:00.005Z",
        "properties": [{"property": "region", "value": "eu"}],
        "position": "1.2.300",
    }


@pytest.mark.parametrize("dialect", [Dialect.A, Dialect.C])
def test_an_accepted_event_in_the_eras_before(dialect):
    shown = body(single_answer(COUNTED, frame(dialect)))
    assert shown["success"] is True
    data = shown["data"]
    created = "2026-01-01T00:00:00.005Z"
    assert data["properties"] == [
        {
            "id": HERE.event_id() + "_0",
            "usageEventId": HERE.event_id(),
            "property": "region",
            "value": "eu",
            "createdAt": created,
        }
    ]
    assert (data["id"], data["organizationId"], data["feature"]) == (HERE.event_id(), "org_1", "calls")
    assert (data["idempotencyKey"], data["createdAt"], data["value"]) == ("k", created, 0.5)
    bare = body(single_answer(judged(Verdict.COUNTED, properties=()), frame(dialect, keys=(None,))))["data"]
    assert "idempotencyKey" not in bare
    assert "properties" not in bare
    assert "pending" not in bare


def test_a_value_is_written_digit_by_digit():
    answer = single_answer(judged(Verdict.COUNTED, quantity="999999999999.999999999"), frame())
    assert b'"value":999999999999.999999999,' in answer.body


def test_a_repeat_replays_the_first_answer():
    shown = body(single_answer(repeat(), frame()))
    assert (shown["id"], shown["position"]) == (ORIGINAL.event_id(), "1.2.7")
    assert (shown["createdAt"], shown["ts"]) == ("2025-12-31T23:59:59.000Z", "2026-01-01T00:00:00.123Z")
    timeless = body(single_answer(repeat(has_timestamp=False), frame()))
    assert timeless["ts"] == timeless["createdAt"] == "2025-12-31T23:59:59.000Z"
    simulated = body(single_answer(repeat(has_timestamp=False, clock_ms=AT), frame()))
    assert simulated["ts"] == "2026-01-01T00:00:00.123Z"


@pytest.mark.parametrize(
    ("settled", "status", "code", "details"),
    [
        (duplicate(), 409, "duplicate", {"eventId": ORIGINAL.event_id(), "conflict": False}),
        (duplicate(Verdict.CONFLICT), 409, "duplicate", {"eventId": ORIGINAL.event_id(), "conflict": True}),
        (BLOCKED, 402, "included_limit_reached", {"eventId": HERE.event_id()}),
        (NOT_IN_PLAN, 403, "feature_not_in_plan", {"eventId": HERE.event_id()}),
        (
            NO_SUBSCRIPTION,
            404,
            "no_active_subscription",
            {"timestamp": "2026-01-01T00:00:00.123Z", "eventId": HERE.event_id()},
        ),
        (DEAD, 422, "event_unprocessable", {"eventId": HERE.event_id()}),
        (
            judged(Verdict.DEAD, original=ORIGINAL.to_bytes()),
            422,
            "event_unprocessable",
            {"eventId": ORIGINAL.event_id()},
        ),
        (SUPERSEDED, 503, "service_unavailable", None),
        (UNAVAILABLE, 503, "service_unavailable", None),
        (Refusal(code="customer_not_found", message="no"), 404, "customer_not_found", None),
    ],
)
@pytest.mark.parametrize("dialect", Dialect)
def test_each_other_verdict_is_an_error_with_one_status(settled, status, code, details, dialect):
    answer = single_answer(settled, frame(dialect))
    assert (answer.status, answer.retry) == (status, status == 503)
    shown = body(answer)
    assert (shown["success"], shown["code"], shown["error"]["code"]) == (False, code, code)
    assert shown.get("details") == shown["error"].get("details") == details


def test_pending_says_so_and_is_202_only_when_nobody_wanted_to_wait():
    late, asked = single_answer(PENDING, frame()), single_answer(PENDING, frame(respond_async=True))
    assert (late.status, asked.status) == (200, 202)
    assert body(late)["pending"] is body(asked)["pending"] is True
    assert body(late)["id"] == HERE.event_id()
    judged_at_once = single_answer(COUNTED, frame(respond_async=True))
    assert (judged_at_once.status, "pending" in body(judged_at_once)) == (200, False)


EVERYTHING = [
    (COUNTED, "accepted"),
    (repeat(), "accepted"),
    (PENDING, "accepted"),
    (duplicate(), "duplicate"),
    (duplicate(Verdict.CONFLICT), "duplicate"),
    (BLOCKED, "blocked"),
    (NOT_IN_PLAN, "rejected"),
    (DEAD, "rejected"),
    (Refusal(code="validation_error", message="no"), "rejected"),
    (SUPERSEDED, "failed"),
    (UNAVAILABLE, "failed"),
]


def elements(count):
    return [msgspec.Raw(f'{{"n":{n}}}'.encode()) for n in range(count)]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_batch_lists_every_index_once(dialect):
    answer = batch_answer([each for each, _ in EVERYTHING], elements(len(EVERYTHING)), frame(dialect))
    assert (answer.status, answer.retry, answer.pending) == (200, False, True)
    shown = body(answer) if dialect is Dialect.D else body(answer)["data"]
    assert [(each["index"], each["status"]) for each in shown["results"]] == [
        (index, status) for index, (_, status) in enumerate(EVERYTHING)
    ]
    assert len(shown["successful"]) == 3
    assert [(each["index"], each["data"]) for each in shown["failed"]] == [(n, {"n": n}) for n in range(3, 11)]
    assert all(isinstance(each["error"], str) for each in shown["failed"])
    results = shown["results"]
    assert [each["id"] for each in shown["successful"]] == [each["id"] for each in results[:3]]
    assert (results[1]["id"], results[2]["pending"]) == (ORIGINAL.event_id(), True)
    assert results[3]["id"] == results[3]["error"]["details"]["eventId"] == ORIGINAL.event_id()
    assert results[4]["error"]["details"]["conflict"] is True
    assert "id" not in results[10]
    assert sum(answer.saying.values()) == len(EVERYTHING)


@pytest.mark.parametrize(
    ("settled", "status"),
    [
        ([UNAVAILABLE, SUPERSEDED], 503),
        ([UNAVAILABLE, Refusal(code="customer_not_found", message="no")], 200),
        ([UNAVAILABLE, PENDING], 200),
        ([BLOCKED], 200),
    ],
)
def test_a_batch_is_503_only_when_nothing_is_known_of_any_event(settled, status):
    answer = batch_answer(settled, elements(2), frame())
    assert (answer.status, answer.retry) == (status, status == 503)


def test_a_batch_that_did_not_want_to_wait_is_202_as_a_whole():
    answer = batch_answer([PENDING, BLOCKED], elements(2), frame(respond_async=True))
    assert answer.status == 202
    assert [each["status"] for each in body(answer)["results"]] == ["accepted", "blocked"]


def test_too_many_requests_is_worth_a_retry():
    assert error_answer(Refusal(code="rate_limited", message="no")).retry
