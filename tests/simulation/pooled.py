"""Two of the simulated customers are on plans with pools: credits with packs, and a balance with top-ups and overdraft.

Their subscriptions are those of the plan; what the relay shows of them gets a pool. What it adds is a function of the
snapshot alone, so that whoever makes one of the same revision makes the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from msgspec.structs import replace

from billing.store import account as accounts
from catalog.terms import ConsumptionModel, Snapshot, Terms, TopUp
from tests.simulation.town import Town

ONE = 10**9
MODELS = (ConsumptionModel.CREDITS, ConsumptionModel.BALANCE)
# What one unit of a feature takes; with the pools below some uses are covered, and some are not. `over` costs what its
# own plan says: SQL's terms are the plan's, and the closer bills by them.
PRICES = {"open": "0.5", "capped": "1.0000000015"}
GRANTED = {ConsumptionModel.CREDITS: 4 * ONE, ConsumptionModel.BALANCE: 3 * ONE}
REVS_A_PURCHASE = 2


@contextmanager
def pooled(town: Town) -> Iterator[None]:
    """Show pools for the last two customers of the town."""
    models = {town.ids[name]: model for name, model in zip(town.customers[-2:], MODELS, strict=True)}
    made = accounts.snapshots

    async def with_pools(connection, customer_ids):
        found = await made(connection, customer_ids)
        return {
            one: _with_pool(snapshot, models[snapshot.customer]) if snapshot.customer in models else snapshot
            for one, snapshot in found.items()
        }

    with patch.object(accounts, "snapshots", with_pools):
        yield


def _with_pool(found: Snapshot, model: ConsumptionModel) -> Snapshot:
    bought = found.rev // REVS_A_PURCHASE * ONE
    top_ups = ()
    if model is ConsumptionModel.BALANCE and bought and found.terms is not None:
        top_ups = (TopUp(term=found.terms.number, window=found.terms.anchor, amount=bought),)
    return replace(
        found,
        terms=_pool_terms(found.terms, model),
        next=_pool_terms(found.next, model),
        packs=bought if model is ConsumptionModel.CREDITS else 0,
        top_ups=top_ups,
    )


def _pool_terms(terms: Terms | None, model: ConsumptionModel) -> Terms | None:
    if terms is None:
        return None
    features = tuple(
        replace(one, unit_price=price, credits=price)
        for one in terms.features
        for price in (PRICES.get(one.code, one.unit_price),)
    )
    # Every third subscription pays by the quarter, so that what was bought outlives the month; some stop at zero.
    return replace(
        terms,
        features=features,
        model=model,
        pool=GRANTED[model],
        months=3 if terms.number % 3 else 1,
        overdraft=terms.number % 2 == 1,
    )
