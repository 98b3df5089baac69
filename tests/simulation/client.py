"""The sellers' applications: they send usage, try again with the same key until a definite answer, and remember it all.

`Memory` is what the auditor compares with: every operation, every attempt at it, and every answer with its time.
"""

import asyncio
import json
import random
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from aggregator.gateway import Question
from billing.gateway.canceling import CancelWish, cancel
from billing.gateway.plan_sync import PlanSync
from billing.gateway.subscribing import Wish, subscribe
from billing.store import subscription as subscriptions
from catalog.store.customer import create_customer
from catalog.store.organization import load_organization
from catalog.store.plan import load_plan
from catalog.store.plan_feature import put_plan_feature
from catalog.store.version import read_version
from kernel import ids
from kernel.errors import MeterlineError
from kernel.quantity import UNITS_PER_ONE
from meterline.role import Role
from tests.simulation.town import CAP, KEY, customer_made
from tests.simulation.world import HungUpError, Node, World

PATIENCE_SECONDS = 8
TRIES = 7
# Clients pause for longer than the gateways' clocks differ (DESIGN 3.12).
PAUSE_SECONDS = 1.05


class Attempt(msgspec.Struct):
    """One request's worth of an operation. Times are the loop's, in seconds; `status` 0 is no answer."""

    sent_s: float
    answered_s: float | None = None
    status: int = 0
    code: str = ""
    event: str = ""
    original: str = ""
    conflict: bool = False
    pending: bool = False


class Operation(msgspec.Struct):
    """One event that a client wants counted; `tag` is in its properties."""

    tag: str
    customer: str
    feature: str
    quantity: Decimal
    key: str | None
    header: bool
    body: bytes
    attempts: list[Attempt] = msgspec.field(default_factory=list)

    @property
    def accepted(self) -> Attempt | None:
        return next((one for one in self.attempts if one.status in (200, 202) and not one.pending), None)


class Memory(msgspec.Struct):
    """Everything that clients saw."""

    operations: list[Operation] = msgspec.field(default_factory=list)
    reads: int = 0
    managed: int = 0


