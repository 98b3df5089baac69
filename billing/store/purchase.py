"""What customers bought and hold beside their terms, as an account's snapshot shows it."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.store import seat
from catalog.terms import SeatCount
from kernel import ids


async def seats_of(connection: AsyncConnection, customer_ids: Sequence[str]) -> dict[str, tuple[SeatCount, ...]]:
    """Read the seats that customers hold, by customer, in order of the features' ids."""
    held = await seat.counts_of_all(connection, customer_ids)
    return {
        customer_id: tuple(
            SeatCount(feature=ids.id_bytes(feature_id), count=count) for feature_id, count in sorted(counts.items())
        )
        for customer_id, counts in held.items()
    }
