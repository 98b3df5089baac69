"""A month of a small seller, unchanged on every engine: repetitions, late and invalid events, a limit, invoices.

What is expected is reckoned here, in plain Python, from what was sent and answered.
"""

import collections
import random
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from tests.story.harness import Api

JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)
INCLUDED, PRICE, LIMIT = 100, Decimal("0.013"), 40
CUSTOMERS = ("ann", "bob", "cid")


def cents(used):
    """What usage of one window costs beyond what is included."""
    amount = max(Decimal(0), used - INCLUDED) * PRICE * 100
    return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


async def clock(api, instant):
    await api.call("POST", "/test-clock", {"frozenTime": instant.isoformat()}, expect=202)


async def usage_lines(api, reference):
    """Usage lines of all invoices of a customer: `(kind, period start, amount)`, oldest invoice first."""
    page = await api.call("GET", "/invoices", customerId=reference)
    found = [await api.call("GET", f"/invoices/{item['id']}") for item in reversed(page["data"])]
    assert all(one["total"] == sum(line["amount"] for line in one["lineItems"]) for one in found)
    return [(line["kind"], line["amount"]) for one in found for line in one["lineItems"] if line["kind"] != "plan_base"]


class Month:
    """What was sent, and what each answer makes of the balance."""

    def __init__(self, api):
        self.api = api
        self.chance = random.Random(31)
        self.used = collections.defaultdict(Decimal)  # by customer and month
        self.counted = []
        self.answers = collections.Counter()

    async def track(self, event):
        answer = await self.api.until_definite("/usage/events", event, f"request-{event['eventId']}-{event['value']}")
        self.answers[answer.status_code] += 1
        return answer

    def event(self, number, first, days):
        stamp = first + timedelta(seconds=self.chance.randrange(days * 86_400))
        return {
            "customerId": self.chance.choice(CUSTOMERS),
            "featureCode": "calls",
            "eventId": f"key-{number}",
            "value": self.chance.choice((1, 2.5, 0.001, 7)),
            "timestamp": stamp.isoformat(),
        }

    async def use(self, numbers, first, days):
        """Send fresh events one by one and in batches; each counts in the window of its own time."""
        fresh = [self.event(number, first, days) for number in numbers]
        singles, batch = fresh[: len(fresh) // 2], fresh[len(fresh) // 2 :]
        for event in singles:
            assert (await self.track(event)).status_code == 200
        for at in range(0, len(batch), 100):
            answer = await self.api.until_definite(
                "/usage/events/batch", {"events": batch[at : at + 100]}, f"b-{at}-{first}"
            )
            assert {one["status"] for one in answer.json()["results"]} == {"accepted"}
        for event in fresh:
            self.used[event["customerId"], event["timestamp"][:7]] += Decimal(str(event["value"]))
        self.counted += fresh

    async def repeat_and_err(self):
        """Send what must not count: repetitions, conflicts, invalid events."""
        for event in self.chance.sample(self.counted, 20):
            again = await self.api.call("POST", "/usage/events", event, expect=409)
            assert (again["code"], again["details"]["conflict"]) == ("duplicate", False)
            other = {**event, "value": event["value"] + 1}
            conflict = await self.api.call("POST", "/usage/events", other, expect=409)
            assert conflict["details"]["conflict"] is True
        fine = {"customerId": "ann", "featureCode": "calls", "eventId": "never", "value": 1}
        for change, status, code in (
            ({"value": -1}, 400, "validation_error"),
            ({"featureCode": "nothing"}, 404, "feature_not_found"),
            ({"customerId": "nobody"}, 404, "customer_not_found"),
            ({"timestamp": "2025-10-01T00:00:00Z"}, 400, "validation_error"),
        ):
            answer = await self.api.call("POST", "/usage/events", {**fine, **change}, expect=status)
            assert answer["code"] == code, answer


async def test_a_month_from_customer_to_audit(any_server, proof):
    async with Api(any_server) as api:
        calls, capped = await api.feature("calls"), await api.feature("capped")
        overage = {"enabled": True, "unitPriceDecimal": str(PRICE)}
        settings = {
            calls["id"]: {"includedAmount": INCLUDED, "overage": overage},
            capped["id"]: {"includedAmount": LIMIT, "overage": {"enabled": False}},
        }
        await api.plan("pro", settings, price=2_000)
        await clock(api, JANUARY)
        for customer in CUSTOMERS:
            await api.customer(customer)
            await api.subscribe(customer, "pro")

        month = Month(api)
        await clock(api, FEBRUARY - timedelta(seconds=1))
        await month.use(range(300), JANUARY, 31)
        await month.repeat_and_err()

        # A limit is reached, and stays where it is.
        for number in range(LIMIT + 5):
            body = {"customerId": "bob", "featureCode": "capped", "eventId": f"capped-{number}", "value": 1}
            may = await api.call("GET", "/feature-access/capped", customerId="bob", action="canUse")
            assert may["allowed"] is (number < LIMIT)
            assert (await month.track(body)).status_code == (200 if number < LIMIT else 402)
        for customer in CUSTOMERS:
            access = await api.access(customer, "calls")
            assert Decimal(str(access["consumption"]["unitsUsed"])) == month.used[customer, "2026-01"]

        # The month ends; what comes late is billed a month later, as the difference.
        await clock(api, FEBRUARY)
        january = {customer: cents(month.used[customer, "2026-01"]) for customer in CUSTOMERS}
        for customer in CUSTOMERS:
            assert await usage_lines(api, customer) == [("overage", january[customer])]
        await clock(api, FEBRUARY + timedelta(days=10))
        await month.use(range(300, 360), JANUARY + timedelta(days=10), 20)
        await month.use(range(360, 460), FEBRUARY, 10)
        await clock(api, MARCH)
        for customer in CUSTOMERS:
            late = cents(month.used[customer, "2026-01"]) - january[customer]
            wanted = [("overage", january[customer]), ("late_usage", late)]
            if now := cents(month.used[customer, "2026-02"]):
                wanted.append(("overage", now))
            assert sorted(await usage_lines(api, customer)) == sorted(wanted)
    _, verdict = any_server.command("audit")
    assert verdict["differences"] == []
    assert verdict["unbilled"] == []
    keyed = len(month.counted) + LIMIT
    [own] = [one for one in verdict["organizations"] if any_server.organization in (None, one["organization"])]
    assert (own["keysCounted"], own["rowsCounted"]) == (keyed, keyed)
    proof(f"{any_server.engine}: {keyed} events counted once, answers {dict(month.answers)}, invoices as reckoned")
