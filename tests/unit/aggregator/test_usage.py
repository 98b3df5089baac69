"""What may be asked about usage, and how answers look: pure laws."""

from decimal import Decimal

import pytest
from msgspec.structs import replace

from aggregator.row import EVENT_COLUMNS, EventRow, RefusalRow, rows_of
from aggregator.usage import (
    Granularity,
    ListCursor,
    UsageQuery,
    cursor_key,
    event_question,
    newest_first,
    position_of,
    series_of,
    usage_question,
)
from aggregator.usage_answer import Reader, event_wire, reason_of, refusal_wire
from ingest.answer import Judged, single_answer
from ingest.event import UsageEvent
from ingest.usage_event import Frame
from ingest.verdict import Drawn, Outcome, Verdict
from kernel import ids, wire
from kernel.errors import Rejected
from kernel.limits import PAGE_DEFAULT, QUERY_BUCKETS_MAX
from kernel.period import DAY_US, parse_instant_us
from kernel.position import Position
from kernel.wire import Dialect, encode_cursor
from tests.unit.aggregator.pool_case import tokens

NOW_MS = 1_760_000_000_000  # 2025-10-09T08:53:20Z
HOUR_US = 3_600_000_000
ORG, CUSTOMER, FEATURE = (bytes([n]) * 16 for n in (1, 2, 3))


def us(text: str) -> int:
    return parse_instant_us(text)


def test_a_question_without_times_ends_with_the_running_bucket() -> None:
    days = usage_question({"feature": "calls"}, NOW_MS)
    assert days.granularity is Granularity.DAY
    assert (days.from_us, days.to_us) == (us("2025-09-10"), us("2025-10-10"))
    hours = usage_question({"featureCode": "calls", "granularity": "hour"}, NOW_MS)
    assert (hours.from_us, hours.to_us) == (us("2025-10-08T09:00"), us("2025-10-09T09:00"))
    assert days.customer is None


def test_on_the_last_instant_of_a_bucket_the_bucket_is_running_and_on_the_next_the_next() -> None:
    midnight = us("2025-10-10") // 1_000
    assert usage_question({"feature": "x"}, midnight - 1).to_us == us("2025-10-10")
    assert usage_question({"feature": "x"}, midnight).to_us == us("2025-10-11")


def test_given_times_are_kept_as_they_are() -> None:
    asked = {"feature": "x", "from": "2025-10-01T01:30:00+02:00", "to": "2025-10-02", "customerId": "acme"}
    question = usage_question(asked, NOW_MS)
    assert (question.from_us, question.to_us) == (us("2025-09-30T23:30"), us("2025-10-02"))
    assert question.customer == "acme"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "feature"),
        ({"feature": ""}, "feature"),
        ({"feature": "x", "granularity": "week"}, "granularity"),
        ({"feature": "x", "from": "yesterday"}, "from"),
        ({"feature": "x", "to": "2025-13-01"}, "to"),
        ({"feature": "x", "from": "2025-10-02", "to": "2025-10-02"}, "from"),
        ({"feature": "x", "from": "2025-10-03", "to": "2025-10-02"}, "from"),
        ({"feature": "x", "from": "2026-10-03"}, "from"),
        ({"feature": "x", "from": "2020-01-01", "to": "2025-01-01"}, "from"),
    ],
)
def test_a_wrong_question_names_the_field_at_fault(asked: dict[str, str], field: str) -> None:
    with pytest.raises(Rejected) as caught:
        usage_question(asked, NOW_MS)
    assert (caught.value.refusal.code, caught.value.refusal.param) == ("validation_error", field)


@pytest.mark.parametrize("granularity", Granularity)
def test_a_question_has_as_many_buckets_as_the_limit_and_no_more(granularity: Granularity) -> None:
    start, width = us("2020-01-01"), granularity.width_us

    def ask(to_us: int) -> None:
        to = wire_instant(to_us)
        usage_question({"feature": "x", "granularity": granularity, "from": wire_instant(start), "to": to}, NOW_MS)

    ask(start + QUERY_BUCKETS_MAX * width)
    with pytest.raises(Rejected):
        ask(start + QUERY_BUCKETS_MAX * width + 1_000)


