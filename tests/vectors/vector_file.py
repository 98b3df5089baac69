"""A file of vectors: read, and checked against the closed format before anything runs.

Every step, member of `given` and area of `then` must be one that the format names; anything else is an error of the
file, told with its place. Scalars of `then` that the format does not name are documented intermediate figures and pass.
Numbers stay exact: a JSON number with a fraction is read as a decimal. The module knows nothing of the product.
"""

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from tests.vectors.shape import (
    INTERVALS,
    Shape,
    amount,
    count,
    day,
    either,
    flag,
    listing,
    mapping,
    nullable,
    positive,
    record,
    scalar,
    text,
    word,
)

SCENARIO = "scenario"
CONFLICT = "conflict"
KINDS = (SCENARIO, "fact", "boundary", "derived", CONFLICT)
# What a switch may say, its default first.
SWITCHES = {
    "plan_change_day_count": ("30/360", "actual"),
    "partial_period_day_count": ("actual",),
    "upgrade_charge": ("prorated", "full"),
}
TAIL = re.compile(r"last( \w+)? only")
MODELS = ("metered", "credits", "balance")

_INCLUDED: dict[str, Shape] = {"included": positive}
_FEATURES: dict[str, dict[str, Shape]] = {
    "boolean": {},
    "seats": {"seat_price": positive},
    "metered": {
        "overage_price": positive,
        "credits_per_unit": positive,
        "unit_price": positive,
        "pricing_mode": word("ai_model"),
        "margin_percent": positive,
    },
}


def _feature(value: Any, at: str) -> Iterator[str]:
    kind = str(value.get("type")) if isinstance(value, dict) else ""
    optional = {**_INCLUDED, **_FEATURES.get(kind, {})}
    yield from record({"type": word(*_FEATURES)}, optional)(value, at)
    if kind in _FEATURES and ("pricing_mode" in value) != ("margin_percent" in value):
        yield f"{at}: pricing_mode and margin_percent go together"


_intro_offer = record({"type": word("percent", "fixed"), "value": positive, "cycles": count}, {})
_plan = record(
    {"model": word(*MODELS), "prices": mapping(positive, INTERVALS), "features": mapping(_feature)},
    {
        "free": flag,
        "included_credits": positive,
        "included_balance": positive,
        "trial_days": mapping(count, INTERVALS),
        "intro_offers": mapping(_intro_offer, INTERVALS),
    },
)
_addon = record(
    {"base_price": positive, "feature": text, "model": word("boolean", *MODELS)},
    {"included": positive, "overage_price": positive, "credits_per_unit": positive, "unit_price": positive},
)
_promo_code = record(
    {"type": word("percent", "fixed"), "value": positive, "duration": word("once", "repeating", "forever")},
    {"cycles": count},
)
_given = record(
    {
        "plans": mapping(_plan),
        "subscription": record(
            {"plan": text, "start": day},
            {"interval": word(*INTERVALS), "seats": mapping(count), "promo": text},
        ),
    },
    {
        "addons": mapping(_addon),
        "promo_codes": mapping(_promo_code),
        "credit_packs": mapping(record({"credits": positive, "price": positive}, {"price_cents": count})),
        "ai_models": mapping(
            record({"input": positive, "output": positive}, {"cache_read": positive, "cache_write": positive})
        ),
    },
)
_TOKENS = {"inputTokens": count, "outputTokens": count}
# What each step says beside `on` and `do`: what it must, and what it may.
STEPS: dict[str, tuple[dict[str, Shape], dict[str, Shape]]] = {
    "advance": ({}, {}),
    "track": ({"feature": text, "value": positive}, {}),
    "track_ai": (
        {"feature": text, "model": text, **_TOKENS},
        {"cacheReadTokens": count, "cacheWriteTokens": count, "times": count},
    ),
    "set_seats": ({"seat": text, "count": count}, {}),
    "edit_plan": ({"plan": text, "set": mapping(lambda *_: iter(()))}, {}),
    "change_plan": ({"plan": text}, {"interval": word(*INTERVALS)}),
    "activate_addon": ({"addon": text}, {}),
    "deactivate_addon": ({"addon": text}, {}),
    "buy_pack": ({"pack": text}, {}),
    "top_up": ({"amount": amount}, {"reason": text}),
    "adjust": ({"amount": amount}, {"reason": text}),
    "cancel": ({}, {}),
}

USAGE = ("track", "track_ai")  # its day may be before that of the step that goes before it: then it arrives late


def _step(value: Any, at: str) -> Iterator[str]:
    do = value.get("do") if isinstance(value, dict) else None
    if do not in STEPS:
        yield f"{at}: {do!r} is no step; known: {', '.join(STEPS)}"
        return
    must, may = STEPS[do]
    yield from record({"on": day, "do": text, **must}, may)(value, at)


