"""The seller of the simulation: it changes plans, subscriptions and customers while usage comes in.

Each change goes through one gateway, which may fail or die under it.
"""

import asyncio
import random
from decimal import Decimal

import msgspec

from billing.gateway.canceling import CancelWish, cancel
from billing.gateway.plan_sync import PlanSync
from billing.store import subscription as subscriptions
from billing.worker.catching_up import caught_up
from catalog.store.customer import create_customer
from catalog.store.organization import load_organization
from catalog.store.plan import load_plan
from catalog.store.plan_feature import put_plan_feature
from catalog.store.version import read_version
from kernel import ids
from kernel.errors import MeterlineError
from tests.simulation.buyer import Buyer
from tests.simulation.node import HungUpError
from tests.simulation.town import CAP, customer_made
from tests.simulation.world import World

# Of what was unlimited, once it is not: little enough that what still waits for its verdict can pass it.
TIGHT = Decimal(2)


class Seller(Buyer):
    """Management of one seed. `managed` counts the changes that were answered."""

    def __init__(self, world: World, chance: random.Random) -> None:
        super().__init__(world, chance)
        self.cap = CAP
        self.managed = 0

    async def manage(self) -> None:
        """Change something: capacity, a subscription, a new customer; it may fail."""
        kinds = (self.widen, self.widen, self.widen, self.end, self.begin, self.introduce, self.tighten, self.renew)
        await self._try(self.chance.choice(kinds))

    async def sell(self) -> None:
        """Do what a customer asks of billing: another plan, a card, what is owed; it may fail."""
        kinds = (self.change, self.change, self.change, self.decline, self.unschedule, self.give_card, self.settle_up)
        await self._try(self.chance.choice(kinds))

    async def _try(self, work) -> None:
        customer = self.chance.choice(self.world.town.customers)
        try:
            async with asyncio.timeout(20):
                await work(customer)
        except (HungUpError, TimeoutError, MeterlineError) as error:
            self.world.note(f"managing failed: {error!r}")
        else:
            self.managed += 1

    async def widen(self, _customer: str) -> None:
        """Grant more of the capped feature to everybody on the plan."""
        self.cap += 2
        await self._grant("capped", included=Decimal(self.cap))

    async def tighten(self, _customer: str) -> None:
        """Limit what is unlimited: for whoever subscribes from now on, and for the others at their next period."""
        await self._grant("open", included=TIGHT, unlimited=False)

    async def renew(self, customer: str) -> None:
        """End a subscription and begin it again at once, under what the plan says now."""
        await self.end(customer)
        await self.begin(customer)

    async def _grant(self, code: str, **granted: object) -> None:
        self.world.note(f"grant {code} {granted}")
        organization = self.world.town.organization

        async def work(app):
            async with app.sql.transaction() as connection:
                plan = await load_plan(connection, organization, "pro")
                for one in plan.features:
                    if one.feature.code == code:
                        changed = msgspec.structs.replace(one, **granted)
                        await put_plan_feature(connection, plan, changed, app.clock.now_ms())
                version = await read_version(connection)
            await app.catalog.published(version)
            await PlanSync(app.sql, app.relay, app.clock).plan_changed(organization, plan.id)

        await self.gateway().ask(work)

    async def end(self, customer: str) -> None:
        """Cancel a customer's subscription at once, which takes its final cut."""
        town = self.world.town
        self.world.note(f"end {customer}")

        async def work(app):
            async def attempt():
                async with app.sql.transaction() as connection:
                    organization = await load_organization(connection, town.organization)
                    live = await subscriptions.live_of(connection, self.id_text(customer))
                    if live is not None:
                        wish = CancelWish(subscription=live.id, immediate=True, reason=None)
                        await cancel(connection, organization, wish, app.clock.now_ms())

            await caught_up(app.closer, attempt)
            await app.relay.show(self.id_text(customer))

        await self.gateway().ask(work)

    async def introduce(self, _customer: str) -> None:
        """Make a new customer; once that is answered every gateway knows it."""
        name = f"new-{self.chance.randrange(1_000_000)}"
        town = self.world.town

        async def work(app):
            raw = ids.new_bytes(app.clock.now_ms())
            async with app.sql.transaction() as connection:
                await create_customer(connection, customer_made(town.organization, raw, name))
                version = await read_version(connection)
            await app.catalog.published(version)

        making = asyncio.ensure_future(self.gateway().ask(work))
        if self.chance.random() < 0.5:
            await self.expect(name)
        await making
        await self.welcome(name)

    async def expect(self, name: str) -> None:
        """Do something with a customer that is about to be made, and may be there or not."""
        raise NotImplementedError

    async def welcome(self, name: str) -> None:
        """Do something with a customer that was answered as made."""
        raise NotImplementedError
