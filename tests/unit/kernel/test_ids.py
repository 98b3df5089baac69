import pytest

from kernel.ids import CUSTOMER, ORGANIZATION, id_bytes, id_text, is_id, new_bytes, new_id

RAW = bytes(range(16))


def test_the_spelling_is_stable():
    assert id_text(CUSTOMER, RAW) == "cus_000g40o40k30e209185go38e1s"
    assert id_bytes("cus_000g40o40k30e209185go38e1s") == RAW


def test_a_new_id_is_a_uuid_of_version_7():
    raw = new_bytes(1_700_000_000_000)
    assert int.from_bytes(raw[:6], "big") == 1_700_000_000_000
    assert raw[6] >> 4 == 7
    assert raw[8] >> 6 == 0b10
    assert len({new_bytes(1) for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cus_",
        "cus_short",
        id_text("cus_", RAW).upper(),
        id_text("cus_", RAW) + "0",
        "cus_" + "z" * 26,  # not of the alphabet
        "cus_" + "0" * 25 + "1",  # bits beyond the 128th
        "cus_" + "\u0131" * 26,  # a letter whose capital is of the alphabet
    ],
)
def test_what_we_did_not_spell_is_no_id(text):
    with pytest.raises(ValueError):
        id_bytes(text)
    assert not is_id(CUSTOMER, text)


def test_an_id_has_one_prefix():
    assert is_id(ORGANIZATION, new_id(ORGANIZATION, 0))
    assert not is_id(CUSTOMER, new_id(ORGANIZATION, 0))
    assert not is_id(ORGANIZATION, ORGANIZATION + new_id(CUSTOMER, 0))
