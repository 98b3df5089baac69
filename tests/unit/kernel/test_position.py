import pytest

from kernel.position import Position


def test_the_spellings_are_stable():
    position = Position(1, 2, 3, 4)
    assert position.to_bytes() == bytes.fromhex("01 0002 000000000003 0004")
    assert position.event_id() == "evt_04004000000000o00g"
    assert position.record() == "1.2.3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "evt_",
        "evt_0",
        "cus_04004000000000o00g",
        "evt_04004000000000o00",
        "EVT_04004000000000o00g",
        "evt_04004000000000O00G",
        "evt_04004000000000o00h",  # bits beyond the 88th
        "evt_zzzzzzzzzzzzzzzzzz",  # not of the alphabet
        "evt_" + "ŉ" * 18,  # a letter whose capital is two
    ],
)
def test_what_we_did_not_spell_is_no_event(text):
    assert Position.from_event_id(text) is None


@pytest.mark.parametrize(
    "position", [Position(256, 0, 0, 0), Position(0, 65_536, 0, 0), Position(0, 0, 2**48, 0), Position(0, 0, 0, 65_536)]
)
def test_a_position_beyond_its_bytes_is_a_mistake_of_ours(position):
    with pytest.raises(OverflowError):
        position.to_bytes()
