"""What an AI event's tokens cost at the price in force at its time, before any margin. Pure.

Invariant: exact; nothing is rounded here, and a price that changes later changes no event. Source: R-AI-2, R-AI-3,
R-AI-5, R-AI-8.
"""

from decimal import Decimal
from typing import Final

import msgspec

from catalog.definition import ModelPrice
from ingest.event import TokenUse
from kernel.quantity import EXACT, canonical

_PER_TOKENS: Final = 6  # a price is that of 10^6 tokens


class TokenCounts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Tokens as an event counts them: `input` includes what was read from and written to the cache (R-AI-3)."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0

    @property
    def not_cached(self) -> int:
        """Tell the input tokens at the input price; below zero for counts that cannot be."""
        return self.input - self.cache_read - self.cache_write

    @property
    def total(self) -> int:
        """Tell what the event counts as usage (R-AI-12)."""
        return self.input + self.output


def priced(counts: TokenCounts, price: ModelPrice) -> TokenUse:
    """Price counts: each kind by its own price, a missing cache price is the input price (R-AI-5)."""
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    costs = [
        _cost(counts.not_cached, price.input),
        _cost(counts.output, price.output),
        _cost(counts.cache_read, read),
        _cost(counts.cache_write, write),
    ]
    base = Decimal(0)
    for cost in costs:
        base = EXACT.add(base, cost)
    of_input, of_output, of_read, of_write = map(canonical, costs)
    return TokenUse(
        model=price.model,
        input=counts.input,
        output=counts.output,
        cache_read=counts.cache_read,
        cache_write=counts.cache_write,
        input_cost=of_input,
        output_cost=of_output,
        cache_read_cost=of_read,
        cache_write_cost=of_write,
        base_cost=canonical(base),
        price_version=price.version,
        price_since_ms=price.since_ms,
    )


def _cost(count: int, price: str) -> Decimal:
    return EXACT.scaleb(EXACT.multiply(Decimal(count), Decimal(price)), -_PER_TOKENS)