class Clients:
    """Applications of one seed."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world = world
        self.chance = chance
        self.memory = Memory()
        self._tags = 0
        self.until_s = 0.0
        self.cap = CAP

    # --- usage

    def operation(
        self,
        customer: str,
        feature: str,
        quantity: Decimal,
        key: str | None,
        *,
        header: bool = False,
        event_time: str | None = None,
    ) -> Operation:
        self._tags += 1
        tag = f"t{self._tags}"
        body: dict[str, object] = {"customerId": customer, "featureCode": feature, "value": float(quantity)}
        if key is not None and not header:
            body["eventId"] = key
        if event_time is not None:
            body["timestamp"] = event_time
        body["properties"] = {"op": tag}
        made = Operation(tag, customer, feature, quantity, key, header, json.dumps(body).encode())
        self.memory.operations.append(made)
        return made

    async def attempt(self, operation: Operation, node: Node, *, patience_s: float = PATIENCE_SECONDS) -> Attempt:
        """Send an operation once, and note what came of it."""
        world = self.world
        attempt = Attempt(world.loop.time())
        operation.attempts.append(attempt)
        headers = {"x-api-key": KEY, "content-type": "application/json"}
        if operation.header and operation.key is not None:
            headers["idempotency-key"] = operation.key
        try:
            async with asyncio.timeout(patience_s):
                status, body = await node.request("/api/usage/events", headers, operation.body)
        except (HungUpError, TimeoutError):
            return attempt
        _note(attempt, status, json.loads(body))
        attempt.answered_s = world.loop.time()
        world.note(f"answer {operation.tag} {operation.key} {status} {attempt.code} {attempt.event} {attempt.pending}")
        if status == 500:
            world.violate(f"an answer of 500 to {operation.tag}: {body!r}")
        return attempt

    async def settle(self, operation: Operation) -> Attempt:
        """Try until a definite answer; without a key one attempt is all that a careful client makes."""
        attempt = Attempt(0)
        for _ in range(TRIES):
            attempt = await self.attempt(operation, self.gateway())
            if attempt.status not in (0, 429, 503) or operation.key is None:
                break
            await asyncio.sleep(PAUSE_SECONDS + self.chance.random() * 0.5)
        return attempt

    def gateway(self) -> Node:
        gateways = self.world.of(Role.GATEWAY)
        up = [node for node in gateways if node.up]
        return self.chance.choice(up or gateways)

    def stamp(self, back_days: float = 0) -> str:
        at_ms = self.world.clock.now_ms() - int(back_days * 86_400_000)
        return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds")

    async def run(self, number: int) -> None:
        """Be one application until `until_s`."""
        chance, world = self.chance, self.world
        while world.loop.time() < self.until_s:
            await asyncio.sleep(chance.random() * 0.8)
            roll = chance.random()
            if roll < 0.15:
                await self.read()
            elif roll < 0.3 and self.memory.operations:
                await self.again()
            else:
                key = None if chance.random() < 0.25 else f"k{number}-{chance.randrange(30)}"
                late = chance.random() < 0.12
                operation = self.operation(
                    chance.choice(world.town.customers),
                    chance.choice(("open", "open", "capped", "over")),
                    Decimal(chance.choice(("1", "1", "2", "0.5"))),
                    key,
                    header=chance.random() < 0.3,
                    event_time=self.stamp(chance.random() * 3) if late else None,
                )
                await self.settle(operation)

    async def again(self) -> None:
        """Send a key once more: the same event, or another one under the same key."""
        before = self.chance.choice(self.memory.operations)
        if before.key is None:
            return
        if before.attempts and before.attempts[-1].answered_s is None:
            return
        if self.chance.random() < 0.6:
            await self.attempt(before, self.gateway())
        else:
            quantity = before.quantity + self.chance.choice((0, 1))
            other = self.operation(before.customer, before.feature, quantity, before.key, header=before.header)
            await self.settle(other)

    async def read(self) -> None:
        """Ask for a balance: it shows what was accepted before (read-your-writes)."""
        chance, world = self.chance, self.world
        customer, feature = chance.choice(world.town.customers), chance.choice(("open", "capped", "over"))
        begun_s = world.loop.time()
        told: dict[str, Decimal] = {}
        for one in self.memory.operations:
            accepted = one.accepted
            if (one.customer, one.feature) == (customer, feature) and accepted and accepted.answered_s is not None:
                told[accepted.event] = one.quantity
        node = self.gateway()

        async def look(app):
            principal = app.catalog.principal(KEY)
            seen = await app.access.see(lambda: principal, Question(customer=customer, code=feature))
            return seen.account, seen.subject.feature.id

        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                account, raw = await node.ask(look)
        except (HungUpError, TimeoutError, MeterlineError):
            return
        self.memory.reads += 1
        if world.live_fell_s >= 0:
            return  # LIVE lost something: until it is folded again a balance may be older than an answer (DESIGN 3.9)
        totals = account.totals if account is not None else {}
        used = sum(total.now for (of, _, _), total in totals.items() if of == raw)
        if Decimal(used) / UNITS_PER_ONE < sum(told.values()):
            world.violate(
                f"{customer} {feature} shows {Decimal(used) / UNITS_PER_ONE} at {begun_s:.3f}, "
                f"accepted before: {sum(told.values())}"
            )

    # --- management

    async def manage(self) -> None:
        """Change something: capacity, a subscription, a new customer. Each through one gateway; may fail."""
        roll = self.chance.random()
        work = self.widen if roll < 0.4 else self.end if roll < 0.6 else self.begin if roll < 0.8 else self.introduce
        customer = self.chance.choice(self.world.town.customers)
        try:
            async with asyncio.timeout(20):
                await work(customer)
        except (HungUpError, TimeoutError, MeterlineError) as error:
            self.world.note(f"managing failed: {error!r}")
        else:
            self.memory.managed += 1

    async def widen(self, _customer: str) -> None:
        """Grant more of the capped feature to everybody on the plan."""
        self.cap += 2
        included = Decimal(self.cap)
        self.world.note(f"widen to {included}")
        organization = self.world.town.organization

        async def work(app):
            async with app.sql.transaction() as connection:
                plan = await load_plan(connection, organization, "pro")
                for granted in plan.features:
                    if granted.feature.code == "capped":
                        wider = msgspec.structs.replace(granted, included=included)
                        await put_plan_feature(connection, plan, wider, app.clock.now_ms())
                version = await read_version(connection)
            await app.catalog.published(version)
            await PlanSync(app.sql, app.relay, app.clock).plan_changed(organization, plan.id)

        await self.gateway().ask(work)

    async def end(self, customer: str) -> None:
        """Cancel a customer's subscription at once, which takes its final cut."""
        town = self.world.town
        self.world.note(f"end {customer}")

        async def work(app):
            async with app.sql.transaction() as connection:
                organization = await load_organization(connection, town.organization)
                live = await subscriptions.live_of(connection, _id_text(town.ids[customer]))
                if live is None:
                    return
                wish = CancelWish(subscription=live.id, immediate=True, reason=None)
                await cancel(connection, organization, wish, app.clock.now_ms())
            await app.relay.show(_id_text(town.ids[customer]))

        await self.gateway().ask(work)

    async def begin(self, customer: str) -> None:
        """Subscribe a customer again, if it is not."""
        town = self.world.town
        self.world.note(f"begin {customer}")

        async def work(app):
            async with app.sql.transaction() as connection:
                organization = await load_organization(connection, town.organization)
                if await subscriptions.live_of(connection, _id_text(town.ids[customer])) is not None:
                    return
                wish = Wish(customer=customer, plan="pro", interval=None, name=None, start_ms=None)
                await subscribe(connection, organization, wish, app.clock.now_ms())
            await app.relay.show(_id_text(town.ids[customer]))

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

        await self.gateway().ask(work)
        attempt = await self.attempt(self.operation(name, "open", Decimal(1), None), self.gateway())
        if attempt.code == "customer_not_found":
            self.world.violate(f"{name} was answered as made, then as unknown")


def _id_text(raw: bytes) -> str:
    return ids.id_text(ids.CUSTOMER, raw)


def _note(attempt: Attempt, status: int, body: dict) -> None:
    attempt.status = status
    if status < 300:
        data = body.get("data", body)
        attempt.event, attempt.pending = data["id"], bool(data.get("pending"))
        return
    error = body.get("error", body)
    attempt.code = error.get("code", "")
    details = error.get("details")
    if isinstance(details, dict):
        attempt.original, attempt.conflict = details.get("eventId") or "", bool(details.get("conflict"))
