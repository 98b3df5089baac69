"""The 34 bytes of a key, and what an attempt finds in them. Source: DESIGN 3.3, 3.5.4; R-TRACK-13."""

import pytest

from ingest.event import NO_REQUEST
from ingest.key_entry import ENTRY_BYTES, EntryKind, KeyEntry, decode_entry, encode_entry, filtered
from ingest.verdict import Verdict
from kernel.position import Position

CONTENT, OTHER, REQUEST = b"c" * 8, b"o" * 8, b"r" * 8


def entry(kind=EntryKind.COUNTED, request=REQUEST):
    return KeyEntry(kind=kind, position=Position(1, 2, 3, 4), at_ms=1_800_000_000_000, content=CONTENT, request=request)


def test_the_layout_is_fixed():
    data = encode_entry(entry())
    assert data.hex() == "6e" + "01" + "0002" + "000000000003" + "0004" + "01a3185c5000" + "63" * 8 + "72" * 8
    assert len(data) == ENTRY_BYTES
    assert decode_entry(data) == entry()


@pytest.mark.parametrize("kind", EntryKind)
@pytest.mark.parametrize(
    "position", [Position(0, 0, 0, 0), Position(255, 65_535, 2**48 - 1, 65_535), Position(1, 2, 3, 4)]
)
def test_every_kind_and_position_comes_back(kind, position):
    before = KeyEntry(kind=kind, position=position, at_ms=2**48 - 1, content=CONTENT, request=NO_REQUEST)
    assert decode_entry(encode_entry(before)) == before


@pytest.mark.parametrize(
    ("held", "content", "request_", "verdict"),
    [
        (REQUEST, CONTENT, REQUEST, Verdict.REPEAT),
        (REQUEST, OTHER, REQUEST, Verdict.REPEAT),
        (REQUEST, CONTENT, OTHER, Verdict.DUPLICATE),
        (REQUEST, OTHER, OTHER, Verdict.CONFLICT),
        (NO_REQUEST, CONTENT, NO_REQUEST, Verdict.DUPLICATE),
        (NO_REQUEST, OTHER, NO_REQUEST, Verdict.CONFLICT),
        (REQUEST, CONTENT, NO_REQUEST, Verdict.DUPLICATE),
    ],
)
def test_what_another_attempt_of_a_counted_key_is(held, content, request_, verdict):
    assert entry(request=held).verdict_on(content, request_) is verdict
    outcome = filtered(encode_entry(entry(request=held)), content, request_)
    assert outcome is not None
    assert (outcome.verdict, outcome.original_position()) == (verdict, Position(1, 2, 3, 4))
    assert outcome.original_at_ms == 1_800_000_000_000


@pytest.mark.parametrize("data", [None, encode_entry(entry(EntryKind.REFUSED)), encode_entry(entry(EntryKind.DEAD))])
def test_only_a_counted_key_is_answered_without_the_log(data):
    assert filtered(data, CONTENT, REQUEST) is None
