"""Reading a subscription for a change: it has to stand where its calendar has it at the request's instant.

A period may be over and not closed: in the settling delay, behind a close that stopped, on a test clock that was only
moved. Its row then still names the period before. Invariant: no request changes such a row. It is refused with
`Behind`, and `worker.catching_up` takes the due steps first. Nor does one change a row that has gone on beyond the
request's day, to its next period or window: its body came late, or it waited for other writers. Source: R-GEN-5,
R-PRICE-3; ADR 9.
"""

from sqlalchemy.ext.asyncio import AsyncConnection

from billing.life.lifecycle import as_of, is_behind
from billing.life.subscription import Subscription
from billing.store import subscription as subscriptions
from catalog.definition import Organization
from kernel.errors import Unavailable, rejected
from kernel.period import day_of_us


class Behind(Unavailable):
    """A step of a subscription's calendar is due and not taken: nothing has changed, and asking again may do."""

    def __init__(self, subscription: Subscription, now_ms: int) -> None:
        """Name the subscription; keep whose it is (`cus_…`), and the organization's now up to which it is behind."""
        super().__init__(f"the period of subscription {subscription.id} that is over is still to be closed")
        self.customer_id = subscription.customer_id
        self.now_ms = now_ms


def standing(subscription: Subscription, now_ms: int) -> Subscription:
    """Return the subscription as it is at the organization's `now_ms`; one that is over then allows no change.

    Raises Behind while something is due of it before that, Unavailable where a step of a later day was taken.
    """
    if subscription.live and max(subscription.period_start_day, subscription.closed_day) > day_of_us(now_ms * 1000):
        raise Unavailable(f"a period of subscription {subscription.id} was closed meanwhile; ask again")
    found = as_of(subscription, now_ms * 1000)
    if found is None:
        raise Behind(subscription, now_ms)
    return found


def must_give_way(live: Subscription | None, now_ms: int) -> None:
    """Raise Behind while a customer's live subscription, in whose place another is to begin, has a step due.

    Where that is its end, its final close is taken before, without waiting for what comes late.
    """
    if live is not None and is_behind(live, now_ms * 1000):
        raise Behind(live, now_ms)


async def loaded(connection: AsyncConnection, organization: Organization, subscription_id: str) -> Subscription:
    """Read a subscription of the organization. Raises Rejected `subscription_not_found`."""
    subscription = await subscriptions.read(connection, subscription_id, organization.id_text)
    if subscription is None:
        raise rejected("subscription_not_found", f"There is no subscription {subscription_id}.")
    return subscription


async def to_change(
    connection: AsyncConnection, organization: Organization, subscription_id: str, now_ms: int
) -> Subscription:
    """Read a subscription that a request of the organization's `now_ms` changes. Raises as the two above."""
    return standing(await loaded(connection, organization, subscription_id), now_ms)
