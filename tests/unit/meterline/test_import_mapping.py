"""The mapping file and its templates: what may be written, and what a row then means."""

import pytest

from kernel.errors import Misconfigured
from meterline.importer.mapping import parse_mapping
from meterline.importer.row import BadRow, Row, RowEvents, events_of
from meterline.importer.template import Template

TRACE = b"""
[source]
time = "TIMESTAMP"
zone = "UTC"
[customer]
id = "customer-{row % 50}"
create = true
plan = "tokens"
[[event]]
feature = "input_tokens"
value = "ContextTokens"
[[event]]
feature = "output_tokens"
value = "GeneratedTokens"
"""


@pytest.mark.parametrize(
    ("text", "columns", "number", "filled"),
    [
        ("customer-{row % 50}", {}, 120, "customer-20"),
        ("{a}-{row}", {"a": "x"}, 7, "x-7"),
        ("{a * 2 + 1}", {"a": "20"}, 0, "41"),
        ("{(row + 3) // 2}", {}, 4, "3"),
        ("{row - -1}", {}, 4, "5"),
        ("{User Id}", {"User Id": "u 1"}, 0, "u 1"),
        ("{{row}}", {}, 3, "{row}"),
        ("plain", {}, 0, "plain"),
        ("{n}", {"n": None}, 0, ""),
        ("{b}", {"b": True}, 0, "true"),
    ],
)
def test_a_template_is_filled(text, columns, number, filled):
    assert Template(text).fill(columns, number) == filled


@pytest.mark.parametrize(
    "text",
    [
        "{row.__class__}",
        "{f(row)}",
        "{'x'}",
        "{row ** 9}",
        "{row / 2}",
        "{}",
        "{row!r}",
        "{a:5}",
        "{1.5}",
        "{",
        "{[1]}",
        "{lambda: 1}",
    ],
)
def test_nothing_but_sums_of_columns_may_stand_in_braces(text):
    with pytest.raises(ValueError):
        Template(text).fill({"a": "1"}, 1)


@pytest.mark.parametrize(
    ("text", "columns"), [("{a}", {}), ("{a + 1}", {"a": "x"}), ("{row % 0}", {}), ("{a+1}", {"a": "9" * 50})]
)
def test_what_cannot_be_computed_is_a_reason(text, columns):
    with pytest.raises(ValueError):
        Template(text).fill(columns, 1)


def test_a_row_of_the_trace_becomes_two_events():
    mapping = parse_mapping(TRACE)
    columns = {"TIMESTAMP": "2023-11-16 18:15:46.6805900", "ContextTokens": "374", "GeneratedTokens": "44"}
    read = events_of(mapping, "0123456789abcdef", Row(51, 53, columns))
    assert isinstance(read, RowEvents)
    assert read.customer == "customer-1"
    assert [(e["featureCode"], e["eventId"], str(e["value"]), e["timestamp"]) for e in read.events] == [
        ("input_tokens", "0123456789abcdef:51:0", "374", "2023-11-16T18:15:46.680590Z"),
        ("output_tokens", "0123456789abcdef:51:1", "44", "2023-11-16T18:15:46.680590Z"),
    ]


def test_the_zone_applies_only_where_the_text_has_none():
    mapping = parse_mapping(TRACE.replace(b'"UTC"', b'"Europe/Berlin"'))
    columns = {"ContextTokens": "1", "GeneratedTokens": "1"}
    stamps = []
    for text in ("2023-11-16 18:00:00", "2023-11-16T18:00:00Z", "2023-11-16T18:00:00+05:30"):
        read = events_of(mapping, "f", Row(0, 2, {**columns, "TIMESTAMP": text}))
        assert isinstance(read, RowEvents)
        stamps.append(read.events[0]["timestamp"])
    assert stamps == ["2023-11-16T17:00:00.000000Z", "2023-11-16T18:00:00.000000Z", "2023-11-16T12:30:00.000000Z"]


def test_an_empty_value_is_no_event_and_the_next_one_keeps_its_key():
    columns = {"TIMESTAMP": "2023-11-16", "ContextTokens": "", "GeneratedTokens": "4"}
    read = events_of(parse_mapping(TRACE), "f", Row(0, 2, columns))
    assert isinstance(read, RowEvents)
    assert ([e["eventId"] for e in read.events], read.empty) == (["f:0:1"], 1)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"ContextTokens": "abc"}, "not a number"),
        ({"ContextTokens": "-1"}, "negative"),
        ({"ContextTokens": "NaN"}, "finite"),
        ({"ContextTokens": "0.0000000001"}, "decimal places"),
        ({"ContextTokens": "1e13"}, "at most"),
        ({"ContextTokens": True}, "not a number"),
        ({"ContextTokens": [1]}, "not a number"),
        ({"TIMESTAMP": "yesterday"}, "ISO 8601"),
        ({"TIMESTAMP": ""}, "no time"),
        ({"TIMESTAMP": 12}, "no time"),
    ],
)
def test_a_bad_row_says_why(changed, word):
    columns = {"TIMESTAMP": "2023-11-16", "ContextTokens": "1", "GeneratedTokens": "4", **changed}
    read = events_of(parse_mapping(TRACE), "f", Row(0, 2, columns))
    assert isinstance(read, BadRow)
    assert word in read.reason
    assert read.line == 2


def test_keys_properties_and_constants():
    mapping = parse_mapping(
        b"""
        [customer]
        id = "{user}"
        [[event]]
        feature = "calls"
        value = 1
        key = "{id}"
        properties = { region = "{region}", row = "{row}" }
        """
    )
    read = events_of(mapping, "f", Row(3, 4, {"user": "u", "id": "k-1", "region": "eu"}))
    assert isinstance(read, RowEvents)
    (event,) = read.events
    assert (event["eventId"], int(event["value"]), "timestamp" in event) == ("k-1", 1, False)
    assert event["properties"] == [{"property": "region", "value": "eu"}, {"property": "row", "value": "3"}]
    assert mapping.columns() == {"user", "id", "region"}


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        (b'"UTC"', b'"Mars/Base"', "zone"),
        (b'plan = "tokens"', b"", "plan"),
        (b"[source]", b"[sources]", "sources"),
        (b"{row % 50}", b"{row ** 50}", "braces"),
        (b'time = "TIMESTAMP"', b"time = 5", "time"),
        (b"[source]", b"[source", "mapping file"),
    ],
)
def test_a_wrong_mapping_is_refused_with_a_sentence(old, new, word):
    with pytest.raises(Misconfigured, match=word):
        parse_mapping(TRACE.replace(old, new))
