"""What the bench of the close bills: subscriptions on every model and a month of their usage, through the public API.

Of ten subscriptions three are plainly metered; one each has a promo code, seats that grow, an add-on, credits, credits
with a pack; two have a balance with AI tokens and an overdraft. Invariant: every event counts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from kernel.clock import SystemClock
from kernel.errors import Fatal
from meterline.importer.api import Answer, Api
from meterline.importer.transfer import send_batch

EVENTS_EACH: Final = 100
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
END: Final = datetime(2026, 2, 1, tzinfo=UTC)
AI_MODEL: Final = "openai/gpt-4o"
KINDS: Final = ("metered", "metered", "metered", "promo", "seats", "addon", "credits", "pack", "balance", "balance")
CATALOG: Final = """
[[feature]]
code = "api_calls"
name = "API calls"

[[feature]]
code = "tokens"
name = "Tokens"

[[feature]]
code = "exports"
name = "Exports"

[[feature]]
code = "renders"
name = "Renders"

[[feature]]
code = "assistant"
name = "Assistant"

[[feature]]
code = "mails"
name = "Mails"

[[feature]]
code = "member"
name = "Members"
type = "seats"

[[plan]]
code = "metered"
name = "Metered"
price = "20.00"
features.api_calls = { included = 300, overage = "0.002" }
features.tokens = { included = 50_000, overage = "0.0000025" }
features.member = { included = 3, overage = "15.00" }

[[plan]]
code = "credits"
name = "Credits"
model = "credits"
included = 1000
price = "10.00"
features.renders = { credits = 10 }

[[plan]]
code = "balance"
name = "Balance"
model = "balance"
price = "5.00"
features.assistant = { margin = 20 }
features.mails = { unit_price = "0.015" }

[[addon]]
slug = "exports"
name = "Exports"
feature = "exports"
model = "metered"
price = "10.00"
included = 10
overage = "0.05"

[[credit_pack]]
name = "Pack"
credits = 500
price = "5.00"

[[promo_code]]
code = "BENCH20"
percent = 20
cycles = 0
"""
_PLANS: Final = {"credits": "credits", "pack": "credits", "balance": "balance"}
_CALLERS: Final = 8
_SENDERS: Final = 4
_BATCH: Final = 100
_OF_EACH: Final = 10  # a batch has so many events of so many customers
_MONTH_SECONDS: Final = 31 * 86_400


async def subscribe_all(api: Api, count: int) -> None:
    """Make `count` customers and subscribe each to what its number says."""
    for first in range(0, count, _BATCH):
        numbers = range(first, min(first + _BATCH, count))
        wanted = [{"id": _name(number), "email": "bench@example.com"} for number in numbers]
        made = _made(await api.post("/customers/batch", {"customers": wanted}))
        if len(made["successful"]) != len(wanted):
            raise Fatal(f"the bench could not be prepared: {made['failed'][:1]}")
    await _all(_CALLERS, (partial(_subscribe, api, number) for number in range(count)))


async def _subscribe(api: Api, number: int) -> None:
    kind, customer = KINDS[number % len(KINDS)], _name(number)
    body: dict[str, Any] = {"customerId": customer, "planCode": _PLANS.get(kind, "metered")}
    if kind == "promo":
        body["promoCode"] = "BENCH20"
    if kind == "seats":
        body["initialSeats"] = {"member": 5}
    subscription = _made(await api.post("/subscriptions", body))["id"]
    if kind == "addon":
        _made(await api.post(f"/subscriptions/{subscription}/addons", {"addonId": "exports"}))
    if kind == "pack":
        _made(await api.post(f"/subscriptions/{subscription}/credits", {"creditPackId": "Pack"}))


async def use_all(api: Api, count: int, told: Callable[[str], None]) -> None:
    """Send EVENTS_EACH events of every customer, and add seats where there are some. Raises Fatal for a refused one."""
    batches = [(first, step) for step in range(EVENTS_EACH // _OF_EACH) for first in range(0, count, _OF_EACH)]
    await _all(_SENDERS, (partial(_send, api, first, step, count) for first, step in batches))
    told("  every event counts; the seats grow")
    growing = [number for number in range(count) if KINDS[number % len(KINDS)] == "seats"]
    grown = {"featureCode": "member", "count": 2}
    await _all(_CALLERS, (partial(_post, api, "/seats", {"customerId": _name(n), **grown}) for n in growing))


async def _send(api: Api, first: int, step: int, count: int) -> None:
    events = [
        _event(customer, step * _OF_EACH + number)
        for customer in range(first, min(first + _OF_EACH, count))
        for number in range(_OF_EACH)
    ]
    results = await send_batch(api, {"events": events}, f"close-{first}-{step}", SystemClock())
    refused = [result for result in results if result["status"] != "accepted"]
    if refused:
        raise Fatal(f"the bench could not be prepared: {refused[0]}")


def _event(customer: int, number: int) -> dict[str, Any]:
    """Make a customer's event `number`; values stay within what credits and packs pay for."""
    kind = KINDS[customer % len(KINDS)]
    made: dict[str, Any] = {
        "customerId": _name(customer),
        "eventId": f"e-{number}",
        "timestamp": (START + timedelta(seconds=_MONTH_SECONDS * number // EVENTS_EACH)).isoformat(),
    }
    if kind in ("credits", "pack"):
        return made | {"featureCode": "renders", "value": 1 if kind == "credits" else 1 + number % 2}
    if kind == "balance" and number % 2:
        return made | {"featureCode": "assistant", "model": AI_MODEL, "inputTokens": 20_000, "outputTokens": 5_000}
    if kind == "balance":
        return made | {"featureCode": "mails", "value": 1 + number % 5}
    if kind == "addon" and number % 4 == 0:
        return made | {"featureCode": "exports", "value": 1}
    if number % 2:
        return made | {"featureCode": "tokens", "value": 1_000 + number * 31 % 2_000}
    return made | {"featureCode": "api_calls", "value": 1 + (customer + number) % 20}


def _name(number: int) -> str:
    return f"close-{number}"


async def _all(callers: int, works: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Do all of it, so much at once; it is made as it is taken, so that a million events are never in memory."""
    left = iter(works)

    async def caller() -> None:
        for work in left:
            await work()

    await asyncio.gather(*(caller() for _ in range(callers)))


async def _post(api: Api, path: str, body: object) -> None:
    _made(await api.post(path, body))


def _made(answer: Answer) -> Any:
    if not answer.ok:
        raise Fatal(f"the bench could not be prepared: {answer.status} {answer.body}")
    return answer.body
