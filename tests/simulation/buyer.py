"""What customers of the simulated seller ask of billing: another plan, a card, a checkout; each may fail or die.

`Asked` is what they remember of a change of plan, for the auditor: what was answered holds.
"""

import asyncio
import random

import msgspec

from billing.gateway.changing import ChangeWish, begin_change, change_at_renewal, choose, earlier_of
from billing.gateway.current import standing
from billing.gateway.invoice_status import SettableStatus, set_status
from billing.gateway.paying import complete_checkout, keep_card
from billing.gateway.scheduling import schedule
from billing.gateway.subscribing import Wish, activate, subscribe
from billing.money.payment import Card
from billing.sale.switching import Path
from billing.store import close as closes
from billing.store import subscription as subscriptions
from billing.store.close import CloseState
from billing.worker.catching_up import caught_up
from catalog.store.organization import load_organization
from kernel import ids
from kernel.limits import CHANGE_WAIT_MS, IDEMPOTENT_KEEP_MS
from meterline.role import Role
from tests.simulation.node import Node
from tests.simulation.town import PAYING, PLANS
from tests.simulation.world import World

DECLINING = "4000000000009995"
CARDS = (PAYING, PAYING, "4000000000003220", DECLINING)


class Asked(msgspec.Struct):
    """A change of plan that was asked for; `close` once its cut was answered, with the code of its refusal.

    `request` is its name (`catalog.gateway.once.name_of`), `at_ms` when it was asked for first.
    """

    customer: str
    plan: str
    request: str
    at_ms: int
    close: str = ""
    settled: bool = False
    refusal: str | None = None


