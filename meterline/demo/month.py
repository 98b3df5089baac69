"""A month of usage of a small seller on a test clock: limits, a duplicate, a conflict, and the invoices at its end."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from kernel.clock import Clock
from meterline.cli.call import call
from meterline.demo.invoice_table import invoice_table, read_invoices, sum_of
from meterline.demo.stage import Stages, expected
from meterline.importer.api import Api
from meterline.importer.transfer import send_batch

CATALOG: Final = """
[[feature]]
code = "api_calls"
name = "API calls"
unit_name = "call"

[[feature]]
code = "input_tokens"
name = "Input tokens"
unit_name = "token"

[[plan]]
code = "free"
name = "Free"
free = true
features.api_calls = { included = 1000 }

[[plan]]
code = "pro"
name = "Pro"
price = "20.00"
features.api_calls = { included = 10_000, overage = "0.002" }
features.input_tokens = { included = 100_000, overage = "0.0000025" }
"""
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
PAYING: Final = ("acme", "globex", "initech", "umbrella")
FREE: Final = "hobbyist"
EVENTS: Final = 4_000
_FREE_LIMIT: Final = 1_000
_PAYMENT_REQUIRED: Final = 402
_CONFLICT: Final = 409


class Month:
    """The seller `Demo month` and what was sent for it."""

    def __init__(self, stages: Stages, api: Api, clock: Clock, organization: str) -> None:
        self._stages = stages
        self._api = api
        self._clock = clock
        self.organization = organization
        self.sent: dict[tuple[str, str], Decimal] = {}
        self.counted = 0

    async def begin(self) -> None:
        """Subscribe on the first of January."""
        await self._to(START)
        for customer in (*PAYING, FREE):
            body = {"id": customer, "email": f"billing@{customer}.example"}
            expected(await self._api.post("/customers", body), "customer")
            plan = "free" if customer == FREE else "pro"
            expected(await self._api.post("/subscriptions", {"customerId": customer, "planCode": plan}), "subscription")

    async def use(self) -> None:
        """Report usage of the whole month at its end."""
        await self._to(START + timedelta(days=31, seconds=-1))
        chance = random.Random(20260101)  # noqa: S311 - the same month in every run, no secret
        events = [self._event(chance, number) for number in range(EVENTS)]
        accepted = 0
        for number in range(0, EVENTS, 100):
            results = await send_batch(
                self._api, {"events": events[number : number + 100]}, f"month-{number}", self._clock
            )
            accepted += sum(result["status"] == "accepted" for result in results)
        self._stages.check(f"{accepted:,} events of {len(PAYING)} paying customers accepted", accepted == EVENTS)
        self.counted += accepted
        for event in events:
            key = (event["customerId"], event["featureCode"])
            self.sent[key] = self.sent.get(key, Decimal(0)) + event["value"]

    def _event(self, chance: random.Random, number: int) -> dict[str, Any]:
        customer = chance.choices(PAYING, weights=(8, 4, 2, 1))[0]
        feature = chance.choice(("api_calls", "input_tokens"))
        value = chance.randint(1, 20) if feature == "api_calls" else chance.randint(50, 4_000)
        stamp = START + timedelta(seconds=chance.randrange(31 * 86_400))
        return {
            "featureCode": feature,
            "customerId": customer,
            "eventId": f"month-{number}",
            "value": Decimal(value),
            "timestamp": stamp.isoformat(),
        }

    async def limit(self) -> None:
        """Show `canUse` before and after a hard limit."""
        before = await self._can_use()
        self._stages.check(f"before: canUse says allowed={before['allowed']}", before["allowed"] is True)
        last = await self._track("limit-all", _FREE_LIMIT)
        self.counted += 1
        self._stages.check(f"{_FREE_LIMIT:,} of {_FREE_LIMIT:,} included used: {last.status}", last.ok)
        after = await self._can_use()
        words = f"after: canUse says allowed={after['allowed']} ({after.get('reason', '')})"
        self._stages.check(words, after["allowed"] is False)
        over = await self._track("limit-more", 1)
        self._stages.check(f"one more: {over.status} {over.code}", over.status == _PAYMENT_REQUIRED)

    async def repeat(self) -> None:
        """Show a duplicate and a conflict."""
        again = await self._track("limit-all", _FREE_LIMIT)
        details = again.body.get("details", {})
        said = f"the same key again: {again.status} {again.code}, original {details.get('eventId', '')[:14]}…"
        self._stages.check(said, again.status == _CONFLICT and details.get("conflict") is False)
        other = await self._track("limit-all", 7)
        details = other.body.get("details", {})
        said = f"the same key with another value: {other.status} {other.code}, conflict={details.get('conflict')}"
        self._stages.check(said, other.status == _CONFLICT and details.get("conflict") is True)

    async def _can_use(self) -> Any:
        answer = await self._api.get("/features/api_calls", customerId=FREE, action="canUse")
        return expected(answer, "canUse")

    async def _track(self, key: str, value: int) -> Any:
        body = {"featureCode": "api_calls", "customerId": FREE, "eventId": key, "value": value}
        return await self._api.post("/usage/events", body)

    async def invoice(self, settings: Any) -> None:
        """Pass the period's end, and show the invoices and one line's reason."""
        await self._to(START + timedelta(days=31))
        found, names = await read_invoices(self._api, PAYING)
        self._stages.console.print(invoice_table(found[len(PAYING) :], names))
        start = sum(len(one["lineItems"]) == 1 and one["total"] == 2000 for one in found)  # noqa: PLR2004 - 20.00
        count = f"{len(found)} invoices: one at the start and one at the boundary for each paying customer"
        self._stages.check(count, len(found) == 2 * len(PAYING) and start >= len(PAYING))
        self._stages.check("each total is the sum of its lines", all(one["total"] == sum_of(one) for one in found))
        self._check_amounts(found, names)
        chosen = max(found, key=lambda one: one["total"])
        explained = await call(settings, "explain", {"what": chosen["id"], "organization": None})
        reasons = [line["why"] for line in explained["lines"] if "used from" in line["why"]]
        self._stages.say(f"why, of {chosen['invoiceNumber']}: {reasons[0]}")

    def _check_amounts(self, found: Iterable[Any], names: dict[str, str]) -> None:
        """Compare every usage line with arithmetic on what was sent."""
        rules = {"api_calls": (10_000, Decimal("0.002")), "input_tokens": (100_000, Decimal("0.0000025"))}
        wanted = {}
        for (customer, feature), used in self.sent.items():
            included, price = rules[feature]
            cents = int((max(Decimal(0), used - included) * price * 100).quantize(Decimal(1), rounding="ROUND_HALF_UP"))
            if cents:
                wanted[customer, feature] = cents
        have = {
            (names[one["customerId"]], line["featureCode"]): line["amount"]
            for one in found
            for line in one["lineItems"]
            if line.get("featureCode")
        }
        self._stages.check(
            f"{len(have)} usage lines equal plain arithmetic on what was sent, to the cent", have == wanted
        )

    async def _to(self, instant: datetime) -> None:
        moved = await self._api.post("/test-clock", {"frozenTime": instant.isoformat()})
        expected(moved, "test clock")
