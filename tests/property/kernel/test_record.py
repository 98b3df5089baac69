import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import RecordUnreadable
from kernel.record import RECORD_VERSION, decode_record, encode_record

kinds = st.sampled_from(["u", "a"])
bodies = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(kind=kinds, gateway=st.text(), body=bodies)
def test_records_come_back(kind, gateway, body):
    envelope = decode_record(encode_record(kind, gateway, body))
    assert (envelope.version, envelope.kind, envelope.gateway) == (RECORD_VERSION, kind, gateway)
    assert msgspec.msgpack.decode(envelope.body) == body


@given(data=st.binary(max_size=200) | st.binary(max_size=60).map(lambda rest: b"\x94\x01\xa1u" + rest))
def test_any_bytes_are_a_record_or_unreadable(data):
    try:
        envelope = decode_record(data)
    except RecordUnreadable:
        return
    assert envelope.version == RECORD_VERSION


@given(kind=kinds, body=bodies, cut=st.integers(1, 20))
def test_a_record_cut_short_is_unreadable(kind, body, cut):
    data = encode_record(kind, "gateway", body)
    try:
        decode_record(data[: max(0, len(data) - cut)])
    except RecordUnreadable:
        return
    raise AssertionError(data)
