"""What first answers said of events: the tokens and draws that an identical request is told again (decision 12).

RAW has them once the event is sunk; before that LIVE keeps the outcome, and the tokens are those of the request itself.
An answer that neither gives in time goes without them: it counts all the same.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from aggregator.row import EventRow
from aggregator.store import UsageStore
from ingest.event import TokenUse
from ingest.replay import First, Firsts
from ingest.verdict import Drawn, decode_outcomes
from kernel import ids
from kernel.engine.live.base import Live
from kernel.errors import Retryable
from kernel.position import Position
from kernel.quantity import to_units

# A look is a few milliseconds; a store that takes longer than this is away.
LOOK_SECONDS: Final = 1


def firsts(store: UsageStore, live: Live, epoch: int) -> Firsts:
    """Make the look-up over an open RAW and LIVE of the log's `epoch`."""

    async def find(organization: bytes, positions: Sequence[Position]) -> dict[Position, First]:
        text = ids.id_text(ids.ORGANIZATION, organization)
        found: dict[Position, First] = {}
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                for position in dict.fromkeys(positions):
                    row = await store.event(text, position)
                    if row is not None:
                        found[position] = _first(row)
                    elif position.epoch == epoch and (drawn := await _drawn(live, position)) is not None:
                        found[position] = First(None, drawn)
        except (Retryable, TimeoutError):
            return found
        return found

    return find


async def _drawn(live: Live, position: Position) -> Drawn | None:
    [kept] = await live.outcomes(position.lane, [position.offset], epoch=position.epoch)
    return None if kept is None else decode_outcomes(kept)[position.index].drawn


def _first(row: EventRow) -> First:
    tokens = drawn = None
    if row.pool:
        drawn = Drawn(
            pool=row.pool,
            cost=to_units(row.cost),
            plan=to_units(row.drawn_plan),
            packs=to_units(row.drawn_packs),
            top_ups=to_units(row.drawn_top_ups),
            overdraft=to_units(row.overdraft),
            left=to_units(row.pool_left),
            margin=row.margin,
        )
    if row.model:
        tokens = TokenUse(
            model=row.model,
            input=row.input_tokens,
            output=row.output_tokens,
            cache_read=row.cache_read_tokens,
            cache_write=row.cache_write_tokens,
            input_cost=row.input_cost,
            output_cost=row.output_cost,
            cache_read_cost=row.cache_read_cost,
            cache_write_cost=row.cache_write_cost,
            base_cost=row.base_cost,
            price_version=row.price_version,
            price_since_ms=row.price_since_ms,
        )
    return First(tokens, drawn)
