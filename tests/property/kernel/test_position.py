from hypothesis import given
from hypothesis import strategies as st

from kernel.position import Position

positions = st.builds(
    Position,
    epoch=st.integers(0, 2**8 - 1),
    lane=st.integers(0, 2**16 - 1),
    offset=st.integers(0, 2**48 - 1),
    index=st.integers(0, 2**16 - 1),
)


@given(position=positions)
def test_positions_come_back(position):
    assert Position.from_bytes(position.to_bytes()) == position
    assert Position.from_event_id(position.event_id()) == position
    assert len(position.to_bytes()) == 11
    assert len(position.event_id()) == 22


@given(one=positions, other=positions)
def test_both_spellings_sort_as_positions_do(one, other):
    assert (one.to_bytes() < other.to_bytes()) == (one < other)
    assert (one.event_id() < other.event_id()) == (one < other)


@given(text=st.text(max_size=30) | st.from_regex(r"evt_[0-9a-zA-Z]{18}", fullmatch=True))
def test_a_text_is_the_spelling_of_one_position_or_none(text):
    position = Position.from_event_id(text)
    assert position is None or position.event_id() == text
