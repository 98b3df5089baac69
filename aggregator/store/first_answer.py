"""What first answers said of events: the tokens and draws that an identical request is told again (decision 12).

RAW has them once the event is sunk; before that LIVE keeps the outcome, and the tokens are those of the request itself.
An answer that neither gives in time goes without them: it counts all the same.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from aggregator.row import drawn_of, tokens_of
from aggregator.store import UsageStore
from ingest.replay import First, Firsts
from ingest.verdict import Drawn, decode_outcomes
from kernel import ids
from kernel.engine.live.base import Live
from kernel.errors import Retryable
from kernel.position import Position

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
                        found[position] = First(tokens_of(row), drawn_of(row))
                    elif position.epoch == epoch and (drawn := await _drawn(live, position)) is not None:
                        found[position] = First(None, drawn)
        except (Retryable, TimeoutError):
            return found
        return found

    return find


async def _drawn(live: Live, position: Position) -> Drawn | None:
    [kept] = await live.outcomes(position.lane, [position.offset], epoch=position.epoch)
    return None if kept is None else decode_outcomes(kept)[position.index].drawn
