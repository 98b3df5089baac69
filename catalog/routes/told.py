"""Telling billing that a plan changed, after the commit: what widens takes effect at once (R-BH-1)."""

from collections.abc import Sequence

from catalog.gateway.http import Caller
from catalog.gateway.once import After


def told(caller: Caller, changed: Sequence[str]) -> After:
    """Make the step that tells billing of the plans that `changed` holds by then."""

    async def after() -> None:
        if caller.catalog.on_plan_changed is not None:
            for plan_id in changed:
                await caller.catalog.on_plan_changed(caller.organization.id, plan_id)

    return after