def wire_instant(instant_us: int) -> str:
    from kernel.period import instant_text

    return instant_text(instant_us // 1_000)


def query(from_us: int, to_us: int, granularity: Granularity = Granularity.DAY) -> UsageQuery:
    return UsageQuery(
        organization="o", customer=None, feature="f", granularity=granularity, from_us=from_us, to_us=to_us
    )


def test_a_series_has_every_bucket_that_the_interval_touches_and_their_exact_sum() -> None:
    day = us("2025-10-01")
    sums = {day: Decimal("0.100000000"), day + 2 * DAY_US: Decimal("1000000000000.000000001")}
    series = series_of(query(day + HOUR_US, day + 2 * DAY_US + 1), sums)
    assert [bucket.start_us for bucket in series.buckets] == [day, day + DAY_US, day + 2 * DAY_US]
    assert [str(bucket.quantity) for bucket in series.buckets] == ["0.1", "0", "1000000000000.000000001"]
    assert str(series.total) == "1000000000000.100000001"
    assert len(series_of(query(day, day + DAY_US), {}).buckets) == 1
    assert len(series_of(query(day, day + DAY_US, Granularity.HOUR), {}).buckets) == 24


def test_a_list_without_filters_is_a_page_of_counted_events() -> None:
    question = event_question({})
    assert (question.verdict, question.limit, question.refusals) == (Verdict.COUNTED, PAGE_DEFAULT, False)
    assert (question.customer, question.feature, question.key, question.from_us, question.to_us) == (None,) * 5
    assert question.after is None


@pytest.mark.parametrize(
    ("verdict", "meant", "refusals"),
    [("all", None, True), ("refused", Verdict.REFUSED, True), ("blocked", Verdict.BLOCKED, False)],
)
def test_refused_requests_belong_to_what_was_refused_and_to_all(
    verdict: str, meant: Verdict | None, refusals: bool
) -> None:
    question = event_question({"verdict": verdict})
    assert (question.verdict, question.refusals) == (meant, refusals)


def test_times_beyond_every_event_mean_the_end_of_time() -> None:
    question = event_question({"from": "0001-01-01", "to": "9999-12-31T23:59:59+00:00"})
    assert (question.from_us, question.to_us) == (us("1900-01-01"), us("2299-12-31"))


def test_every_filter_is_read() -> None:
    asked = {"customerId": "acme", "featureCode": "calls", "eventId": "k", "from": "2025-10-01", "to": "2025-10-02"}
    question = event_question({**asked, "limit": "7"})
    assert (question.customer, question.feature, question.key, question.limit) == ("acme", "calls", "k", 7)
    assert (question.from_us, question.to_us) == (us("2025-10-01"), us("2025-10-02"))
    assert event_question({"idempotencyKey": "k"}).key == "k"


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"verdict": "maybe"}, "verdict"),
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"from": "x"}, "from"),
        ({"from": "2025-10-02", "to": "2025-10-01"}, "from"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": encode_cursor(1, "evt_x")}, "cursor"),
        ({"cursor": encode_cursor("1", "rej_x")}, "cursor"),
        ({"cursor": encode_cursor(1, ids.id_text(ids.CUSTOMER, CUSTOMER))}, "cursor"),
    ],
)
def test_a_wrong_list_question_names_the_field_at_fault(asked: dict[str, str], field: str) -> None:
    with pytest.raises(Rejected) as caught:
        event_question(asked)
    assert caught.value.refusal.param == field


PLACE = Position(0, 1, 2, 3)


def row(
    place: Position = PLACE,
    outcome: Outcome | None = None,
    *,
    event_time_us: int = NOW_MS * 1_000,
    key: str = "",
    properties: tuple[tuple[str, str], ...] = (),
) -> EventRow:
    event = usage_event(event_time_us, key, properties)
    filled = [event] * (place.index + 1)
    outcomes = [outcome or Outcome(verdict=Verdict.COUNTED)] * len(filled)
    values = rows_of(place.epoch, place.lane, place.offset, NOW_MS, "gw", filled, outcomes)[place.index]
    return EventRow(**dict(zip(EVENT_COLUMNS, values, strict=False)))


def usage_event(event_time_us: int, key: str, properties: tuple[tuple[str, str], ...]) -> UsageEvent:
    return UsageEvent(
        organization=ORG,
        customer=CUSTOMER,
        feature=FEATURE,
        event_time_us=event_time_us,
        at_ms=NOW_MS,
        clock_ms=None,
        quantity="1.5",
        key=key,
        digest=b"",
        content=bytes(8),
        request=bytes(8),
        properties=properties,
    )


def refusal(at_ms: int, number: int = 1) -> RefusalRow:
    return RefusalRow(
        organization="o",
        at=at_ms,
        id=ids.id_text(ids.REFUSAL, bytes([number]) * 16),
        customer="acme",
        feature="calls",
        quantity="1",
        key="k",
        code="customer_not_found",
        message="No customer acme.",
        body="{}",
    )


def test_the_newest_comes_first_and_the_order_is_total() -> None:
    later = row(Position(0, 0, 0, 0), event_time_us=NOW_MS * 1_000 + 1)
    by_index, by_lane = row(Position(0, 1, 2, 4)), row(Position(0, 2, 0, 0))
    rejected = [refusal(NOW_MS, 1), refusal(NOW_MS, 2)]
    found = newest_first([refusal(NOW_MS - 1), *rejected, row(), by_index, by_lane, later])
    assert found == [later, by_lane, by_index, row(), rejected[1], rejected[0], refusal(NOW_MS - 1)]


