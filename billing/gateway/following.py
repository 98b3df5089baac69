"""Following what a process changed in the catalog and did not live to follow; where the role bills.

Whoever changes a plan or an add-on carries it to the subscriptions before it answers; this finds what was left undone:
by the version with which the catalog stamps each change, and what could not be done yet (R-PLAN-9: a cut was open, a
pause ended). Invariant: a change is followed within two looks of its commit, whichever process dies, and may be
followed twice. Source: R-BH-1, R-PLAN-9; DESIGN 3.4.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from billing.gateway.addon_sync import AddonSync
from billing.gateway.plan_sync import PlanSync
from billing.store import addon as addons
from billing.store import subscription as subscriptions
from catalog.store.version import read_version
from kernel import ids
from kernel.engine.sql.base import Sql
from kernel.errors import MeterlineError
from kernel.telemetry import logger

_log = logger("following")

# Far shorter than any billing period, and a look at a catalog that stands still is a few statements.
_LOOK_SECONDS: Final = 60.0


class Following:
    """Follows plans and add-ons for ever: at the first look all that are in use, then those that changed since."""

    def __init__(self, sql: Sql, plans: PlanSync, addons: AddonSync) -> None:
        self._sql = sql
        self._plans = plans
        self._addons = addons
        self._followed = 0  # the version of the catalog up to which all is followed
        self._seen: int | None = None  # the one of the look before

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except MeterlineError as error:
                _log.warning("the catalog is followed later", reason=str(error))
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> bool:
        """Follow what changed before the look before this one; False when something could not be followed.

        What is newer is left to who changed it, so that the two do not meet; the first look leaves nothing. What could
        not be followed is followed again, with all that changed since.
        """
        async with self._sql.snapshot() as connection:
            version = await read_version(connection)
            until = version if self._seen is None else self._seen
            plans = await subscriptions.plans_in_use(connection, self._followed, until)
            plans += [one for one in await subscriptions.deleted_plans_kept(connection) if one not in plans]
            sold = await addons.in_use(connection, self._followed, until)
        if self._seen is None:
            await self._plans.end_archived()
        whole = await _each(plans, self._plans.plan_changed) & await _each(sold, self._addons.addon_changed)
        self._seen = version
        if whole:
            self._followed = until
        return whole


async def _each(found: Sequence[tuple[str, str]], follow: Callable[[bytes, str], Awaitable[None]]) -> bool:
    """Follow each of `(organization, plan or add-on)`; False when one could not be, which is logged."""
    whole = True
    for organization_id, sold_id in found:
        try:
            await follow(ids.id_bytes(organization_id), sold_id)
        except Exception as error:  # noqa: BLE001 - a fault of one, which is logged, holds up no other
            whole = False
            _log.error("a change could not be followed", id=sold_id, exc_info=error)
    return whole