_line = record({"type": text, "amount": amount}, {"quantity": amount, "unit_amount": amount}, rest=scalar)
_FIGURES_OF_INVOICE: dict[str, Shape] = {
    "amount_due": amount,
    "credited_to_account": amount,
    "days_remaining": count,
    "days_in_cycle": count,
    "days_in_period": count,
    "next_renewal": nullable(day),
}
_invoice = record(
    {"on": day, "type": text, "total": amount},
    {"lines": listing(_line), **_FIGURES_OF_INVOICE, "final": flag},
    rest=scalar,
)
_refused = record({"on": day, "blocked": text}, {"value": nullable(positive)}, rest=scalar)
_scheduled = record({"on": day, "scheduled": text, "effective": day}, {"interval": nullable(word(*INTERVALS))})
STATE_AMOUNTS = ("plan_credits", "purchased_credits", "plan_balance", "topup_balance", "overdraft")


def _logged(value: Any, at: str) -> Iterator[str]:
    scheduled = isinstance(value, dict) and "scheduled" in value
    yield from (_scheduled if scheduled else _refused)(value, at)


def _tail(value: Any, at: str) -> Iterator[str]:
    if not isinstance(value, str) or not TAIL.fullmatch(value):
        yield f"{at}: {value!r} is not understood; known: last two only"


_then = record(
    {},
    {
        "invoices": listing(_invoice),
        "invoices_are": _tail,
        "invoice_lines": listing(_line),
        "total": nullable(amount),
        "invoice_type": text,
        "invoice_date": day,
        "no_invoice_on": listing(day),
        "state": record({}, {"plan": text, "status": text, **dict.fromkeys(STATE_AMOUNTS, amount)}),
        "log": listing(_logged),
        "accepted": listing(flag),
        "deducted": either(listing(nullable(amount)), amount),
        "event_costs": listing(nullable(amount)),
        **_FIGURES_OF_INVOICE,
        "next_full_invoice": record({"on": day, "total": amount}, {}),
        "status_after": text,
        "plan_balance_after": amount,
        "plan_credits_after": amount,
        "promo_ignored": text,
        "remaining_discount_cycles_after": nullable(count),
        "trial_ends_on": nullable(day),
    },
    rest=scalar,
)


def _under_switch(value: Any, at: str) -> Iterator[str]:
    """Look at what holds under a switch: a list of invoices, or an object like `then`."""
    yield from (listing(_invoice) if isinstance(value, list) else _then)(value, at)


_scenario = record(
    {"id": text, "kind": word(*KINDS), "given": _given, "when": record({"steps": listing(_step)}, {}), "then": _then},
    {
        "area": text,
        "source_heading": text,
        "note": text,
        "depends_on": listing(text),
        "then_if": mapping(_under_switch, tuple(f"{name}={value}" for name in SWITCHES for value in SWITCHES[name])),
    },
)


@dataclass(frozen=True)
class Vector:
    """One vector; `faults` says what is wrong with it, and then it cannot be run."""

    id: str
    kind: str
    body: dict[str, Any]
    faults: tuple[str, ...] = ()

    @property
    def switches(self) -> list[str]:
        """List the policy switches under which it is run once more, `name=value`."""
        return [] if self.faults else list(self.body.get("then_if", {}))

    def then(self, switch: str | None = None) -> dict[str, Any]:
        """Tell what is expected, by default or under a switch."""
        then: dict[str, Any] = self.body["then"]
        if switch is None:
            return then
        under = self.body["then_if"][switch]
        under = {"invoices": under} if isinstance(under, list) else under
        tail = {"invoices_are": then["invoices_are"]} if "invoices_are" in then else {}
        return {**tail, **under}


@dataclass(frozen=True)
class VectorFile:
    """A file of vectors; `policy` is what holds by default, `faults` is wrong with the file as a whole."""

    path: Path
    vectors: tuple[Vector, ...]
    policy: dict[str, str]
    faults: tuple[str, ...] = ()


class NotAVectorFile(Exception):
    """The file cannot be read at all."""


def read_file(path: Path) -> VectorFile:
    """Read and check a file. Raises NotAVectorFile when it is not JSON with a list `vectors`."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise NotAVectorFile(f"{path}: {error}") from error
    if not isinstance(whole, dict) or not isinstance(whole.get("vectors"), list):
        raise NotAVectorFile(f"{path}: there is no list 'vectors'")
    told = whole.get("policy_defaults", {})
    policy = {name: values[0] for name, values in SWITCHES.items()} | (told if isinstance(told, dict) else {})
    faults = [] if isinstance(told, dict) else ["policy_defaults: an object is expected"]
    faults += [
        f"policy_defaults: {name}={value} is unknown"
        for name, value in policy.items()
        if value not in SWITCHES.get(name, ())
    ]
    if str(whole.get("currency", "USD")).upper() != "USD":
        faults.append(f"currency: {whole['currency']!r} is unknown; known: USD")
    vectors = [check(one, index) for index, one in enumerate(whole["vectors"])]
    ids = [one.id for one in vectors]
    faults += [f"{one}: the id stands twice" for one in sorted(set(ids)) if ids.count(one) > 1]
    return VectorFile(path, tuple(vectors), policy, tuple(faults))


def check(value: Any, index: int = 0) -> Vector:
    """Check one vector; only a scenario's members are looked at."""
    body = value if isinstance(value, dict) else {}
    name, kind = str(body.get("id", f"vectors[{index}]")), str(body.get("kind"))
    if kind in KINDS and kind != SCENARIO:
        return Vector(name, kind, body)
    faults = list(_scenario(value, name)) or list(_references(body, name))
    return Vector(name, kind, body, tuple(faults))