@pytest.mark.parametrize("item", [row(Position(1, 3, 2**40, 5)), refusal(NOW_MS)])
def test_a_cursor_names_the_item_that_it_was_made_of(item: EventRow | RefusalRow) -> None:
    after = event_question({"cursor": encode_cursor(*cursor_key(item))}).after
    expected = position_of(item) if isinstance(item, EventRow) else None
    assert after == ListCursor(time_us=NOW_MS * 1_000, id=cursor_key(item)[1], position=expected)


COUNTED = Outcome(verdict=Verdict.COUNTED, term=1, window=20_362, window_end=20_393, cut=3)
DRAWN = Drawn(
    pool="balance",
    cost=8_100_000,
    plan=8_000_000,
    packs=0,
    top_ups=100_000,
    overdraft=0,
    left=5,
    margin="20",
    currency="jpy",
)


@pytest.mark.parametrize("dialect", Dialect)
def test_a_listed_ai_event_says_what_it_cost_as_its_answer_did(dialect: Dialect) -> None:
    """R-AI-11."""
    place, outcome = Position(0, 1, 2, 0), replace(COUNTED, drawn=DRAWN)
    event = replace(usage_event(NOW_MS * 1_000, "", ()), tokens=tokens("0.00675"))
    organization = ids.id_text(ids.ORGANIZATION, ORG)
    frame = Frame(dialect=dialect, organization=organization, livemode=False, codes={FEATURE: "calls"}, keys=[None])
    given = decode(single_answer(Judged(event, outcome, *place), frame).body)
    given = given if dialect.bare else given["data"]
    values = rows_of(place.epoch, place.lane, place.offset, NOW_MS, "gw", [event], [outcome])[0]
    listed = EventRow(**dict(zip(EVENT_COLUMNS, values, strict=True)))
    shown = decode(wire.encode(event_wire(listed, "calls", organization, Reader(dialect=dialect, livemode=False))))
    assert {name: shown.get(name) for name in given} == given
    assert given["consumption"]["deducted"] == Decimal("0.0081"), "yen have no minor unit"
    assert (given["costs"]["subtotal"], given["costs"]["margin"], given["costs"]["total"]) == (
        "0.00675",
        "0.00135",
        "0.0081",
    )
    assert (given["consumption"]["deductedDecimal"], given["consumption"]["remainingDecimal"]) == (
        "0.0081",
        "0.000000005",
    )


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize(("key", "properties"), [("", ()), ("k", (("a", "1"), ("a", "2")))])
def test_a_listed_event_has_every_member_of_the_answer_it_was_given(
    dialect: Dialect, key: str, properties: tuple[tuple[str, str], ...]
) -> None:
    place = Position(0, 1, 2, 3)
    organization = ids.id_text(ids.ORGANIZATION, ORG)
    event = usage_event(NOW_MS * 1_000 + 1_999, key, properties)
    frame = Frame(
        dialect=dialect, organization=organization, livemode=False, codes={FEATURE: "calls"}, keys=[key or None]
    )
    answer = single_answer(Judged(event, COUNTED, *place), frame)
    given = decode(answer.body)
    given = given if dialect.bare else given["data"]
    listed = row(place, COUNTED, event_time_us=event.event_time_us, key=key, properties=properties)
    shown = decode(wire.encode(event_wire(listed, "calls", organization, Reader(dialect=dialect, livemode=False))))
    assert {name: shown.get(name) for name in given} == given
    assert (shown["verdict"], shown["cut"], shown["window"]) == (
        "counted",
        3,
        {"start": "2025-10-01", "end": "2025-11-01"},
    )


def decode(body: bytes) -> dict[str, object]:
    import json

    return json.loads(body, parse_float=Decimal)


ORIGINAL = Position(0, 1, 0, 0)


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_has_its_reason_in_words(verdict: Verdict) -> None:
    said = reason_of(row(outcome=Outcome(verdict=verdict, original=ORIGINAL.to_bytes())))
    assert said.endswith(".")
    assert "{" not in said
    if verdict in (Verdict.REPEAT, Verdict.DUPLICATE, Verdict.CONFLICT):
        assert ORIGINAL.event_id() in said


def test_a_code_says_more_than_its_verdict() -> None:
    told = {
        code: reason_of(row(outcome=Outcome(verdict=Verdict.REFUSED, code=code)))
        for code in ("no_active_subscription", "feature_not_in_plan", "included_limit_reached", "unheard_of")
    }
    assert len(set(told.values())) == 4
    assert "2025-10-01" in reason_of(row(outcome=COUNTED))


@pytest.mark.parametrize("dialect", Dialect)
def test_a_refused_request_says_what_the_client_sent_and_why_it_was_refused(dialect: Dialect) -> None:
    shown = refusal_wire(refusal(NOW_MS), Reader(dialect=dialect, livemode=True))
    assert (shown["verdict"], shown["code"], shown["reason"]) == ("refused", "customer_not_found", "No customer acme.")
    assert shown["featureCode" if dialect is Dialect.D else "feature"] == "calls"
    assert shown["eventId" if dialect is Dialect.D else "idempotencyKey"] == "k"
    assert shown["livemode"] is True
