"""Laws of reading usage: nothing that is sent makes it raise, and one value has one spelling."""

import json
from decimal import Decimal

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from ingest.event import content_digest
from ingest.usage_event import event_id_of, instant_of_us
from ingest.validation import Candidate, decode_batch, decode_element, decode_track
from kernel.errors import Refusal
from kernel.period import instant_text
from kernel.position import Position
from kernel.quantity import to_units

FIELDS = [
    *("feature", "featureCode", "customerId", "externalId", "value", "timestamp", "idempotencyKey", "eventId"),
    *("properties", "model", "inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens", "other"),
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(FIELDS), VALUES)


def is_well_formed(found):
    if isinstance(found, Refusal):
        assert found.code in ("validation_error", "invalid_json")
        assert found.code == "invalid_json" or found.details
        return False
    assert isinstance(found, Candidate)
    assert 0 <= to_units(found.quantity) <= 10**21
    assert found.key is None or 1 <= len(found.key.encode()) <= 255
    return True


@given(BODIES)
@example({"feature": "a", "customerId": "c", "value": 10**400})
@example({"feature": "a", "customerId": "c", "properties": {"": ""}})
def test_any_json_object_is_a_candidate_or_named_errors(body):
    is_well_formed(decode_track(json.dumps(body).encode()))


@given(VALUES)
def test_any_json_is_a_candidate_or_named_errors(body):
    is_well_formed(decode_track(json.dumps(body).encode()))


@given(st.binary(max_size=200) | st.text(alphabet='{}[]",:0123456789.eE+-\\u"tfn ').map(str.encode))
def test_any_bytes_are_a_candidate_or_a_refusal(body):
    is_well_formed(decode_track(body))
    elements = decode_batch(body)
    if not isinstance(elements, Refusal):
        for element in elements:
            is_well_formed(decode_element(element))


@given(st.lists(BODIES | VALUES, min_size=1, max_size=5))
def test_an_event_of_a_batch_reads_as_it_does_alone(bodies):
    elements = decode_batch(json.dumps({"events": bodies}).encode())
    assert not isinstance(elements, Refusal)
    for element, body in zip(elements, bodies, strict=True):
        assert decode_element(element) == decode_track(json.dumps(body).encode())
        assert json.loads(msgspec.json.encode(element)) == json.loads(json.dumps(body))


@given(
    st.decimals(min_value=0, max_value=10**12, places=9, allow_nan=False, allow_infinity=False),
    st.integers(0, 6),
    st.integers(-8, 8),
)
def test_every_spelling_of_a_value_has_one_content(value, zeros, shift):
    plain = format(value, "f")
    spellings = {
        plain,
        plain + "0" * zeros,
        f"{value.scaleb(shift):f}e{-shift}",
        f"{value.scaleb(shift):f}E{-shift:+}",
        str(value).replace("E", "e"),
    }
    found = [decode_track(b'{"feature":"a","customerId":"c","value":%s}' % text.encode()) for text in spellings]
    quantities = {each.quantity for each in found if isinstance(each, Candidate)}
    assert len(quantities) == 1 and len(found) == len(spellings)  # noqa: PT018 - one law
    assert not any(isinstance(each, Refusal) for each in found)
    (quantity,) = quantities
    assert Decimal(quantity) == value
    assert len({content_digest(b"f" * 16, each.quantity) for each in found}) == 1


@given(
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**16 - 1),
)
def test_an_id_is_the_place_in_the_log(epoch, lane, offset, index):
    text = event_id_of(epoch, lane, offset, index)
    assert text == Position(epoch, lane, offset, index).event_id()
    assert Position.from_event_id(text) == (epoch, lane, offset, index)


@given(st.integers(0, 4_000_000_000_000_000))
def test_instants_are_spelled_as_everywhere_else(instant_us):
    assert instant_of_us(instant_us) == instant_text(instant_us // 1000)
