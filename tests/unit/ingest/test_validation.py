"""What a track call may look like, case by case. Source: contract 3.18, 3.19; R-TRACK-1 to 5, 16 to 18."""

import json

import pytest

from ingest.pricing import TokenCounts
from ingest.validation import Candidate, decode_batch, decode_element, decode_track
from kernel.errors import Refusal

GOOD = {"feature": "api_calls", "customerId": "user_123"}


def read(**members: object) -> Candidate | Refusal:
    return decode_track(json.dumps({**GOOD, **members}).encode())


def accepted(**members: object) -> Candidate:
    found = read(**members)
    assert isinstance(found, Candidate), found
    return found


def wrong_fields(found: Candidate | Refusal) -> list[str]:
    assert isinstance(found, Refusal), found
    assert found.code == "validation_error"
    assert isinstance(found.details, list)
    assert found.param == found.details[0]["field"]
    assert all(set(detail) == {"field", "message"} and detail["message"] for detail in found.details)
    return [detail["field"] for detail in found.details]


@pytest.mark.parametrize(
    ("spelling", "quantity"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("0.1e1", "1"),
        ("1E+0", "1"),
        ("0", "0"),
        ("-0", "0"),
        ("-0.0e3", "0"),
        ("0e-999999999", "0"),
        ("0e999999999", "0"),
        ("0.5", "0.5"),
        ("0.50", "0.5"),
        ("1.500000000000", "1.5"),
        ("0.000000001", "0.000000001"),
        ("1e-9", "0.000000001"),
        ("1e12", "1000000000000"),
        ("1000000000000", "1000000000000"),
        ("999999999999.999999999", "999999999999.999999999"),
        ("9007199254740993e-9", "9007199.254740993"),
        ("0.1", "0.1"),
        ("null", "1"),
    ],
)
def test_a_number_keeps_its_exact_value_and_has_one_spelling(spelling, quantity):
    """R-TRACK-3, R-TRACK-4."""
    found = decode_track(f'{{"feature":"a","customerId":"c","value":{spelling}}}'.encode())
    assert isinstance(found, Candidate), found
    assert found.quantity == quantity


@pytest.mark.parametrize(
    "spelling",
    [
        "-1",
        "-0.000000001",
        "1e13",
        "1000000000000.000000001",
        "1000000000001",
        "1e-10",
        "0.1234567891",
        "1e400",
        "1e-400",
        "1e99999999999999999999",
        "1e-99999999999999999999",
        "0." + "0" * 99,
        "9" * 5000,
        '"5"',
        '""',
        "true",
        "false",
        "[]",
        "[1]",
        "{}",
        '{"a":1}',
    ],
)
def test_what_is_no_quantity_is_an_error_of_value(spelling):
    """R-TRACK-3, R-TRACK-4."""
    found = decode_track(f'{{"feature":"a","customerId":"c","value":{spelling}}}'.encode())
    assert wrong_fields(found) == ["value"]


@pytest.mark.parametrize(
    "body", [b'{"value":NaN}', b'{"value":Infinity}', b'{"value":01}', b'{"value":.5}', b"nul", b"{"]
)
def test_what_is_not_json_is_said_to_be_so(body):
    found = decode_track(body)
    assert isinstance(found, Refusal)
    assert found.code == "invalid_json"


@pytest.mark.parametrize("body", [b'{"x":"\xff"}', b'{"feature":"\xff"}', b"\xef\xbb\xbf{}", b'{"s":"\\ud800"}'])
def test_bytes_that_are_no_text_are_not_json(body):
    found = decode_track(body)
    assert isinstance(found, Refusal)
    assert found.code == "invalid_json"


