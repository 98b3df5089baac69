"""Writing what closes bill whose sums agree: each kind by its own transaction, and one that raises by itself."""

from collections.abc import Mapping, Sequence

from billing.store.close import CloseRow
from billing.worker.apart import Fault, apart
from billing.worker.changing import settle_change
from billing.worker.relay import Relay
from billing.worker.returning import settle_return
from billing.worker.settled import Counted, Settled
from billing.worker.settling import settle
from kernel.engine.sql.base import Sql


async def write(
    sql: Sql, relay: Relay, agreed: Sequence[CloseRow], counted: Mapping[str, Counted], real_ms: int
) -> tuple[Settled, list[Fault[CloseRow]]]:
    """Settle one organization's closes; returns also those whose writing raises, which stay at their cut.

    `counted` are RAW's sums at each customer's cut. Raises Unavailable while SQL is away.
    """

    async def plainly(some: Sequence[CloseRow]) -> Settled:
        return await settle(sql, some, counted, real_ms)

    async def alone(some: Sequence[CloseRow]) -> Settled:
        [close] = some
        settle_one = settle_return if close.change is None else settle_change
        return await settle_one(sql, close, counted[close.customer_id], real_ms)

    done, faults = await apart([close for close in agreed if _plain(close)], plainly)
    for close in agreed:
        if _plain(close):
            continue
        some, faulty = await apart([close], alone)
        done += some
        faults += faulty
        if close.change is not None:
            await relay.show(close.customer_id)
    return sum(done, Settled()), faults


def _plain(close: CloseRow) -> bool:
    return close.change is None and close.returns_term is None
