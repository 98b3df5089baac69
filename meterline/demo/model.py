"""The three consumption models, a customer each: what the API announces, where it stops, and what it costs.

*metered*: the first call beyond what is included is announced by `willBeCharged`. *credits*: usage stops at zero until
a pack is bought. *balance*: AI tokens at the catalog's prices go on into an overdraft. Each customer goes on while the
plug is pulled. Invariant: what is expected is plain arithmetic on what was sent and on the prices that the API shows.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from kernel.clock import Clock
from meterline.demo.invoice_table import dollars, invoice_table, read_invoices, sum_of
from meterline.demo.stage import Stages, expected
from meterline.demo.token_price import TokenPrice, read_token_price
from meterline.importer.api import Answer, Api
from meterline.importer.transfer import send_batch

METERED: Final = "hooli"
CREDITS: Final = "raviga"
BALANCE: Final = "aviato"
PLANS: Final = {METERED: "pro", CREDITS: "studio", BALANCE: "agents"}
AI_MODEL: Final = "openai/gpt-4o"
PACK: Final = "Pack 500"
CATALOG: Final = """
[[feature]]
code = "renders"
name = "Renders"
unit_name = "render"

[[feature]]
code = "assistant"
name = "Assistant"
unit_name = "token"

[[plan]]
code = "studio"
name = "Studio"
model = "credits"
included = 1000
price = "10.00"
features.renders = { credits = 10 }

[[credit_pack]]
name = "Pack 500"
credits = 500
price = "5.00"

