"""Following what a process left when it died: a thing of the catalog after the other, and none holds up the next."""

from collections.abc import Awaitable, Callable, Sequence

from kernel import ids
from kernel.telemetry import logger

_log = logger("following")

Follow = Callable[[bytes, str], Awaitable[None]]


async def follow_each(found: Sequence[tuple[str, str]], follow: Follow) -> bool:
    """Follow each of `(organization, plan or add-on)`; False when one could not be, which is logged."""
    whole = True
    for organization_id, thing_id in found:
        try:
            await follow(ids.id_bytes(organization_id), thing_id)
        except Exception as error:  # noqa: BLE001 - a fault of one, which is logged, holds up no other
            whole = False
            _log.error("what is sold could not be followed", id=thing_id, exc_info=error)
    return whole
