"""What tokens of an AI model cost, reckoned beside the server: R-AI-2 on the prices that the API shows."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import msgspec

from meterline.demo.stage import expected
from meterline.importer.api import Api

_NANO: Final = Decimal("0.000000001")


class TokenPrice(msgspec.Struct, frozen=True, kw_only=True):
    """Dollars a million tokens, and which prices they are."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    version: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"input {self.input}, output {self.output}, cache read {self.cache_read} ({self.version})"

    def cost(self, tokens: Mapping[str, int], margin: Decimal) -> Decimal:
        """Price an event's counts in dollars, with a margin in per cent, rounded once to 1e-9 (R-AI-4)."""
        cached = tokens.get("cacheReadTokens", 0)
        base = (
            (tokens["inputTokens"] - cached) * self.input
            + tokens["outputTokens"] * self.output
            + cached * self.cache_read
        ) / 1_000_000
        return (base * (100 + margin) / 100).quantize(_NANO, ROUND_HALF_UP).normalize()


async def read_token_price(api: Api, model: str) -> TokenPrice:
    """Read a model's price in force."""
    shown: Any = expected(await api.get(f"/ai-models/{model}"), f"price of {model}")
    return TokenPrice(
        input=Decimal(shown["inputPrice"]),
        output=Decimal(shown["outputPrice"]),
        cache_read=Decimal(shown["cacheReadPrice"]),
        version=shown["version"],
    )
