from hypothesis import given
from hypothesis import strategies as st

from kernel.ids import CUSTOMER, id_bytes, id_text, is_id, new_id

raws = st.binary(min_size=16, max_size=16)
times_ms = st.integers(0, 2**48 - 1)


@given(raw=raws, prefix=st.sampled_from(["cus_", "org_", "rej_", "line_", "pp_"]))
def test_the_spelling_reads_back(raw, prefix):
    text = id_text(prefix, raw)
    assert id_bytes(text) == raw
    assert is_id(prefix, text)
    assert text == text.lower()


@given(one=raws, other=raws)
def test_text_sorts_as_the_bytes_do(one, other):
    assert (id_text(CUSTOMER, one) < id_text(CUSTOMER, other)) == (one < other)


@given(one=times_ms, other=times_ms)
def test_ids_of_a_later_millisecond_sort_later(one, other):
    if one != other:
        assert (new_id(CUSTOMER, one) < new_id(CUSTOMER, other)) == (one < other)


@given(text=st.text(max_size=40) | st.from_regex(r"cus_[0-9a-zA-Z]{26}", fullmatch=True))
def test_one_text_is_one_id(text):
    if is_id(CUSTOMER, text):
        assert id_text(CUSTOMER, id_bytes(text)) == text
