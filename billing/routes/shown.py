"""What a change of an account waits for before it is answered (DESIGN 3.7)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from billing.worker.closer import Closer
from billing.worker.relay import Relay
from kernel.limits import VISIBLE_WAIT_MS

NOT_VISIBLE: Final = {"x-meterline-visible": "false"}


def shown(
    relay: Relay, customers: Sequence[str], closer: Closer | None = None
) -> Callable[[], Awaitable[Mapping[str, str] | None]]:
    """Wait until LIVE shows the customers' accounts; an answer that could not wait so long says so in a header.

    `customers` is read when the wait begins, after the transaction that names them. With a closer it also waits for the
    first one's final close, as far as it may.
    """

    async def after() -> Mapping[str, str] | None:
        seen = await relay.show_all(customers)
        if closer is not None and seen:
            # What takes longer goes on behind the answer; it is not cut off in the middle of a transaction.
            await asyncio.wait([closer.close_customer_in_background(customers[0])], timeout=VISIBLE_WAIT_MS / 1000)
        return None if len(seen) == len(set(customers)) else NOT_VISIBLE

    return after
