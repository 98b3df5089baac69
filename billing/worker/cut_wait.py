"""Waiting for cuts: until LIVE has frozen the totals of each account, and RAW holds everything before its line.

Owns no state. Source: DESIGN 3.8 (b).
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from aggregator.account import Account, decode_account
from aggregator.store import UsageStore
from billing.store.close import CloseRow
from catalog.gateway import Catalog
from kernel import ids
from kernel.engine.live.base import Live
from kernel.lane import lane_of

# How long one batch waits for fold and sink before it is left for the next pass. They take about 50 ms.
_WAIT_SECONDS: Final = 20
_LOOK_MS_MIN: Final = 2
_LOOK_MS_MAX: Final = 200


class CutWait:
    """Looks at LIVE and RAW until cuts are frozen in both."""

    def __init__(self, live: Live, usage_store: UsageStore, catalog: Catalog) -> None:
        self._live = live
        self._usage_store = usage_store
        self._catalog = catalog

    async def frozen(self, batch: Sequence[CloseRow]) -> Mapping[str, Account]:
        """Wait until fold and sink passed each cut's line; returns the accounts whose totals stand frozen (step b)."""
        frozen: dict[str, Account] = {}
        pause_ms: float = _LOOK_MS_MIN
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT_SECONDS):
                while missing := {c.customer_id: c.cut for c in batch if c.customer_id not in frozen}:
                    folded = await self._folded(missing)
                    frozen.update(await self._sunk(missing, folded))
                    if len(frozen) < len(batch):
                        await asyncio.sleep(pause_ms / 1000)
                        pause_ms = min(pause_ms * 2, _LOOK_MS_MAX)
        return frozen

    async def _folded(self, wanted: Mapping[str, int]) -> dict[str, Account]:
        """Read the accounts that LIVE has at the wanted cut."""
        lanes = self._catalog.deployment.lanes
        found: dict[str, Account] = {}
        by_lane: dict[int, list[str]] = {}
        for customer in wanted:
            by_lane.setdefault(lane_of(ids.id_bytes(customer), lanes), []).append(customer)
        for lane, customers in by_lane.items():
            view = await self._live.view(lane, [ids.id_bytes(customer) for customer in customers])
            for customer, state in zip(customers, view.accounts, strict=True):
                account = None if view.header is None or state.account is None else decode_account(state.account)
                if account is not None and account.cut == wanted[customer]:
                    found[customer] = account
        return found

    async def _sunk(self, wanted: Mapping[str, int], folded: Mapping[str, Account]) -> dict[str, Account]:
        """Keep those accounts whose lane RAW holds beyond the first record of the cut; it has older epochs whole."""
        cuts_of = {customer: wanted[customer] for customer in folded}
        positions = await self._usage_store.first_cut_positions(cuts_of)
        now = self._catalog.deployment.epoch
        progress = await self._usage_store.progress(now)
        return {
            customer: folded[customer]
            for customer, (epoch, lane, offset) in positions.items()
            if epoch < now or (epoch == now and progress.get(lane, (0, 0))[0] > offset)
        }