def _references(body: dict[str, Any], at: str) -> Iterator[str]:
    """Look at what names something else: it must be there. Days must not go back, but of usage, which may be late."""
    given, steps = body["given"], body["when"]["steps"]
    yield from _given_references(given, f"{at}.given")
    plans = copy.deepcopy(given["plans"])
    before = given["subscription"]["start"]
    kinds: dict[str, set[str]] = {}
    for index, step in enumerate(steps):
        here = f"{at}.when.steps[{index}]"
        earliest = given["subscription"]["start"] if step["do"] in USAGE else before
        if step["on"] < earliest:
            yield f"{here}: {step['on']} is before {earliest}"
        before = max(before, step["on"])
        # What was taken off a plan stays with its customers until renewal, so it may still be named (R-BH-1).
        for code, found in feature_kinds(plans, given.get("addons", {})).items():
            kinds.setdefault(code, set()).update(found)
        named = {
            "plan": plans,
            "feature": [code for code, found in kinds.items() if "metered" in found],
            "seat": [code for code, found in kinds.items() if "seats" in found],
            "addon": given.get("addons", {}),
            "pack": given.get("credit_packs", {}),
        }
        for member, known in named.items():
            if member in step and step[member] not in known:
                yield f"{here}: there is no {member} {step[member]}"
        if step["do"] == "edit_plan" and step["plan"] in plans:
            try:
                plans[step["plan"]] = edited(plans[step["plan"]], step["set"])
            except KeyError as error:
                yield f"{here}: {error.args[0]} is not there to be set"
            faults = list(_plan(plans[step["plan"]], f"{here}: after it, {step['plan']}"))
            yield from faults
            if faults:
                return  # what follows speaks of a plan that cannot be


def _given_references(given: dict[str, Any], at: str) -> Iterator[str]:
    plans, start = given["plans"], given["subscription"]
    for code, found in feature_kinds(plans, given.get("addons", {})).items():
        if len(found) > 1:
            yield f"{at}: the feature {code} is {' and '.join(sorted(found))}"
    plan = plans.get(start["plan"])
    if plan is None:
        yield f"{at}.subscription: there is no plan {start['plan']}"
    elif "interval" in start and start["interval"] not in plan["prices"] and not plan.get("free"):
        yield f"{at}.subscription: the plan {start['plan']} has no {start['interval']} price"
    for code, plan in plans.items():
        if plan.get("free") and any(Decimal(price) for price in plan["prices"].values()):
            yield f"{at}.plans.{code}: a free plan has a price"
    for seat in start.get("seats", {}):
        if "seats" not in feature_kinds(plans, {}).get(seat, ()):
            yield f"{at}.subscription: there is no seat {seat}"
    codes = {code.upper() for code in given.get("promo_codes", {})}  # the same in upper and lower case (R-DISC-12)
    if "promo" in start and start["promo"].upper() not in codes:
        yield f"{at}.subscription: there is no promo code {start['promo']}"
    for code, pack in given.get("credit_packs", {}).items():
        if "price_cents" in pack and Decimal(pack["price_cents"]) != Decimal(pack["price"]) * 100:
            yield f"{at}.credit_packs.{code}: price and price_cents differ"
    for code, promo in given.get("promo_codes", {}).items():
        if ("cycles" in promo) != (promo["duration"] == "repeating"):
            yield f"{at}.promo_codes.{code}: cycles go with duration repeating"


def feature_kinds(plans: dict[str, Any], addons: dict[str, Any]) -> dict[str, set[str]]:
    """Tell of each feature as which types it appears; an add-on's is boolean or metered, as its model is."""
    kinds: dict[str, set[str]] = {}
    for plan in plans.values():
        for code, feature in plan["features"].items():
            kinds.setdefault(code, set()).add(feature["type"])
    for addon in addons.values():
        kinds.setdefault(addon["feature"], set()).add("boolean" if addon["model"] == "boolean" else "metered")
    return kinds


def edited(plan: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Set dotted paths in a copy of a plan; null takes a member away. Raises KeyError where a path leads nowhere."""
    after = copy.deepcopy(plan)
    for path, value in changes.items():
        *folders, last = path.split(".")
        place = after
        for name in folders:
            place = place.setdefault(name, {})
            if not isinstance(place, dict):
                raise KeyError(path)
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    return after