class Buyer:
    """Customers of one seed, as far as they ask billing for something."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.asked: list[Asked] = []

    def gateway(self) -> Node:
        gateways = self.world.of(Role.GATEWAY)
        up = [node for node in gateways if node.up]
        return self.chance.choice(up or gateways)

    def id_text(self, customer: str) -> str:
        return ids.id_text(ids.CUSTOMER, self.world.town.ids[customer])

    async def change(self, customer: str) -> None:
        """Ask for another plan: now and then twice at once under one name, or once more under an earlier one."""
        now_ms = self.world.clock.now_ms()
        kept_ms = now_ms - IDEMPOTENT_KEEP_MS // 2  # a request may take a while, and clocks differ
        earlier = [one for one in self.asked if one.customer == customer and one.at_ms > kept_ms]
        if earlier and self.chance.random() < 0.3:
            asked = self.chance.choice(earlier)
        else:
            asked = Asked(customer, self.chance.choice(PLANS), f"change-{len(self.asked):025}" * 2, now_ms)
            self.asked.append(asked)
        times = 2 if self.chance.random() < 0.2 else 1
        answers = await asyncio.gather(*(self._change(asked) for _ in range(times)), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def _change(self, asked: Asked) -> None:
        """Do what the route of a change does (`billing.routes.plan_change`)."""
        town, customer_id = self.world.town, self.id_text(asked.customer)
        self.world.note(f"change {asked.customer} to {asked.plan}, {asked.request}")

        async def work(app):
            async with app.sql.snapshot() as connection:
                live = await subscriptions.live_of(connection, customer_id)
                if live is None:
                    return
                organization = await load_organization(connection, town.organization)
                close = await earlier_of(connection, live.id, asked.request, app.clock.now_ms())
            wish = ChangeWish(subscription=live.id, plan=asked.plan, interval=None)
            if close is None:
                await app.closer.catch_up(customer_id, app.clock.now_ms())
                async with app.sql.snapshot() as connection:
                    chosen = await choose(connection, organization, wish, app.clock.now_ms())
                async with app.sql.transaction() as connection:
                    if chosen.path is Path.CHARGED:
                        close = await begin_change(connection, organization, wish, asked.request, app.clock.now_ms())
                    else:
                        chosen = await choose(connection, organization, wish, app.clock.now_ms())
                        await change_at_renewal(connection, chosen, app.clock.now_ms())
            if close is None:
                await app.relay.show(customer_id)
                return
            await asyncio.wait([app.closer.close_customer_in_background(customer_id)], timeout=CHANGE_WAIT_MS / 1000)
            async with app.sql.snapshot() as connection:
                [row] = await closes.read_all(connection, [close.id])
            self._answered(asked, row)

        await self.gateway().ask(work)

    def _answered(self, asked: Asked, row) -> None:
        asked.close = row.id
        if row.state is CloseState.SETTLED:
            told = (row.invoice_id is not None, row.refusal)
            if asked.settled and told != (asked.refusal is None, asked.refusal):
                self.world.violate(f"{asked.request} was answered {asked.refusal}, then {told}")
            asked.settled, asked.refusal = True, row.refusal
            self.world.note(f"changed {asked.request}: {row.invoice_id} {row.refusal}")

    async def unschedule(self, customer: str) -> None:
        """Take back a change that waits for the renewal."""

        async def work(app):
            async def attempt():
                async with app.sql.transaction() as connection:
                    live = await subscriptions.live_of(connection, self.id_text(customer))
                    if live is not None and standing(live, app.clock.now_ms()).scheduled is not None:
                        await schedule(connection, live, None, app.clock.now_ms())

            await caught_up(app.closer, attempt)
            await app.relay.show(self.id_text(customer))

        await self.gateway().ask(work)

    async def give_card(self, customer: str) -> None:
        """Save another card, which pays or declines."""
        await self._give(customer, self.chance.choice(CARDS))

    async def _give(self, customer: str, number: str) -> None:
        self.world.note(f"card {number} of {customer}")

        async def work(app):
            async with app.sql.transaction() as connection:
                organization = await load_organization(connection, self.world.town.organization)
                card = Card(number=number)
                await keep_card(connection, organization, self.id_text(customer), card, app.clock.now_ms())

        await self.gateway().ask(work)

    async def decline(self, customer: str) -> None:
        """Ask for another plan with a card that declines."""
        await self._give(customer, DECLINING)
        await self.change(customer)

    async def settle_up(self, customer: str) -> None:
        """Pay outside, or be forgiven, what a customer owes: a subscription that was past due goes on."""
        status = self.chance.choice((SettableStatus.PAID, SettableStatus.PAID, SettableStatus.VOID))
        query = "SELECT id FROM invoices WHERE customer_id = ? AND status = 'outstanding' ORDER BY number"

        async def work(app):
            async with app.sql.transaction() as connection:
                organization = await load_organization(connection, self.world.town.organization)
                rows = await connection.exec_driver_sql(query, (self.id_text(customer),))
                for (invoice_id,) in rows.fetchall():
                    await set_status(connection, organization, invoice_id, status, app.clock.now_ms())
            await app.relay.show(self.id_text(customer))

        await self.gateway().ask(work)

    async def begin(self, customer: str) -> None:
        """Subscribe a customer again, if it is not, and complete the checkout with a card that pays or declines."""
        town = self.world.town
        number, plan = self.chance.choice(CARDS), self.chance.choice(PLANS)
        self.world.note(f"begin {customer} on {plan}")

        async def work(app):
            async with app.sql.transaction() as connection:
                organization = await load_organization(connection, town.organization)
                if await subscriptions.live_of(connection, self.id_text(customer)) is not None:
                    return
                wish = Wish(customer=customer, plan=plan, interval=None, name=None, start_ms=None)
                waiting, _ = await subscribe(connection, organization, wish, app.clock.now_ms())
            async with app.sql.transaction() as connection:
                card, token = Card(number=number), waiting.checkout_token
                waiting = await subscriptions.by_checkout(connection, token)
                if waiting is None:
                    return
                await complete_checkout(connection, organization, waiting, card, activate, app.clock.now_ms())
            await app.relay.show(self.id_text(customer))

        await self.gateway().ask(work)
