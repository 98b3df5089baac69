"""Doing what changes a subscription on the subscription of that instant: what is due of it is done before.

Every route that changes one comes through here, so that none acts on a period that is over (`gateway.current`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from billing.gateway.current import Behind
from billing.worker.closer import Closer
from kernel.limits import CHANGE_WAIT_MS

_T = TypeVar("_T")


async def caught_up(closer: Closer, attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Await `attempt`; where it finds a subscription behind its calendar, catch up and await it once more.

    What takes longer than CHANGE_WAIT_MS goes on behind the answer. Raises Behind when it is behind still (its close
    stopped, or fold and sink are away): then nothing has changed.
    """
    try:
        return await attempt()
    except Behind as behind:
        catching_up = closer.catch_up_in_background(behind.customer_id, behind.now_ms)
    await asyncio.wait([catching_up], timeout=CHANGE_WAIT_MS / 1000)
    return await attempt()
