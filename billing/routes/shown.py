"""What a change of an account waits for before it is answered (DESIGN 3.7)."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from billing.worker.relay import Relay

NOT_VISIBLE: Final = {"x-meterline-visible": "false"}


def shown(relay: Relay, customers: Sequence[str]) -> Callable[[], Awaitable[Mapping[str, str] | None]]:
    """Wait until LIVE shows the customers' accounts; an answer that could not wait so long says so in a header.

    `customers` is read when the wait begins, after the transaction that names them.
    """

    async def after() -> Mapping[str, str] | None:
        seen = await relay.show_all(customers)
        return None if len(seen) == len(set(customers)) else NOT_VISIBLE

    return after
