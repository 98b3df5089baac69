"""How the runner's values are spelled on the wire, and how answers are read. `surface` says which calls carry them."""

from decimal import Decimal
from typing import Any

from tests.vectors.observation import SeenEvent, SeenInvoice, SeenLine, SeenState
from tests.vectors.shape import INTERVALS, whole

_CENTS = Decimal(100)


class Refused(AssertionError):
    """The server did not do what a scenario needs."""


# What is sent.


def plan_pool(plan: dict[str, Any]) -> dict[str, Any]:
    """Spell a free plan's pool."""
    pool: dict[str, Any] = {}
    if "included_credits" in plan:
        pool["includedCredits"] = number(plan["included_credits"])
    if "included_balance" in plan:
        pool["includedBalanceDecimal"] = str(plan["included_balance"])
    return pool


def price(plan: dict[str, Any], interval: str) -> dict[str, Any] | None:
    """Spell the whole price of an interval; what is None is not there. None: no such price, as on free plans."""
    if interval not in plan["prices"] or plan.get("free"):
        return None
    offer = plan.get("intro_offers", {}).get(interval)
    balance, granted = plan.get("included_balance"), plan.get("included_credits")
    even = balance is not None and Decimal(balance) * _CENTS % 1 == 0
    return {
        "price": minor(plan["prices"][interval]),
        "isDefault": interval == min(plan["prices"], key=INTERVALS.index),  # the shortest one (R-SUB-2)
        "trialDays": whole(plan.get("trial_days", {}).get(interval, 0)),
        "introOffer": None if offer is None else _intro_offer(offer),
        "includedCredits": None if granted is None else number(granted),
        "includedBalance": minor(balance) if even else None,
        "includedBalanceDecimal": None if balance is None or even else str(balance),
    }


def _intro_offer(offer: dict[str, Any]) -> dict[str, Any]:
    percent = offer["type"] == "percent"
    return {
        "enabled": True,
        "discountType": "percentage" if percent else "amount",
        "discountValue": basis_points(offer["value"]) if percent else minor(offer["value"]),
        "durationCycles": whole(offer["cycles"]),
    }


def granted(feature: dict[str, Any], model: str) -> dict[str, Any]:
    """Spell what a plan grants of a feature; what may count there is sent even if absent, so an edit takes it away."""
    if feature["type"] == "boolean":
        return {"enabled": True}
    seats = feature["type"] == "seats"
    unit = feature.get("seat_price" if seats else "overage_price")
    body: dict[str, Any] = {}
    if seats or model == "metered" or unit is not None:
        body["overage"] = {"enabled": unit is not None} | ({} if unit is None else {"unitPriceDecimal": str(unit)})
    if seats or model == "metered" or "included" in feature:
        body["includedAmount"] = number(feature.get("included", 0))
    if "credits_per_unit" in feature:
        body |= _credits("creditsPerUnit", feature["credits_per_unit"])
    if "unit_price" in feature:
        body["unitPriceDecimal"] = str(feature["unit_price"])
    if "pricing_mode" in feature:
        body |= {"pricingMode": feature["pricing_mode"], "marginPercent": str(feature["margin_percent"])}
    return body


def addon_terms(addon: dict[str, Any]) -> dict[str, Any]:
    """Spell what an add-on grants of its feature."""
    body: dict[str, Any] = {}
    if "included" in addon:
        body["includedUnits"] = number(addon["included"])
    if "credits_per_unit" in addon:
        body |= _credits("creditCost", addon["credits_per_unit"])
    unit = addon.get("overage_price", addon.get("unit_price"))
    if unit is not None:
        body["unitPriceDecimal"] = str(unit)
    return body


def _credits(member: str, cost: Any) -> dict[str, Any]:
    return {member: whole(cost)} if Decimal(cost) % 1 == 0 else {f"{member}Decimal": str(cost)}


def promo_code(promo: dict[str, Any]) -> dict[str, Any]:
    """Spell what a promo code takes off, and for how many billing periods."""
    percent = promo["type"] == "percent"
    cycles = {"once": 1, "repeating": promo.get("cycles"), "forever": None}[promo["duration"]]
    return {
        "discountType": "percentage" if percent else "amount",
        "discountValue": basis_points(promo["value"]) if percent else minor(promo["value"]),
        "durationCycles": None if cycles is None else whole(cycles),
    }


def model_prices(prices: dict[str, Any]) -> dict[str, Any]:
    """Spell the four prices of an AI model."""
    kinds = ("input", "output", "cache_read", "cache_write")
    return {f"{camel(kind)}Price": str(prices[kind]) for kind in kinds if kind in prices}


def minor(amount: Any) -> int:
    """Spell an amount as cents."""
    cents = Decimal(amount) * _CENTS
    if cents % 1 != 0:
        raise Refused(f"{amount} is not a whole number of hundredths, as the wire wants it")
    return int(cents)


basis_points = minor  # hundredths of a percent


def number(value: Any) -> int | float:
    """Spell a quantity as a JSON number: whole, or a fraction that a double keeps as it stands."""
    exact = Decimal(value)
    if exact % 1 == 0:
        return int(exact)
    if Decimal(repr(float(exact))) != exact:
        raise Refused(f"{value} has more digits than a double keeps")
    return float(exact)