@pytest.mark.parametrize(("open_", "close"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_is_refused_and_harms_nobody(open_, close):
    deep = open_ * 100_000 + b"1" + close * 100_000
    for body in (b'{"x":' + deep + b"}", b'{"value":' + deep + b"}", deep):
        found = decode_track(body)
        assert isinstance(found, Refusal)
        assert found.code in ("invalid_json", "validation_error")
    batch = decode_batch(b'{"events":[' + deep + b"]}")
    assert isinstance(batch, Refusal)


def test_an_empty_body_is_an_empty_object():
    assert wrong_fields(decode_track(b"")) == ["feature", "customerId"]
    assert wrong_fields(decode_track(b"{}")) == ["feature", "customerId"]


def test_every_wrong_field_is_named_at_once():
    """R-TRACK-1, R-TRACK-2, R-TRACK-3."""
    assert wrong_fields(read(feature="API-calls", customerId="", value=-1, timestamp="soon")) == [
        "feature",
        "customerId",
        "value",
        "timestamp",
    ]
    assert wrong_fields(read(feature=1, customerId=[], timestamp=5, properties="x")) == [
        "feature",
        "customerId",
        "timestamp",
        "properties",
    ]


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"feature": "Api"}, "feature"),
        ({"feature": "api calls"}, "feature"),
        ({"feature": ""}, "feature"),
        ({"feature": "api\n"}, "feature"),
        ({"feature": True}, "feature"),
        ({"customerId": "c" * 256}, "customerId"),
        ({"idempotencyKey": ""}, "idempotencyKey"),
        ({"idempotencyKey": "k" * 256}, "idempotencyKey"),
        ({"idempotencyKey": "é" * 128}, "idempotencyKey"),
        ({"eventId": ""}, "eventId"),
        ({"idempotencyKey": 5}, "idempotencyKey"),
        ({"properties": {"a": 1}}, "properties"),
        ({"properties": [{"property": "a"}]}, "properties"),
        ({"properties": [{"property": "a", "value": True}]}, "properties"),
        ({"properties": {str(n): "x" for n in range(51)}}, "properties"),
        ({"properties": {"a": "x" * 501}}, "properties"),
        ({"properties": {"a" * 501: "x"}}, "properties"),
        ({"model": 5}, "model"),
        ({"inputTokens": "5"}, "inputTokens"),
        ({"inputTokens": True}, "inputTokens"),
        ({"inputTokens": 1.5}, "inputTokens"),
    ],
)
def test_a_field_out_of_its_limits_is_named(members, field):
    """R-TRACK-2, R-TRACK-18."""
    assert wrong_fields(read(**members)) == [field]


def test_synonyms_of_all_eras_are_taken_and_errors_name_what_was_sent():
    found = decode_track(b'{"featureCode":"a","externalId":"c","eventId":"k"}')
    assert isinstance(found, Candidate)
    assert (found.feature, found.customer, found.key) == ("a", "c", "k")
    assert wrong_fields(decode_track(b'{"featureCode":"A","externalId":""}')) == ["featureCode", "externalId"]


def test_defaults_and_limits_that_still_pass():
    """R-TRACK-1, R-TRACK-3."""
    found = accepted()
    assert found == Candidate(
        feature="api_calls", customer="user_123", quantity="1", time_us=None, key=None, properties=()
    )
    nothing = {"value": None, "timestamp": None, "idempotencyKey": None, "properties": None, "model": None}
    assert accepted(**nothing) == found
    assert accepted(unknown={"deep": [1, {}]}, subscriptionId="x") == found
    assert accepted(idempotencyKey="é" * 127 + "x").key == "é" * 127 + "x"
    assert len(accepted(properties={str(n): "x" * 500 for n in range(50)}).properties) == 50


