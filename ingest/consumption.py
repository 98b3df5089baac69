"""What an event took from a pool, and what its tokens cost, as answers say it. Pure.

Credits are numbers; money is told in minor units where the contract has a number, exact and therefore perhaps with a
fraction, and as a decimal string in the major unit in members that end in `Decimal`. Costs of tokens are decimal
strings in USD. Source: contract 4.2 (UsageEvent), 2.6, decision 1; R-AI-11.
"""

from decimal import Decimal
from typing import Final

import msgspec

from ingest.event import TokenUse
from ingest.verdict import Drawn
from kernel.money import exact_minor
from kernel.quantity import EXACT, canonical, from_units
from kernel.wire import Wire

CREDITS: Final = "credits"


class Consumption(Wire, frozen=True, gc=False):
    """What an event took: `deducted` is less than its cost where it took the rest of a hard balance (R-BAL-7).

    `remaining` is what the pool then had; of an overdrawn balance it is below zero.
    """

    model: str
    deducted: Decimal
    remaining: Decimal
    blocked: bool
    deducted_decimal: str
    remaining_decimal: str
    cost_decimal: str


class TokenCosts(Wire, frozen=True, gc=False):
    """What an AI event cost, by kind of token; `total` is `subtotal` and `margin` together, to 1e-9 (R-AI-4)."""

    model: str
    non_cached_input_tokens: int
    input_cost: str
    output_cost: str
    cache_read_cost: str
    cache_write_cost: str
    subtotal: str
    margin: str
    total: str
    margin_percent: str
    price_version: str


def consumption(drawn: Drawn, organization_currency: str) -> Consumption:
    """Say what an event drew on its pool, in the subscription's currency (R-REG-5), else the organization's."""
    currency = drawn.currency or organization_currency
    taken = from_units(drawn.plan + drawn.packs + drawn.top_ups + drawn.overdraft)
    rest = from_units(drawn.left)
    credit = drawn.pool == CREDITS
    return Consumption(
        model=drawn.pool,
        deducted=taken if credit else exact_minor(taken, currency),
        remaining=rest if credit else exact_minor(rest, currency),
        blocked=False,
        deducted_decimal=canonical(taken),
        remaining_decimal=canonical(rest),
        cost_decimal=canonical(from_units(drawn.cost)),
    )


def token_costs(tokens: TokenUse, drawn: Drawn) -> TokenCosts:
    """Say what an AI event cost (R-AI-11)."""
    total = from_units(drawn.cost)
    return TokenCosts(
        model=tokens.model,
        non_cached_input_tokens=tokens.input - tokens.cache_read - tokens.cache_write,
        input_cost=tokens.input_cost,
        output_cost=tokens.output_cost,
        cache_read_cost=tokens.cache_read_cost,
        cache_write_cost=tokens.cache_write_cost,
        subtotal=tokens.base_cost,
        margin=canonical(EXACT.subtract(total, Decimal(tokens.base_cost))),
        total=canonical(total),
        margin_percent=drawn.margin,
        price_version=tokens.price_version,
    )


def costs_of(
    tokens: TokenUse | None, drawn: Drawn | None, currency: str
) -> tuple[Consumption | msgspec.UnsetType, TokenCosts | msgspec.UnsetType]:
    """Say both, where they are known."""
    if drawn is None:
        return msgspec.UNSET, msgspec.UNSET
    costs = msgspec.UNSET if tokens is None else token_costs(tokens, drawn)
    return consumption(drawn, currency), costs
