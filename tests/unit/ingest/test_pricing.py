"""Tokens priced exactly, and what answers say of it."""

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from catalog.definition import ModelPrice
from ingest.consumption import consumption, costs_of, token_costs
from ingest.pricing import TokenCounts, priced
from ingest.verdict import Drawn

GPT = ModelPrice(model="openai/gpt-4o", since_ms=7, input="2.5", output="10", version="v1")
CLAUDE = ModelPrice(
    model="anthropic/claude-sonnet-4.6",
    since_ms=7,
    input="3",
    output="15",
    cache_read="0.3",
    cache_write="3.75",
    version="v1",
)


@pytest.mark.parametrize(
    ("price", "counts", "base"),
    [
        (GPT, TokenCounts(input=1_500, output=300), "0.00675"),  # the documents' sample: with 20 % it is 0.0081
        (CLAUDE, TokenCounts(input=10_000, output=500, cache_read=7_000, cache_write=1_000), "0.01935"),
        (GPT, TokenCounts(input=10, output=0, cache_read=4, cache_write=6), "0.000025"),
        (GPT, TokenCounts(input=0, output=0), "0"),
        (replace(GPT, input="0.000000000001"), TokenCounts(input=1, output=0), "0.000000000000000001"),
    ],
)
def test_each_kind_of_token_has_its_price_and_a_missing_one_is_the_input_price(price, counts, base):
    """R-AI-2, R-AI-3, R-AI-5."""
    assert priced(counts, price).base_cost == base


prices = st.decimals(0, 1_000, places=6).map(str)
counts = st.integers(0, 10**12)


@given(prices, prices, st.none() | prices, st.none() | prices, st.tuples(counts, counts, counts, counts))
def test_the_parts_sum_to_the_whole(given_input, given_output, read, write, numbers):
    """R-AI-4: no part is rounded."""
    plain, output, cache_read, cache_write = numbers
    price = replace(GPT, input=given_input, output=given_output, cache_read=read, cache_write=write)
    told = TokenCounts(
        input=plain + cache_read + cache_write, output=output, cache_read=cache_read, cache_write=cache_write
    )
    found = priced(told, price)
    parts = [
        Decimal(one) for one in (found.input_cost, found.output_cost, found.cache_read_cost, found.cache_write_cost)
    ]
    assert sum(parts) == Decimal(found.base_cost)
    assert parts[0] * 1_000_000 == plain * Decimal(given_input)
    assert parts[2] * 1_000_000 == cache_read * Decimal(given_input if read is None else read)
    assert (found.input, found.output) == (told.input, output)


DRAWN = Drawn(
    pool="balance",
    cost=8_100_000,
    plan=5_000_000,
    packs=0,
    top_ups=1_000_000,
    overdraft=2_100_000,
    left=-2_100_000,
    margin="20",
)


def test_what_an_event_took_is_told_in_minor_units_and_exactly():
    told = consumption(DRAWN, "usd")
    assert (told.model, told.blocked) == ("balance", False)
    assert (told.deducted, told.remaining) == (Decimal("0.81"), Decimal("-0.21"))
    assert (told.deducted_decimal, told.remaining_decimal, told.cost_decimal) == ("0.0081", "-0.0021", "0.0081")
    assert consumption(DRAWN, "jpy").deducted == Decimal("0.0081")
    assert consumption(replace(DRAWN, currency="jpy"), "usd").deducted == Decimal("0.0081"), "the subscription's"
    credits_ = consumption(replace(DRAWN, pool="credits", cost=9 * 10**9), "usd")
    assert (credits_.deducted, credits_.cost_decimal) == (Decimal("0.0081"), "9")


def test_what_tokens_cost_is_told_by_kind():
    """R-AI-10, R-AI-11."""
    tokens = priced(TokenCounts(input=1_500, output=300, cache_read=100, cache_write=50), GPT)
    told = token_costs(tokens, DRAWN)
    assert msgspec.structs.asdict(told) == {
        "model": "openai/gpt-4o",
        "non_cached_input_tokens": 1_350,
        "input_cost": "0.003375",
        "output_cost": "0.003",
        "cache_read_cost": "0.00025",
        "cache_write_cost": "0.000125",
        "subtotal": "0.00675",
        "margin": "0.00135",
        "total": "0.0081",
        "margin_percent": "20",
        "price_version": "v1",
    }


def test_nothing_is_told_where_nothing_was_drawn():
    tokens = priced(TokenCounts(input=1, output=0), GPT)
    assert costs_of(tokens, None, "usd") == (msgspec.UNSET, msgspec.UNSET)
    assert costs_of(None, DRAWN, "usd")[1] is msgspec.UNSET
