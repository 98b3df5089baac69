"""Records, headers, refusals and pressure: small laws of what is bounded. Source: DESIGN 3.2, 8; contract 1.2."""

import pytest

from ingest.chunk import chunks
from ingest.event import NO_DIGEST, NO_REQUEST, UsageEvent, decode_usage
from ingest.head import read_head
from ingest.pressure import Pressure
from ingest.refusal import Asked, RefusalQuota, refused_request
from ingest.validation import Candidate
from kernel.errors import Refusal
from kernel.limits import (
    IN_FLIGHT_BYTES_MAX,
    IN_FLIGHT_REQUESTS_MAX,
    RECORD_BYTES_MAX,
    RECORD_EVENTS_MAX,
    REFUSALS_PER_SECOND_MAX,
)
from kernel.record import decode_record
from kernel.wire import Dialect


def events(count, properties=()):
    return [
        UsageEvent(
            organization=b"o" * 16,
            customer=b"c" * 16,
            feature=b"f" * 16,
            event_time_us=index,
            at_ms=0,
            clock_ms=None,
            quantity="1",
            key="k" * 255,
            digest=NO_DIGEST,
            content=b"c" * 8,
            request=NO_REQUEST,
            properties=properties,
        )
        for index in range(count)
    ]


# The largest event that validation lets through: 50 properties, 500 characters of four bytes for name and value.
LARGEST = tuple((f"{n:0>500}".replace("0", "😀"), "😀" * 500) for n in range(50))


@pytest.mark.parametrize(
    ("count", "properties"), [(1, ()), (512, ()), (513, ()), (2000, ()), (1, LARGEST), (7, LARGEST), (600, LARGEST[:1])]
)
def test_records_hold_all_events_in_order_within_the_limits(count, properties):
    given = events(count, properties)
    found, reached = [], 0
    for start, end, data in chunks("gw", given):
        assert start == reached
        assert len(data) <= RECORD_BYTES_MAX
        carried = decode_usage(decode_record(data))
        assert 1 <= len(carried) == end - start <= RECORD_EVENTS_MAX
        found += carried
        reached = end
    assert found == given


def test_as_few_records_as_the_limit_of_events_allows():
    assert [(start, end) for start, end, _ in chunks("gw", events(1025))] == [(0, 512), (512, 1024), (1024, 1025)]


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({b"x-api-key": b"ck_1"}, "ck_1"),
        ({b"authorization": b"Bearer ck_1"}, "ck_1"),
        ({b"authorization": b"bearer  ck_1 "}, "ck_1"),
        ({b"x-api-key": b"ck_1", b"authorization": b"Bearer ck_2"}, "ck_1"),
        ({b"authorization": b"Basic ck_1"}, None),
        ({b"x-api-key": b""}, None),
        ({}, None),
    ],
)
def test_the_key_comes_in_either_header(headers, key):
    assert read_head("/api/usage/events", headers.items()).api_key == key


@pytest.mark.parametrize(
    ("path", "version", "dialect"),
    [
        ("/api/usage/events", None, Dialect.A),
        ("/api/v1/usage/events", None, Dialect.D),
        ("/api/v1/usage/events", b"2026-05-01", Dialect.A),
        ("/api/v1/usage/events", b"2026-07-11", Dialect.C),
        ("/api/usage/events", b"2026-08-27", Dialect.D),
    ],
)
def test_the_dialect_comes_from_version_and_path(path, version, dialect):
    headers = [] if version is None else [(b"commet-version", version)]
    assert read_head(path, headers).dialect is dialect


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"respond-async", True),
        (b"Respond-Async, wait=10", True),
        (b"wait=10,respond-async;x=1", True),
        (b"respond-asynchronously", False),
        (b"", False),
    ],
)
def test_the_preference_not_to_wait(value, wanted):
    assert read_head("/api/x", [(b"prefer", value)]).respond_async is wanted


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (b"application/json", True),
        (b"Application/JSON; charset=utf-8", True),
        (b"application/cloudevents+json", True),
        (b"text/json", False),
        (b"application/jsonp", False),
        (b"", False),
    ],
)
def test_what_counts_as_json(value, json):
    assert read_head("/api/x", [(b"content-type", value)]).json is json


def test_an_empty_idempotency_key_is_none_and_lengths_are_numbers():
    head = read_head("/api/x", [(b"idempotency-key", b" "), (b"content-length", "²".encode())])
    assert (head.idempotency_key, head.length) == (None, None)
    assert read_head("/api/x", [(b"content-length", b"17")]).length == 17


def test_no_more_requests_and_bytes_than_the_limits():
    pressure = Pressure()
    tickets = [pressure.enter() for _ in range(IN_FLIGHT_REQUESTS_MAX)]
    assert pressure.enter() is None
    assert pressure.left == 0
    assert tickets[0].grow(IN_FLIGHT_BYTES_MAX)
    assert not tickets[1].grow(1)
    tickets[0].leave()
    assert (pressure.left, pressure.bytes) == (1, 0)
    assert tickets[1].grow(1)
    for ticket in tickets[1:]:
        ticket.leave()
    assert (pressure.requests, pressure.bytes) == (0, 0)


def test_refusals_are_kept_up_to_a_number_a_second_for_each_organization():
    quota = RefusalQuota()
    assert quota.take(b"a", 5_000, 60) == 60
    assert quota.take(b"a", 5_500, 60) == REFUSALS_PER_SECOND_MAX - 60
    assert quota.take(b"a", 5_999, 1) == 0
    assert quota.take(b"b", 5_999, 1) == 1
    assert quota.take(b"a", 6_000, 1) == 1


def test_a_refusal_is_kept_with_what_could_be_read():
    refusal = Refusal(code="feature_not_found", message="There is no feature 'x'.")
    candidate = Candidate(feature="x", customer="anna", quantity="1.5", time_us=None, key="k", properties=())
    asked = Asked(organization=b"o" * 16, request="req_1", route="POST /usage/events", at_ms=7, now_ms=8)
    kept = refused_request(refusal, candidate, b"{}", asked, refusal_id="rej_1", event="evt_1")
    assert (kept.id, kept.customer, kept.feature, kept.quantity, kept.key) == ("rej_1", "anna", "x", "1.5", "k")
    assert (kept.code, kept.message, kept.at_ms, kept.body) == (refusal.code, refusal.message, 7, "{}")
    assert (kept.request, kept.route, kept.now_ms, kept.event) == ("req_1", asked.route, 8, "evt_1")
    assert kept.rule == "R-TRACK-7"
    unread = refused_request(refusal, None, "é".encode() * 400, asked, refusal_id="rej_2")
    assert (unread.customer, unread.key, len(unread.body.encode())) == ("", "", 500)