def test_properties_come_as_a_list_or_an_object():
    listed = [{"property": "a", "value": "b"}, {"property": "c", "value": "d"}]
    assert accepted(properties=listed).properties == (("a", "b"), ("c", "d"))
    assert accepted(properties={"a": "b", "c": "d"}).properties == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2026-01-01T00:00:00Z", 1_767_225_600_000_000),
        ("2026-01-01T00:00:00", 1_767_225_600_000_000),
        ("2026-01-01", 1_767_225_600_000_000),
        ("2026-01-01 00:00:00", 1_767_225_600_000_000),
        ("2026-01-01t00:00:00z", 1_767_225_600_000_000),
        ("2026-01-01T00:00:00.5Z", 1_767_225_600_500_000),
        ("2026-01-01T00:00:00.123456789Z", 1_767_225_600_123_456),
        ("2026-01-01T00:00:00.123456+00:00", 1_767_225_600_123_456),
        ("2026-01-01T05:30:00+05:30", 1_767_225_600_000_000),
        ("2025-12-31T20:00:00-0400", 1_767_225_600_000_000),
        ("2025-12-31T20:00-04", 1_767_225_600_000_000),
    ],
)
def test_times_with_any_zone_and_up_to_nine_places(text, us):
    """R-TRACK-5."""
    assert accepted(timestamp=text).time_us == us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1767225600",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00.1234567890Z",
        "2026-01-01T00:00:00.12345678aZ",
        "2026-01-01T00:00+05.5Z",
        "2026-02-30T00:00:00.5Z",
        "2026-01-01T00:00:00.²Z",
        "2026-01-01T00:00:00.Z",
        "2026-W01-1",
        "2026-01-01T00:00:00+25:00",
        "2026-01-01T00:00:00Z ",
        "٢٠٢٦-01-01",
    ],
)
def test_what_is_no_time_is_an_error_of_timestamp(text):
    """R-TRACK-5."""
    assert wrong_fields(read(timestamp=text)) == ["timestamp"]


def test_ai_fields_are_checked_for_shape():
    """R-TRACK-18."""
    assert wrong_fields(read(model="gpt-4o")) == ["inputTokens", "outputTokens"]
    assert wrong_fields(read(model="gpt-4o", inputTokens=5)) == ["outputTokens"]
    assert wrong_fields(read(model="", inputTokens=5, outputTokens=1)) == ["model"]
    assert wrong_fields(read(model="m", inputTokens=-1, outputTokens=1, cacheReadTokens=-1)) == [
        "inputTokens",
        "cacheReadTokens",
    ]
    assert accepted(model="m", inputTokens=1, outputTokens=1, cacheReadTokens=0, value="ignored").model == "m"


def test_the_counts_of_an_ai_call_are_kept_and_its_quantity_is_input_and_output() -> None:
    """R-TRACK-18, R-AI-12."""
    found = accepted(model="m", inputTokens=10, outputTokens=4, cacheReadTokens=7, cacheWriteTokens=3)
    assert found.tokens == TokenCounts(input=10, output=4, cache_read=7, cache_write=3)
    assert (found.quantity, found.tokens.not_cached) == ("14", 0)
    assert accepted(model="m", inputTokens=0, outputTokens=0).quantity == "0"
    assert accepted().tokens is None


def test_cached_tokens_are_part_of_the_input() -> None:
    """R-AI-3."""
    wrong = read(model="m", inputTokens=10, outputTokens=4, cacheReadTokens=8, cacheWriteTokens=3)
    assert wrong_fields(wrong) == ["inputTokens"]
    assert wrong_fields(read(model="m", inputTokens=10**12, outputTokens=1)) == ["inputTokens"]
    assert accepted(model="m", inputTokens=10**12 - 1, outputTokens=1).quantity == str(10**12)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"events":[]}', b'{"events":{}}', b'{"events":null}', b"[]", b'{"events":[' + b"1," * 100 + b"1]}"],
)
def test_a_batch_has_1_to_100_events(body):
    """R-TRACK-16."""
    found = decode_batch(body)
    assert isinstance(found, Refusal)
    assert found.code == "validation_error"
    assert found.param == "events"


def test_one_bad_event_says_nothing_about_the_others():
    """R-TRACK-17."""
    elements = decode_batch(
        b'{"events":[{"feature":"a","customerId":"c"},5,{"feature":"A"},{"feature":"a","customerId":"c"}]}'
    )
    assert not isinstance(elements, Refusal)
    found = [decode_element(element) for element in elements]
    assert isinstance(found[0], Candidate)
    assert found[0] == found[3]
    assert wrong_fields(found[1]) == ["body"]
    assert wrong_fields(found[2]) == ["feature", "customerId"]
    assert bytes(elements[2]) == b'{"feature":"A"}'


def test_broken_json_inside_a_batch_is_the_batch_s_fault():
    found = decode_batch(b'{"events":[{"feature":"a"},{"value":1.2.3}]}')
    assert isinstance(found, Refusal)
    assert found.code == "invalid_json"
