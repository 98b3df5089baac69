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
from kernel.errors import MeterlineError
from kernel.quantity import UNITS_PER_ONE
from tests.simulation.buyer import Asked
from tests.simulation.corrector import ONCE, VALUES, Wish, correct
from tests.simulation.dead import DEADLY
from tests.simulation.node import HungUpError, Node
from tests.simulation.seller import Seller
from tests.simulation.town import KEY
from tests.simulation.world import World

PATIENCE_SECONDS = 8
TRIES = 7
# Clients pause for longer than the gateways' clocks differ (DESIGN 3.12).
PAUSE_SECONDS = 1.05
# The statuses of what a batch says of its elements (contract 2.3).
STATUSES = {
    "duplicate": 409,
    "included_limit_reached": 402,
    "insufficient_credits": 402,
    "insufficient_balance": 402,
    "no_active_subscription": 404,
    "feature_not_in_plan": 404,
    "event_unprocessable": 422,
    "service_unavailable": 503,
}
QUANTITIES = tuple(Decimal(text) for text in ("1",) * 24 + ("2",) * 12 + ("0.5",) * 12 + (DEADLY,))


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
    waits: bool = True  # false: the client asks not to wait for the verdict
    attempts: list[Attempt] = msgspec.field(default_factory=list)

    @property
    def accepted(self) -> Attempt | None:
        return next((one for one in self.attempts if one.status in (200, 202) and not one.pending), None)


class Memory(msgspec.Struct):
    """Everything that clients saw."""

    operations: list[Operation] = msgspec.field(default_factory=list)
    wishes: list[Wish] = msgspec.field(default_factory=list)
    asked: list[Asked] = msgspec.field(default_factory=list)
    reads: int = 0


