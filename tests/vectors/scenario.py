"""Running a scenario: what a vector gives is made, its steps are done in order, and what shows is written down.

Before a step the test clock goes to the step's day, so that every boundary up to and including it is billed. It goes
there in one move; but where the next renewal is expected of invoices, in moves of at most 28 days: then at most one
monthly boundary lies in a move, and the renewal that the subscription shows after it is that of the move's invoice.
Usage of a day that is over by then arrives late: it is sent on the clock's day, with the noon of its own.
"""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from tests.vectors.observation import Observation, SeenEvent, SeenInvoice, SeenState
from tests.vectors.shape import whole
from tests.vectors.surface import Surface
from tests.vectors.vector_file import Vector, edited, feature_kinds

DAYS_AT_ONCE = 28
_MONTHS = {"monthly": 1, "quarterly": 3, "yearly": 12}
_TOKENS = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")


class Scenario:
    """One run of a vector's scenario in an organization of its own."""

    def __init__(self, surface: Surface, vector: Vector, switch: str | None, policy: dict[str, str]) -> None:
        self._surface = surface
        self._given: dict[str, Any] = vector.body["given"]
        self._steps: list[dict[str, Any]] = vector.body["when"]["steps"]
        self._then = vector.then(switch)
        self._policy = policy
        self._plans: dict[str, Any] = dict(self._given["plans"])
        self._today = date.fromisoformat(self._given["subscription"]["start"])
        self._watched = any("next_renewal" in invoice for invoice in self._then.get("invoices", ()))
        self._renewals: dict[str, str | None] = {}  # an invoice's id: what the subscription showed when it appeared
        self._events: list[SeenEvent] = []
        self._log: list[dict[str, str | None]] = []
        self._trial_ends_on: str | None = None

    def run(self) -> Observation:
        """Do it all. Raises Refused where the server does not do what the scenario needs."""
        self._surface.clock_to(self._today.isoformat())
        if self._policy:
            self._surface.set_policy(self._policy)
        self._make()
        self._surface.subscribe(self._start())
        before = after = self._look()
        for step in self._steps:
            self._advance(step["on"])
            self._do(step)
            after = self._look()
        invoices = self._invoices()
        return Observation(
            invoices=invoices,
            events=tuple(self._events),
            log=tuple(self._log),
            before=before,
            after=after,
            trial_ends_on=self._trial_ends_on,
            redemptions=self._surface.redemptions() if self._given.get("promo_codes") else {},
            next_full_invoice=self._next_full_invoice(len(invoices)),
            names=self._names(),
        )

    def _make(self) -> None:
        """Make the catalog: features first, then what names them."""
        given, surface = self._given, self._surface
        addons = given.get("addons", {})
        for code, (kind,) in feature_kinds(self._plans, addons).items():
            surface.add_feature(code, kind)
        for code in sorted(self._plans, key=self._cheapness):
            surface.add_plan(code, self._plans[code])
        makers: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "addons": surface.add_addon,
            "promo_codes": surface.add_promo_code,
            "credit_packs": surface.add_credit_pack,
            "ai_models": surface.set_ai_model,
        }
        for member, make in makers.items():
            for name, value in given.get(member, {}).items():
                make(name, value)
        if len(self._plans) > 1 or any(step["do"] == "change_plan" for step in self._steps):
            surface.add_plan_group(sorted(self._plans, key=self._cheapness))

    def _start(self) -> dict[str, Any]:
        """Tell how the subscription starts; on a free plan without the interval, which it does not have."""
        start = self._given["subscription"]
        free = self._plans[start["plan"]].get("free")
        return {name: value for name, value in start.items() if not (free and name == "interval")}

    def _cheapness(self, code: str) -> Decimal:
        """Reckon a plan's lowest price a month; a free plan has none."""
        prices = self._plans[code]["prices"]
        return min((Decimal(price) / _MONTHS[interval] for interval, price in prices.items()), default=Decimal(-1))

    def _advance(self, on: str) -> None:
        target = date.fromisoformat(on)
        while self._today < target:
            self._today = min(target, self._today + timedelta(days=DAYS_AT_ONCE)) if self._watched else target
            self._surface.clock_to(self._today.isoformat())
            self._look()

    def _look(self) -> SeenState:
        state = self._surface.state()
        self._trial_ends_on = state.trial_ends_on or self._trial_ends_on
        for invoice in self._surface.invoice_ids():
            self._renewals.setdefault(invoice, state.next_renewal)
        return state

    def _do(self, step: dict[str, Any]) -> None:
        surface, on = self._surface, step["on"]
        match step["do"]:
            case "advance":
                pass
            case "track":
                self._tracked(surface.track(on, step["feature"], step["value"]))
            case "track_ai":
                tokens = {name: whole(step[name]) for name in _TOKENS if name in step}
                for _ in range(whole(step.get("times", 1))):
                    self._tracked(surface.track_ai(on, step["feature"], step["model"], tokens))
            case "set_seats":
                self._set_seats(step)
            case "edit_plan":
                before = self._plans[step["plan"]]
                self._plans[step["plan"]] = edited(before, step["set"])
                surface.edit_plan(step["plan"], before, self._plans[step["plan"]])
            case "change_plan":
                self._change_plan(step)
            case "activate_addon":
                surface.activate_addon(step["addon"])
            case "deactivate_addon":
                surface.deactivate_addon(step["addon"])
            case "buy_pack":
                surface.buy_pack(step["pack"])
            case "top_up":
                surface.top_up(step["amount"])
            case "adjust":
                surface.adjust(step["amount"], step.get("reason", "adjustment"))
            case "cancel":
                surface.cancel()
            case other:
                raise AssertionError(f"the file's check let the step {other!r} pass")

    def _tracked(self, event: SeenEvent) -> None:
        self._events.append(event)
        if not event.accepted:
            self._log.append({"on": event.on, "blocked": event.feature, "value": str(event.value)})

    def _set_seats(self, step: dict[str, Any]) -> None:
        """Set seats; more than the plan lets the customer have are a refused event (R-SEAT-14)."""
        if not self._surface.set_seats(step["seat"], whole(step["count"])):
            self._log.append({"on": step["on"], "blocked": step["seat"], "value": str(step["count"])})

    def _change_plan(self, step: dict[str, Any]) -> None:
        to_free = self._plans[step["plan"]].get("free")  # a free plan has no interval, whatever the step says
        later = self._surface.change_plan(step["plan"], None if to_free else step.get("interval"))
        if later is not None:
            interval = None if self._plans[later.plan].get("free") else later.interval
            entry = {"on": step["on"], "scheduled": later.plan, "interval": interval, "effective": later.effective}
            self._log.append(entry)

    def _invoices(self) -> tuple[SeenInvoice, ...]:
        return tuple(self._surface.invoice(one, renewal) for one, renewal in self._renewals.items())

    def _next_full_invoice(self, seen: int) -> SeenInvoice | None:
        """Go on to the day of the next full invoice and find the first recurring one since."""
        if "next_full_invoice" not in self._then:
            return None
        self._advance(self._then["next_full_invoice"]["on"])
        return next((one for one in self._invoices()[seen:] if one.type == "recurring"), None)

    def _names(self) -> frozenset[str]:
        members = ("addons", "promo_codes", "credit_packs")
        features = feature_kinds(self._plans, self._given.get("addons", {}))
        return frozenset({*self._plans, *features, *(name for one in members for name in self._given.get(one, {}))})
