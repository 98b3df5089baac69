"""Load with the plug pulled: a generator with retries on one side, SIGKILL on the other.

What it remembers is what a client knows: which keys were acknowledged. The audit later says which were counted.
"""

import asyncio
import random
from typing import Any, Final

from meterline.audit import KeySet
from meterline.child import monotonic_seconds
from meterline.demo.engine import Pluggable
from meterline.demo.stage import Stages, expected
from meterline.importer.api import Api
from meterline.importer.transfer import send_batch

EVENTS: Final = 100_000
CUSTOMERS: Final = 1_000
KILLS: Final = 3
BATCH: Final = 100
CALLERS: Final = 8
_PREPARING: Final = 16
CATALOG: Final = """
[[feature]]
code = "requests"
name = "Requests"

[[plan]]
code = "load"
name = "Load"
free = true
features.requests = { unlimited = true }
"""


class Plug:
    """The seller whose customers send while the server dies."""

    def __init__(self, stages: Stages, server: Pluggable, api: Api, clock: Any) -> None:
        self._stages = stages
        self._server = server
        self._api = api
        self._clock = clock
        self._ids: list[str] = []
        self.acknowledged = KeySet()
        self.sum = 0
        self.seconds = 0.0
        self.per_second = 0
        self.downtime = 0.0

    async def prepare(self) -> None:
        """Make and subscribe the customers."""
        wanted = [{"id": f"load-{number}", "email": "load@example.com"} for number in range(CUSTOMERS)]
        for first in range(0, CUSTOMERS, BATCH):
            made = expected(
                await self._api.post("/customers/batch", {"customers": wanted[first : first + BATCH]}), "batch"
            )
            self._ids += [one["id"] for one in made["successful"]]
        slots = asyncio.Semaphore(_PREPARING)

        async def subscribe(customer: str) -> None:
            async with slots:
                subscribed = await self._api.post("/subscriptions", {"customerId": customer, "planCode": "load"})
                expected(subscribed, "subscription")

        await asyncio.gather(*(subscribe(customer) for customer in self._ids))
        self._stages.say(f"{CUSTOMERS:,} customers made and subscribed")

    async def pull(self) -> None:
        """Send everything, and kill the server KILLS times meanwhile."""
        began = monotonic_seconds()
        left = list(range(0, EVENTS, BATCH))[::-1]
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(self._caller(left))
            group.create_task(self._kills())
        self.seconds = monotonic_seconds() - began
        self.per_second = int(EVENTS / (self.seconds - self.downtime))
        acked = f"{self.acknowledged.count:,} of {EVENTS:,} events acknowledged in {self.seconds:.1f} s"
        self._stages.check(f"{acked}, over {self._server.kills} kills", self.acknowledged.count == EVENTS)

    async def _caller(self, left: list[int]) -> None:
        while left:
            first = left.pop()
            events = [self._event(number) for number in range(first, first + BATCH)]
            results = await send_batch(self._api, {"events": events}, f"load-{first}", self._clock)
            for event, result in zip(events, results, strict=True):
                if result["status"] == "accepted":
                    self.acknowledged.add(event["customerId"], event["eventId"])
                    self.sum += event["value"]

    def _event(self, number: int) -> dict[str, Any]:
        customer = self._ids[number * 7919 % CUSTOMERS]
        return {"featureCode": "requests", "customerId": customer, "eventId": f"load-{number}", "value": number % 9 + 1}

    async def _kills(self) -> None:
        chance = random.Random()  # noqa: S311 - moments to kill at, no secret
        for number in range(KILLS):
            at = EVENTS * (number + chance.uniform(0.3, 1)) / (KILLS + 1)
            while self.acknowledged.count < at:  # noqa: ASYNC110 - it looks at a count that callers raise
                await asyncio.sleep(0.005)
            had = self.acknowledged.count
            self._server.kill()
            down = monotonic_seconds()
            self._server.start()  # in this thread, which its processes die with; the callers wait for it anyway
            away = monotonic_seconds() - down
            self.downtime += away
            self._stages.say(f"SIGKILL at {had:,} acknowledged; ready again after {away:.1f} s")