class Clients(Seller):
    """Applications of one seed, and their seller."""

    def __init__(self, world: World, chance: random.Random) -> None:
        super().__init__(world, chance)
        self.memory = Memory(asked=self.asked)
        self._tags = 0
        self._batches = 0
        self.until_s = 0.0

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
        key = operation.key if operation.header else None
        path, headers = "/api/usage/events", _headers(key, waits=operation.waits)
        [attempt] = await self._ask(node, path, headers, operation.body, [operation], patience_s)
        return attempt

    async def attempt_batch(self, batch: list[Operation], header: str | None, node: Node) -> list[Attempt]:
        """Send operations in one request, and note what came of each."""
        body = b'{"events":[' + b",".join(one.body for one in batch) + b"]}"
        path, headers = "/api/usage/events/batch", _headers(header, waits=batch[0].waits)
        return await self._ask(node, path, headers, body, batch, PATIENCE_SECONDS)

    async def _ask(self, node, path, headers, body, asked: list[Operation], patience_s: float) -> list[Attempt]:
        world = self.world
        attempts = [Attempt(world.loop.time()) for _ in asked]
        for operation, attempt in zip(asked, attempts, strict=True):
            operation.attempts.append(attempt)
        try:
            async with asyncio.timeout(patience_s):
                status, answer = await node.request(path, headers, body)
        except (HungUpError, TimeoutError):
            return attempts
        if status == 500:
            world.violate(f"an answer of 500 to {asked[0].tag}: {answer!r}")
        told = json.loads(answer)
        for index, (operation, attempt) in enumerate(zip(asked, attempts, strict=True)):
            if status < 300 and path.endswith("/batch"):
                _note_result(attempt, told["data"]["results"][index])
            else:
                _note(attempt, status, told)
            attempt.answered_s = world.loop.time()
            word = f"{attempt.status} {attempt.code} {attempt.event} {attempt.pending}"
            world.note(f"answer {operation.tag} {operation.key} {word}")
        return attempts

    async def settle(self, operation: Operation) -> Attempt:
        """Try until a definite answer; without a key one attempt is all that a careful client makes."""
        attempt = Attempt(0)
        for _ in range(TRIES):
            attempt = await self.attempt(operation, self.gateway())
            if attempt.status not in (0, 429, 503) or operation.key is None:
                break
            await asyncio.sleep(PAUSE_SECONDS + self.chance.random() * 0.5)
        return attempt

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
            elif roll < 0.38:
                await self.batch(number)
            elif roll < 0.45:
                await self.take_back()
            else:
                key = None if chance.random() < 0.25 else f"k{number}-{chance.randrange(30)}"
                late = chance.random() < 0.12
                operation = self.operation(
                    chance.choice(world.town.customers),
                    chance.choice(("open", "open", "capped", "over")),
                    self.quantity(),
                    key,
                    header=chance.random() < 0.3,
                    event_time=self.stamp(chance.random() * 3) if late else None,
                )
                operation.waits = chance.random() > 0.07
                await self.settle(operation)

    def quantity(self) -> Decimal:
        """Choose what an event says; seldom what the fold's code cannot take."""
        return self.chance.choice(QUANTITIES)

    async def batch(self, number: int) -> None:
        """Send several events in one request, some of one key, again and again until each has a definite answer."""
        chance = self.chance
        self._batches += 1
        header = f"b{number}-{self._batches}" if chance.random() < 0.4 else None
        batch: list[Operation] = []
        for index in range(chance.randrange(2, 6)):
            key = f"{header}#{index}" if header is not None else f"k{number}-{chance.randrange(30)}"
            customer, feature = chance.choice(self.world.town.customers), chance.choice(("open", "capped", "over"))
            quantity = self.quantity()
            if batch and header is None and chance.random() < 0.3:
                before = batch[-1]
                key, customer, feature = before.key, before.customer, before.feature
                quantity = before.quantity if chance.random() < 0.5 else quantity
            batch.append(self.operation(customer, feature, quantity, key, header=header is not None))
        waits = chance.random() > 0.1
        for one in batch:
            one.waits = waits
        for _ in range(TRIES):
            attempts = await self.attempt_batch(batch, header, self.gateway())
            if not any(one.status in (0, 429, 503) for one in attempts):
                break
            await asyncio.sleep(PAUSE_SECONDS + chance.random() * 0.5)

    async def expect(self, name: str) -> None:
        """Send usage of a customer that may not be there yet."""
        await asyncio.sleep(self.chance.random() * 0.02)
        await self.attempt(self.operation(name, "open", Decimal(1), None), self.gateway())

    async def welcome(self, name: str) -> None:
        """Send usage of a customer that was answered as made: every gateway knows it."""
        attempt = await self.attempt(self.operation(name, "open", Decimal(1), None), self.gateway())
        if attempt.code == "customer_not_found":
            self.world.violate(f"{name} was answered as made, then as unknown")

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

    async def take_back(self) -> None:
        """Void or amend an event that was accepted, or ask once more; now and then two at once, at any gateways."""
        chance, wishes = self.chance, self.memory.wishes
        accepted = [one for one in self.memory.operations if one.accepted]
        known = [one for one in wishes if one.request != ONCE]
        if known and chance.random() < 0.3:
            asked = [chance.choice(known)] * chance.choice((1, 1, 2))
        elif accepted:
            operation = chance.choice(accepted)
            asked = [self._wish(operation) for _ in range(chance.choice((1, 1, 1, 2)))]
        else:
            return
        await asyncio.gather(*(correct(self.world, self.gateway(), one) for one in asked))

    def _wish(self, operation: Operation) -> Wish:
        number = len(self.memory.wishes)
        wish = Wish(
            tag=f"c{number}",
            customer=operation.customer,
            feature=operation.feature,
            key=operation.key if self.chance.random() < 0.5 else None,
            event=operation.accepted.event,
            value=self.chance.choice(VALUES),
            request=ONCE if self.chance.random() < 0.2 else f"{number:08}".encode(),
        )
        self.memory.wishes.append(wish)
        return wish

    async def read(self) -> None:
        """Ask for a balance: it shows what was accepted before (read-your-writes)."""
        chance, world = self.chance, self.world
        customer = chance.choice((*world.town.customers, "nobody"))
        feature = chance.choice(("open", "capped", "over"))
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
        for wish in self.memory.wishes:
            told.pop(wish.event, None)  # which may count less by now, also when it was asked for after this began
        if world.live_fell_s >= 0:
            return  # LIVE lost something: until it is folded again a balance may be older than an answer (DESIGN 3.9)
        totals = account.totals if account is not None else {}
        used = sum(total.now for (of, _, _), total in totals.items() if of == raw)
        if Decimal(used) / UNITS_PER_ONE < sum(told.values()):
            world.violate(
                f"{customer} {feature} shows {Decimal(used) / UNITS_PER_ONE} at {begun_s:.3f}, "
                f"accepted before: {sum(told.values())}"
            )


def _headers(key: str | None, *, waits: bool) -> dict[str, str]:
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    if key is not None:
        headers["idempotency-key"] = key
    if not waits:
        headers["prefer"] = "respond-async"
    return headers


def _note(attempt: Attempt, status: int, body: dict) -> None:
    attempt.status = status
    if status < 300:
        data = body.get("data", body)
        attempt.event, attempt.pending = data["id"], bool(data.get("pending"))
    else:
        _note_error(attempt, body.get("error", body))


def _note_result(attempt: Attempt, result: dict) -> None:
    """Note an element of a batch as if it had been sent alone."""
    if result["status"] == "accepted":
        attempt.status, attempt.event, attempt.pending = 200, result["id"], bool(result.get("pending"))
    else:
        _note_error(attempt, result["error"])
        attempt.status = STATUSES[attempt.code]


def _note_error(attempt: Attempt, error: dict) -> None:
    attempt.code = error.get("code", "")
    details = error.get("details")
    if isinstance(details, dict):
        attempt.original, attempt.conflict = details.get("eventId") or "", bool(details.get("conflict"))
