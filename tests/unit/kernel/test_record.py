import msgspec
import pytest

from kernel.errors import Fatal, RecordUnreadable
from kernel.record import ACCOUNT, RECORD_VERSION, USAGE, decode_record, encode_record


@pytest.mark.parametrize("kind", [USAGE, ACCOUNT])
def test_a_record_comes_back(kind):
    envelope = decode_record(encode_record(kind, "gateway-1", {"any": ["body", 1]}))
    assert (envelope.version, envelope.kind, envelope.gateway) == (RECORD_VERSION, kind, "gateway-1")
    assert msgspec.msgpack.decode(envelope.body) == {"any": ["body", 1]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"not msgpack at all",
        msgspec.msgpack.encode((RECORD_VERSION, "x", "gateway", None)),  # no such kind
        msgspec.msgpack.encode((RECORD_VERSION + 1, USAGE, "gateway", None)),  # a version to come
        msgspec.msgpack.encode((RECORD_VERSION, USAGE, "gateway")),  # no body
        msgspec.msgpack.encode({"version": RECORD_VERSION}),
        encode_record(USAGE, "gateway", [1, 2, 3])[:-1],  # cut short
        encode_record(USAGE, "gateway", None) + b"\x00",  # something after it
        b"\x94\x01\xa1u\xa1\xff\xc0",  # a gateway that is no UTF-8
        b"\x94\x01\xa1u\xa1g" + b"\x91" * 100_000 + b"\xc0",  # nesting without end
    ],
)
def test_what_does_not_decode_stops_the_lane(data):
    with pytest.raises(RecordUnreadable) as caught:
        decode_record(data)
    assert isinstance(caught.value, Fatal)


def test_the_bytes_of_a_record_are_stable():
    assert encode_record(ACCOUNT, "g", [1]) == bytes.fromhex("94 01 a161 a167 91 01")
