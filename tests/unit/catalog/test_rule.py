import pytest

from catalog import rule
from kernel.errors import Rejected


def field_of(call, *arguments):
    with pytest.raises(Rejected) as refused:
        call(*arguments)
    assert refused.value.refusal.code == "validation_error"
    return refused.value.refusal.param


@pytest.mark.parametrize("code", ["feature1", "metric", "usage", "x", "event_2"])
def test_a_code_that_says_nothing_gets_a_hint_and_is_taken(code):
    """R-TRACK-22."""
    assert code in rule.code_hint(code)
    assert rule.code_of(code) == code


@pytest.mark.parametrize(
    "code", ["api_calls", "storage_gb", "emails_sent", "compute_minutes", "usage_hours", "tokens4"]
)
def test_a_descriptive_code_gets_no_hint(code):
    """R-TRACK-22."""
    assert rule.code_hint(code) is None


@pytest.mark.parametrize("text", ["a@example.com", "a.b+c@sub.example.co", "ä@exämple.de"])
def test_addresses_that_a_server_could_be_asked_about_are_taken(text):
    assert rule.email_of(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "invalid", "@example.com", "a@", "a@b", "a b@example.com", "a@@example.com", "a@.com", "a@example.com\n"],
)
def test_others_are_not(text):
    assert field_of(rule.email_of, text) == "email"


def test_a_slow_address_is_refused_fast():
    field_of(rule.email_of, "a@" + "a." * 100_000)


@pytest.mark.parametrize("text", ["", "A", "a-b", "ä", "a b", "a\n", "x" * 201, "manage", "active", "batch", "bulk"])
def test_codes_are_plain(text):
    assert field_of(rule.code_of, text) == "code"


def test_a_reference_never_looks_like_ours():
    assert rule.external_id_of("user 1/ä") == "user 1/ä"
    assert field_of(rule.external_id_of, "cus_1") == "id"
    assert field_of(rule.external_id_of, "x" * 256) == "id"


def test_words_that_are_sold_and_words_that_are_not():
    assert rule.kind_of("usage") is rule.kind_of("metered")
    assert rule.kind_of("seats") == "seats"
    assert field_of(rule.kind_of, "quota") == "type"
    assert rule.interval_of("monthly") == "monthly"
    assert field_of(rule.interval_of, "weekly") == "billingInterval"


@pytest.mark.parametrize(
    ("rate", "decimal", "price"),
    [
        (None, None, "0"),
        (100, None, "0.01"),
        (None, "0.0000025", "0.0000025"),
        (0, "0.0000025", "0.0000025"),
        (None, "1.50", "1.5"),
    ],
)
def test_a_unit_price_is_a_rate_or_a_decimal(rate, decimal, price):
    assert rule.unit_price_of(rate, decimal) == price


@pytest.mark.parametrize(("rate", "decimal"), [(-1, None), (None, "-1"), (None, "x"), (None, "1e-13"), (None, "")])
def test_a_wrong_unit_price_is_refused(rate, decimal):
    assert field_of(rule.unit_price_of, rate, decimal).startswith("overage.unitPrice")


def test_a_rate_beyond_all_prices_is_refused():
    assert field_of(rule.unit_price_of, 10**60, None) == "overage.unitPrice"