def camel(name: str) -> str:
    """Spell a name as the wire does."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


# What is read.


def refuses_event(status: int, code: str | None, *, ai: bool, late: bool = False) -> bool:
    """Tell whether an error is a verdict on the event; any other is the runner's or the server's."""
    if status in (402, 403, 422):
        return True
    codes = {404: ["no_active_subscription"], 400: ["pricing_mode_mismatch"]}
    if ai:  # an unknown model, more cached tokens than input, a feature that has a fixed price
        codes = {404: ["no_active_subscription", "model_not_found"], 400: ["validation_error", "pricing_mode_mismatch"]}
    if late:  # more than 35 days (R-TRACK-6)
        codes[400] = [*codes[400], "validation_error"]
    return code in codes.get(status, ())


def refuses_promo_code(told: dict[str, Any]) -> bool:
    """Tell whether an error says that a checkout does not take the promo code."""
    return told.get("code") == "offer_not_applicable" and told.get("error", {}).get("param") == "promoCode"


def refuses_seats(code: str | None) -> bool:
    """Tell whether an error is a verdict on a count of seats; any other is the runner's or the server's."""
    return code == "seat_limit_exceeded"


def accepted_event(told: dict[str, Any], on: str, feature: str, value: Decimal) -> SeenEvent:
    """Read the answer to an accepted event."""
    drawn, costs = told.get("consumption") or {}, told.get("costs")
    return SeenEvent(
        on=on,
        feature=feature,
        value=value,
        accepted=True,
        deducted=_decimal(drawn.get("deductedDecimal")),
        cost=_decimal(drawn.get("costDecimal")),
        costs={} if costs is None else _token_costs(costs),
    )


def _token_costs(told: dict[str, Any]) -> dict[str, Decimal]:
    return {
        "non_cached_input_tokens": Decimal(told["nonCachedInputTokens"]),
        "input_cost": Decimal(told["inputCost"]),
        "output_cost": Decimal(told["outputCost"]),
        "cache_cost": Decimal(told["cacheReadCost"]) + Decimal(told["cacheWriteCost"]),
        "subtotal": Decimal(told["subtotal"]),
        "total": Decimal(told["total"]),
    }


def state(told: dict[str, Any], plan: str) -> SeenState:
    """Read a subscription; `plan` is its plan's code."""
    applied = [one for one in told.get("offerApplications", ()) if one["status"] == "applied"]
    running = [one for one in applied if one.get("remainingCycles", 1) != 0]
    return SeenState(
        plan=plan,
        status=told["status"],
        next_renewal=_day(told.get("nextBillingDate")),
        trial_ends_on=_day(told.get("trialEndsAt")),
        discount_cycles=running[0].get("remainingCycles") if running else None,
        discounts=tuple(one["name"] for one in running),
        plan_credits=_pool(told, "credits", "planDecimal"),
        purchased_credits=_pool(told, "credits", "purchasedDecimal"),
        plan_balance=_pool(told, "balance", "planDecimal"),
        topup_balance=_pool(told, "balance", "topUpDecimal"),
        overdraft=_pool(told, "balance", "overdraftDecimal"),
    )


def _pool(told: dict[str, Any], pool: str, member: str) -> Decimal | None:
    """Read what a pool has left: 0 of one that the plan's model does not have, None where it is not shown."""
    left = told.get(pool)
    if left is None:
        return None if told.get("consumptionModel") == pool else Decimal(0)
    return _decimal(left.get(member))


def invoice(told: dict[str, Any], next_renewal: str | None) -> SeenInvoice:
    """Read an invoice with its lines."""
    return SeenInvoice(
        on=day(told["issueDate"]),
        type=told["invoiceType"],
        total=major(told["total"]),
        lines=tuple(_line(one) for one in told["lineItems"]),
        amount_due=None if told.get("amountDue") is None else major(told["amountDue"]),
        credited_to_account=None if told.get("creditedToAccount") is None else major(told["creditedToAccount"]),
        days_remaining=told.get("daysRemaining"),
        days_in_cycle=told.get("daysInCycle"),
        next_renewal=next_renewal,
        final=told.get("final"),
    )


# Texts of a line that say nothing of what it bills.
_TECHNICAL = {"id", "kind", "lineType", "chargeType", "quantityDecimal", "unitPriceDecimal", "usedDecimal"}


def _line(told: dict[str, Any]) -> SeenLine:
    words = {value: None for name, value in told.items() if isinstance(value, str) and name not in _TECHNICAL}
    return SeenLine(
        type=told["kind"],
        amount=major(told["amount"]),
        quantity=_decimal(told.get("quantityDecimal")),
        unit_amount=_decimal(told.get("unitPriceDecimal")),
        words=" | ".join(words),
    )


def major(cents: int) -> Decimal:
    """Read cents."""
    return Decimal(cents) / _CENTS


def day(instant: str) -> str:
    """Read the day of an instant; all instants of the API are UTC."""
    return instant[:10]


def _day(instant: str | None) -> str | None:
    return None if instant is None else day(instant)


def _decimal(told: Any) -> Decimal | None:
    return None if told is None else Decimal(str(told))