[[plan]]
code = "agents"
name = "Agents"
model = "balance"
included = "25.00"
price = "30.00"
features.assistant = { margin = 20 }
"""
STEPS: Final = 50  # what each customer goes on with while the plug is pulled: calls of ten, renders, questions
_INCLUDED: Final = 10_000
_CALL: Final = Decimal("0.002")
_CALLS_BEYOND: Final = 500
_CALLS_A_STEP: Final = 10
_RENDERS: Final = 100  # of 10 credits: all that the plan has
_RENDERS_OF_PACK: Final = 50
_RENDERS_THEN: Final = 10
_BALANCE: Final = Decimal("25.00")
_MARGIN: Final = Decimal(20)
_LONG: Final = {"inputTokens": 4_000_000, "outputTokens": 1_000_000}
_CACHED: Final = {"inputTokens": 1_000_000, "outputTokens": 200_000, "cacheReadTokens": 400_000}
_SHORT: Final = {"inputTokens": 20_000, "outputTokens": 5_000}
_BASES: Final = {METERED: 2_000, CREDITS: 1_000, BALANCE: 3_000}
_PAYMENT_REQUIRED: Final = 402
_CENT: Final = Decimal("0.01")


class Models:
    """The three customers, and what is known of their usage."""

    def __init__(self, stages: Stages, api: Api, clock: Clock) -> None:
        self._stages = stages
        self._api = api
        self._clock = clock
        self._price: TokenPrice | None = None
        self._spent = Decimal(0)
        self.counted = 0

    async def subscribe(self) -> None:
        """Make and subscribe the three."""
        for customer, plan in PLANS.items():
            body = {"id": customer, "email": f"billing@{customer}.example"}
            expected(await self._api.post("/customers", body), "customer")
            subscribed = await self._api.post("/subscriptions", {"customerId": customer, "planCode": plan})
            expected(subscribed, "subscription")

    async def metered(self) -> None:
        """Use all that is included; `canUse` tells beforehand which call costs money."""
        check = self._stages.check
        await self._counts(METERED, "api_calls", "calls-1", value=_INCLUDED - 1)
        last = await self._can_use(METERED, "api_calls")
        check(
            f"{METERED}, {_INCLUDED - 1:,} of {_INCLUDED:,} included calls used: {_said(last)}", last == (True, False)
        )
        await self._counts(METERED, "api_calls", "calls-2", value=1)
        beyond = await self._can_use(METERED, "api_calls")
        check(f"  all of them used: {_said(beyond)}", beyond == (True, True))
        asked = {"customerId": METERED, "featureCode": "api_calls", "quantity": _CALLS_BEYOND}
        tried = expected(await self._api.post("/usage/check", asked), "usage check")
        price = Decimal(tried["unitPriceDecimal"])
        said = f"  a dry run of {_CALLS_BEYOND} more: {price} each, {_CALLS_BEYOND * price} in all"
        check(said, tried["willBeCharged"] is True and price == _CALL)
        await self._counts(METERED, "api_calls", "calls-3", value=_CALLS_BEYOND)

    async def credits(self) -> None:
        """Use all credits, be stopped, buy a pack, go on."""
        check = self._stages.check
        last = await self._counts(CREDITS, "renders", "renders-1", value=_RENDERS)
        left = last["consumption"]["remaining"]
        check(f"{CREDITS}, {_RENDERS} renders of 10 credits: {left} of 1,000 credits left", left == 0)
        stopped = await self._can_use(CREDITS, "renders")
        check(f"  {_said(stopped)}", stopped == (False, False))
        more = await self._track(CREDITS, "renders", "renders-2", value=1)
        check(f"  one more: {more.status} {more.code}", more.status == _PAYMENT_REQUIRED)
        listed = expected(await self._api.get("/credit-packs"), "credit packs")["data"]
        [pack] = [one for one in listed if one["name"] == PACK]
        query = {"customerId": CREDITS}
        subscription = expected(await self._api.get("/subscriptions/active", **query), "subscription")
        path = f"/subscriptions/{subscription['id']}/credits"
        bought = expected(await self._api.post(path, {"creditPackId": pack["id"]}), "credit pack")
        check(f"  buys {PACK} for {dollars(bought['price'])} dollars: {bought['credits']} credits", True)
        again = await self._counts(CREDITS, "renders", "renders-2", value=_RENDERS_THEN)
        left = again["consumption"]["remaining"]
        wanted = (_RENDERS_OF_PACK - _RENDERS_THEN) * 10
        check(f"  and goes on under the key that was refused: {_RENDERS_THEN} renders, {left} left", left == wanted)

    async def balance(self) -> None:
        """Spend a balance on AI tokens, and go on into the overdraft."""
        check = self._stages.check
        self._price = await read_token_price(self._api, AI_MODEL)
        self._stages.say(f"{AI_MODEL}, in dollars a million tokens: {self._price}; margin {_MARGIN} %")
        told = await self._ask("ask-1", _LONG)
        left = _BALANCE - self._spent
        said = f"{BALANCE}, 4M tokens in, 1M out: {told['costs']['total']} of {_BALANCE} dollars, {left} left"
        check(said, Decimal(told["consumption"]["remainingDecimal"]) == left > 0)
        told = await self._ask("ask-2", _CACHED)
        left = _BALANCE - self._spent
        said = f"  1M in with 0.4M from the cache, 0.2M out: {told['costs']['total']}, the balance is {left}"
        check(said, Decimal(told["consumption"]["remainingDecimal"]) == left < 0)
        beyond = await self._can_use(BALANCE, "assistant")
        check(f"  {_said(beyond)}: an overdraft", beyond == (True, True))

    async def go_on(self, done: Callable[[], float]) -> None:
        """Send STEPS events of each customer, spread over the load; `done` tells which part of that is through."""
        said: dict[str, Counter[str]] = {customer: Counter() for customer in PLANS}
        for step in range(STEPS):
            while done() < step / STEPS:  # noqa: ASYNC110 - it looks at a count that callers raise
                await asyncio.sleep(0.01)
            events = [
                self._event(METERED, "api_calls", f"step-{step}", value=_CALLS_A_STEP),
                self._event(CREDITS, "renders", f"step-{step}", value=1),
                self._event(BALANCE, "assistant", f"step-{step}", model=AI_MODEL, **_SHORT),
            ]
            results = await send_batch(self._api, {"events": events}, f"step-{step}", self._clock)
            for event, result in zip(events, results, strict=True):
                said[event["customerId"]][result["status"]] += 1
        paid = _RENDERS_OF_PACK - _RENDERS_THEN
        self._spent += STEPS * self._cost(_SHORT)
        self.counted += 2 * STEPS + paid
        wanted = {
            METERED: Counter(accepted=STEPS),
            CREDITS: Counter(accepted=paid, blocked=STEPS - paid),
            BALANCE: Counter(accepted=STEPS),
        }
        words = "; ".join(f"{name} {_words(counts)}" for name, counts in said.items())
        self._stages.check(f"meanwhile {words}", said == wanted)

    async def invoices(self) -> None:
        """Show all invoices of the three, and compare them with arithmetic."""
        found, names = await read_invoices(self._api, PLANS)
        self._stages.console.print(invoice_table(found, names))
        overage = int(_CALL * 100 * (_CALLS_BEYOND + STEPS * _CALLS_A_STEP))
        overdraft = int((self._spent - _BALANCE).quantize(_CENT, ROUND_HALF_UP) * 100)
        wanted = {(name, kind): amount for name, amount in _BASES.items() for kind in ("first", "plan_base")}
        wanted |= {
            (METERED, "overage"): overage,
            (CREDITS, "credit_pack"): 500,
            (BALANCE, "balance_overage"): overdraft,
        }
        have: dict[tuple[str, str], int] = {}
        for invoice in found:
            name = names[invoice["customerId"]]
            for line in invoice["lineItems"]:
                kind = "first" if (name, "first") not in have else line["kind"]
                have[name, kind] = line["amount"]
        lines = sum(len(one["lineItems"]) for one in found)
        said = f"{len(found)} invoices with {lines} lines, to the cent what plain arithmetic gives"
        check = self._stages.check
        check(said, have == wanted and lines == len(wanted))
        check("each total is the sum of its lines", all(one["total"] == sum_of(one) for one in found))

    async def answers(self) -> Any:
        """Tell what the API says of the three now, but when it was asked."""
        told = []
        for customer, code in ((METERED, "api_calls"), (CREDITS, "renders"), (BALANCE, "assistant")):
            answer = await self._api.get(f"/feature-access/{code}", customerId=customer)
            told.append({name: value for name, value in answer.body.items() if name not in ("asOf", "lagMs")})
        return told

    def _cost(self, tokens: Mapping[str, int]) -> Decimal:
        assert self._price is not None, "the price was read first"
        return self._price.cost(tokens, _MARGIN)

    async def _ask(self, key: str, tokens: dict[str, int]) -> Any:
        self._spent += self._cost(tokens)
        return await self._counts(BALANCE, "assistant", key, model=AI_MODEL, **tokens)

    async def _counts(self, customer: str, feature: str, key: str, **members: Any) -> Any:
        told = expected(await self._track(customer, feature, key, **members), f"usage {key}")
        self.counted += 1
        return told

    async def _track(self, customer: str, feature: str, key: str, **members: Any) -> Answer:
        return await self._api.post("/usage/events", self._event(customer, feature, key, **members))

    def _event(self, customer: str, feature: str, key: str, **members: Any) -> dict[str, Any]:
        return {"customerId": customer, "featureCode": feature, "eventId": key, **members}

    async def _can_use(self, customer: str, feature: str) -> tuple[bool, bool]:
        answer = await self._api.get(f"/features/{feature}", customerId=customer, action="canUse")
        told = expected(answer, "canUse")
        return told["allowed"], told["willBeCharged"]


def _said(can_use: tuple[bool, bool]) -> str:
    return f"canUse says allowed={can_use[0]}, willBeCharged={can_use[1]}"


def _words(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
