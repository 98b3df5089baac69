"""All HTTP that the vector runner speaks: era D of the API, one organization, one customer. Adapt spelling here alone.

Calls of the contract are used where there is one (sections 4.1 and 4.2 of it; row numbers below). The rest are
additive members and routes, which whoever builds them documents in OpenAPI:

Requests
- `PATCH /organization`: `planChangeDayCount` (`30/360`, `actual`), `upgradeCharge` (`prorated`, `full`), `payments`.
- A free plan's pool, on `POST` and `PATCH /plans` (rows 72, 68): `includedCredits`, `includedBalanceDecimal`. A priced
  plan's pool stands on its prices (rows 65, 63): `includedCredits`, `includedBalance` in minor units, or
  `includedBalanceDecimal` in the major unit where minor units do not do.
- An intro offer, on a price: `introOffer {enabled, discountType: percentage|amount, discountValue, durationCycles}`,
  as era C has it: basis points, or minor units; null takes it away.
- A plan feature (rows 59, 57): `overage {enabled, unitPriceDecimal}` is the price of a unit beyond what is included and
  of an extra seat; `unitPriceDecimal` the price of every unit on a balance plan; `creditsPerUnitDecimal` where an
  integer does not do; `marginPercent` beside `pricingMode`.
- An add-on (row 86): `slug`; `unitPriceDecimal` for `overageRate`, `creditCostDecimal` where an integer does not do.
- A promo code (row 99) with era C's `discountType`, `discountValue`, `durationCycles` in place of an offer.
- `PUT /ai-models/{provider/model}`: `inputPrice`, `outputPrice`, `cacheReadPrice`, `cacheWritePrice` (decimal strings,
  USD per million tokens). It replaces the catalog's price as a whole.

Answers
- Invoice: `amountDue` and `creditedToAccount` in minor units, `final`, `daysRemaining`, `daysInCycle`. A line: `kind`,
  `quantityDecimal`, `unitPriceDecimal` (decision 10); what it bills is told by any of its texts.
- Subscription: `credits {planDecimal, purchasedDecimal}`, `balance {planDecimal, topUpDecimal, overdraftDecimal}`: what
  is left; an offer application's `remainingCycles` (null: for ever) beside its `status`, and as its `name` the promo
  code.
- Usage event: `consumption {deductedDecimal, costDecimal}` in credits or the major unit; of AI tokens also `costs
  {nonCachedInputTokens, inputCost, outputCost, cacheReadCost, cacheWriteCost, subtotal, total}` (decimal strings, USD).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx

from tests.vectors import wire
from tests.vectors.observation import SeenEvent, SeenInvoice, SeenState
from tests.vectors.shape import whole
from tests.vectors.wire import Refused

CUSTOMER = "vector"
BILL_SECONDS = 60
POLL_SECONDS = 0.02  # twice as long each time, so that asking does not keep a busy server from billing
POLL_SECONDS_MAX = 0.3
_KINDS = {"metered": "usage", "seats": "seats", "boolean": "boolean"}


@dataclass(frozen=True)
class ScheduledChange:
    """A change of plan that waits: `plan` is its code, `effective` a day."""

    plan: str
    interval: str | None
    effective: str


class Surface:
    """One organization's API, and the codes of what was made in it."""

    def __init__(self, url: str, key: str) -> None:
        self._http = httpx.Client(base_url=url + "/api/v1", headers={"x-api-key": key}, timeout=60)
        self._features: dict[str, str] = {}
        self._plans: dict[str, str] = {}
        self._prices: dict[tuple[str, str], str] = {}
        self._addons: dict[str, str] = {}
        self._packs: dict[str, str] = {}
        self._subscription = ""
        self._interval: str | None = None
        self._today = ""
        self._events = 0

    def close(self) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> httpx.Response:
        """Make one call and tell its answer, whatever it is."""
        return self._http.request(method, path, json=body, params=query or None)

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Make one call and tell its answer's body. Raises Refused."""
        answer = self.ask(method, path, body, **query)
        if not answer.is_success:
            raise _refused(method, path, body, answer)
        return answer.json()

    # The organization and its clock.

    def set_policy(self, policy: dict[str, str]) -> None:
        self.call("PATCH", "/organization", {wire.camel(name): value for name, value in policy.items()})

    def clock_to(self, day: str) -> None:
        """Move the test clock to a day's first instant and wait until all that is due is billed (rows 135, 136)."""
        self.call("POST", "/test-clock", {"frozenTime": f"{day}T00:00:00Z"})
        self._today = day
        until, pause = time.monotonic() + BILL_SECONDS, POLL_SECONDS
        while (run := self.call("GET", "/test-clock")["latestRun"])["status"] in ("pending", "running"):
            if time.monotonic() > until:
                raise Refused(f"billing up to {day} takes longer than {BILL_SECONDS} s")
            time.sleep(pause)
            pause = min(2 * pause, POLL_SECONDS_MAX)
        if run["status"] != "completed":
            raise Refused(f"billing up to {day}: {run['status']}: {run['error']} {run['items']}")

    # The catalog (rows 19, 57 to 72, 75, 80, 86, 90, 95, 99).

    def add_feature(self, code: str, kind: str) -> None:
        made = self.call("POST", "/features", {"name": code, "code": code, "type": _KINDS[kind]})
        self._features[code] = made["id"]

    def add_plan(self, code: str, plan: dict[str, Any]) -> None:
        free = bool(plan.get("free"))
        body = {"name": code, "code": code, "consumptionModel": plan["model"], "isPublic": True, "isFree": free}
        self._plans[code] = self.call("POST", "/plans", body | (wire.plan_pool(plan) if free else {}))["id"]
        self._edit_prices(code, {"prices": {}}, plan)
        self._edit_features(code, {"features": {}}, plan)

    def edit_plan(self, code: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        """Make a plan what it is after, where that differs."""
        if after.get("free") and wire.plan_pool(before) != wire.plan_pool(after):
            self.call("PATCH", self._plan_path(code), wire.plan_pool(after))
        self._edit_prices(code, before, after)
        self._edit_features(code, before, after)

    def _edit_prices(self, code: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        path = f"{self._plan_path(code)}/prices"
        for interval in dict.fromkeys((*before["prices"], *after["prices"])):
            old, new = wire.price(before, interval), wire.price(after, interval)
            if old == new:
                continue  # also a free plan's price of nothing, which the server does not have
            place = f"{path}/{self._prices.get((code, interval))}"
            if new is None:
                self.call("DELETE", place)
            elif old is None:
                body = {name: value for name, value in new.items() if value is not None}
                made = self.call("POST", path, {"billingInterval": interval, **body})
                self._prices[code, interval] = made["id"]
            else:
                self.call("PATCH", place, {name: value for name, value in new.items() if value != old[name]})

    def _edit_features(self, code: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        path = f"{self._plan_path(code)}/features"
        for feature in dict.fromkeys((*before["features"], *after["features"])):
            old, new = before["features"].get(feature), after["features"].get(feature)
            if new is not None and feature not in self._features:
                self.add_feature(feature, new["type"])
            place = f"{path}/{self._features[feature]}"
            if new is None:
                self.call("DELETE", place)
            elif old is None:
                body = {"featureId": self._features[feature], **wire.granted(new, after["model"])}
                self.call("POST", path, body)
            elif old != new:
                self.call("PATCH", place, wire.granted(new, after["model"]))

    def _plan_path(self, code: str) -> str:
        return f"/plans/{self._plans[code]}"

    def add_plan_group(self, codes: list[str]) -> None:
        group = self.call("POST", "/plan-groups", {"name": "all plans", "isPublic": True})["id"]
        for place, code in enumerate(codes):
            self.call("POST", f"/plan-groups/{group}/plans", {"planId": self._plans[code], "sortOrder": place})

    def add_addon(self, slug: str, addon: dict[str, Any]) -> None:
        body = {
            "name": slug,
            "slug": slug,
            "basePrice": wire.minor(addon["base_price"]),
            "featureId": self._features[addon["feature"]],
            "consumptionModel": addon["model"],
        }
        body |= wire.addon_terms(addon)
        self._addons[slug] = self.call("POST", "/addons", body)["id"]

    def add_promo_code(self, code: str, promo: dict[str, Any]) -> None:
        self.call("POST", "/promo-codes", {"code": code, **wire.promo_code(promo)})

    def add_credit_pack(self, code: str, pack: dict[str, Any]) -> None:
        body = {"name": code, "credits": wire.number(pack["credits"]), "price": wire.minor(pack["price"])}
        self._packs[code] = self.call("POST", "/credit-packs", body)["id"]

    def set_ai_model(self, model: str, prices: dict[str, Any]) -> None:
        self.call("PUT", f"/ai-models/{model}", wire.model_prices(prices))

    # What the customer and the merchant do (rows 12, 21, 28, 34, 35, 37 to 40, 56, 110).

    def subscribe(self, start: dict[str, Any]) -> None:
        self.call("POST", "/customers", {"id": CUSTOMER, "email": "vector@example.com"})
        body = {"customerId": CUSTOMER, "planCode": start["plan"]}
        spelled = {"interval": "billingInterval", "promo": "promoCode"}
        body |= {wire: start[name] for name, wire in spelled.items() if name in start}
        if "seats" in start:
            body["initialSeats"] = {seat: whole(count) for seat, count in start["seats"].items()}
        asked = self.ask("POST", "/subscriptions", body)
        if not asked.is_success and wire.refuses_promo_code(asked.json()):
            del body["promoCode"]  # the customer goes on without it (R-DISC-9)
            asked = self.ask("POST", "/subscriptions", body)
        if not asked.is_success:
            raise _refused("POST", "/subscriptions", body, asked)
        made = asked.json()
        if made["status"] not in ("active", "trialing"):
            raise Refused(f"without payments a subscription is active or trialing at once, not {made['status']}")

    def track(self, on: str, feature: str, value: Any) -> SeenEvent:
        return self._event(on, feature, Decimal(value), {"value": wire.number(value)})

    def track_ai(self, on: str, feature: str, model: str, tokens: dict[str, int]) -> SeenEvent:
        used = Decimal(tokens["inputTokens"] + tokens["outputTokens"])
        return self._event(on, feature, used, {"model": model, **tokens})

    def _event(self, on: str, feature: str, value: Decimal, amounts: dict[str, Any]) -> SeenEvent:
        self._events += 1
        body = {"customerId": CUSTOMER, "featureCode": feature, "eventId": f"event-{self._events}", **amounts}
        if on < self._today:
            body["timestamp"] = f"{on}T12:00:00Z"  # it arrives late
        answer = self.ask("POST", "/usage/events", body)
        if not answer.is_success:
            code = answer.json().get("code")
            if not wire.refuses_event(answer.status_code, code, ai="model" in body, late="timestamp" in body):
                raise _refused("POST", "/usage/events", body, answer)
            return SeenEvent(on=on, feature=feature, value=value, accepted=False)
        told = answer.json()
        if told.get("pending"):
            raise Refused(f"POST /usage/events {body}: pending, so nothing tells what it drew")
        return wire.accepted_event(told, on, feature, value)

    def set_seats(self, seat: str, count: int) -> bool:
        """Set a count of seats; False when it is more than the plan lets the customer have."""
        body = {"customerId": CUSTOMER, "featureCode": seat, "count": count}
        answer = self.ask("PUT", "/seats", body)
        if not answer.is_success and not wire.refuses_seats(answer.json().get("code")):
            raise _refused("PUT", "/seats", body, answer)
        return answer.is_success

    def change_plan(self, plan: str, interval: str | None) -> ScheduledChange | None:
        """Change plan or interval; tell what was scheduled, None when it holds at once."""
        body = {"newPlanId": self._plans[plan]} | ({"newBillingInterval": interval} if interval else {})
        done = self.call("POST", f"/subscriptions/{self._subscription}/change-plan", body)
        if done["outcome"] == "completed":
            return None
        if done["outcome"] != "scheduled":
            raise Refused(f"without payments a change of plan is not {done['outcome']}")
        told = self._code_of(done.get("newPlanId") or self._plans[plan])
        later = done.get("newBillingInterval") or interval or self._interval
        return ScheduledChange(told, later, wire.day(done["scheduledFor"]))

    def activate_addon(self, slug: str) -> None:
        self.call("POST", f"/subscriptions/{self._subscription}/addons", {"addonId": self._addons[slug]})

    def deactivate_addon(self, slug: str) -> None:
        self.call("DELETE", f"/subscriptions/{self._subscription}/addons/{self._addons[slug]}")

    def buy_pack(self, code: str) -> None:
        self.call("POST", f"/subscriptions/{self._subscription}/credits", {"creditPackId": self._packs[code]})

    def top_up(self, amount: Any) -> None:
        self.call("POST", f"/subscriptions/{self._subscription}/balance/topup", {"amount": wire.minor(amount)})

    def adjust(self, amount: Any, reason: str) -> None:
        body = {"customerId": CUSTOMER, "amount": wire.minor(amount), "description": reason}
        self.call("POST", "/invoices", body)

    def cancel(self) -> None:
        self.call("POST", f"/subscriptions/{self._subscription}/cancel", {})

    # What is to be seen (rows 52, 54, 55, 98, 106, 109).

    def state(self) -> SeenState:
        """Read the live subscription, or the newest one when none is live."""
        found = self.call("GET", "/subscriptions/active", customerId=CUSTOMER)
        if found is None:
            newest = self.call("GET", "/subscriptions", customerId=CUSTOMER)["data"][0]
            found = self.call("GET", f"/subscriptions/{newest['id']}")
        self._subscription, self._interval = found["id"], found["billingInterval"]
        return wire.state(found, self._code_of(found["plan"]["id"]))

    def redemptions(self) -> dict[str, int]:
        """Tell how often each code was redeemed; codes are the same in upper and lower case (R-DISC-12)."""
        return {one["code"].upper(): one["redemptionCount"] for one in self._pages("/promo-codes")}

    def invoice_ids(self) -> list[str]:
        """List the ids of all invoices, oldest first."""
        found = [one["id"] for one in self._pages("/invoices", customerId=CUSTOMER) if one["status"] != "draft"]
        return found[::-1]

    def invoice(self, invoice_id: str, next_renewal: str | None) -> SeenInvoice:
        return wire.invoice(self.call("GET", f"/invoices/{invoice_id}"), next_renewal)

    def _pages(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        page = self.call("GET", path, limit=100, **query)
        yield from page["data"]
        while page["hasMore"]:
            page = self.call("GET", path, limit=100, cursor=page["nextCursor"], **query)
            yield from page["data"]

    def _code_of(self, plan_id: str) -> str:
        return next(code for code, one in self._plans.items() if one == plan_id)


def _refused(method: str, path: str, body: Any, answer: httpx.Response) -> Refused:
    told = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
    reason = f"{told['code']}: {told['message']}" if "code" in told and "message" in told else answer.text[:300]
    return Refused(f"{method} {path} {'' if body is None else body}: {answer.status_code} {reason}")
