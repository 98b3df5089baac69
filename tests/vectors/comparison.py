"""The comparison of what a vector expects with what a run showed: exact, and of everything that the format names.

It tells the differences, the amounts that it looked at (the places where one changed amount must be noticed), and the
intermediate figures that no answer of the API shows, which are a hand-written test's.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.vectors.observation import Observation, SeenInvoice, SeenLine
from tests.vectors.shape import decimal_of
from tests.vectors.vector_file import STATE_AMOUNTS

Path = tuple[str | int, ...]
Figure = Callable[[Observation], Decimal | None]

# What only annotates, or says which invoice is meant.
_NOTES = ("invoices_are", "invoice_date", "note")
_INVOICE_AMOUNTS = ("total", "amount_due", "credited_to_account", "days_remaining", "days_in_cycle", "days_in_period")
_INVOICE_WORDS = ("on", "type", "next_renewal", "final")
_INVOICE_NOTES = ("reason", "note")
_LINE_AMOUNTS = ("amount", "quantity", "unit_amount")
_LINE_MEMBERS = ("type", "description", *_LINE_AMOUNTS)
_LOG_MEMBERS = ("on", "blocked", "value", "scheduled", "interval", "effective")


def _pool(name: str) -> Figure:
    return lambda seen: getattr(seen.after, name)


def _drawn(seen: Observation) -> Decimal | None:
    found = [event.deducted for event in seen.events if event.accepted]
    return None if None in found else sum((one for one in found if one is not None), Decimal(0))


def _bought(seen: Observation) -> Decimal | None:
    before, after = seen.before.purchased_credits, seen.after.purchased_credits
    return None if after is None else after - (before or 0)


def _token_cost(name: str) -> Figure:
    return lambda seen: seen.events[0].costs.get(name)


# When an answer of the API shows a figure.
def _always(_: Observation) -> bool:
    return True


def _without_events(seen: Observation) -> bool:
    return not seen.events


def _of_one_event(seen: Observation) -> bool:
    return len(seen.events) == 1


# Figures that stand in `then` as they read: when an answer of the API shows them, and where.
FIGURES: dict[str, tuple[Callable[[Observation], bool], Figure]] = {
    "plan_balance_after": (_always, _pool("plan_balance")),
    "plan_credits_after": (_always, _pool("plan_credits")),
    "topup_balance": (_always, _pool("topup_balance")),
    "credits_consumed": (_always, _drawn),
    "deducted": (_always, _drawn),
    "invoice_count": (_always, lambda seen: Decimal(len(seen.invoices))),
    # Where usage drew on them as well, what is left does not tell what was bought.
    "purchased_credits_delta": (_without_events, _bought),
    "total_cost": (_of_one_event, _token_cost("total")),
    **{
        name: (_of_one_event, _token_cost(name))
        for name in ("input_cost", "output_cost", "cache_cost", "subtotal", "non_cached_input_tokens")
    },
}


def _prorated(kind: str, sign: int) -> Callable[[SeenInvoice], Decimal]:
    return lambda invoice: sign * sum((line.amount for line in invoice.lines if line.type == kind), Decimal(0))


# Figures of the invoice that `invoice_date` names, beside its own members.
_SUBJECT_FIGURES: dict[str, Callable[[SeenInvoice], Decimal]] = {
    "total_credit": _prorated("proration_credit", -1),
    "total_charge": _prorated("proration_charge", 1),
}


@dataclass
class Comparison:
    """Differences, amounts and words that were looked at (paths into `then`), and figures that nothing shows."""

    then: dict[str, Any]
    seen: Observation
    differences: list[str] = field(default_factory=list)
    amounts: list[Path] = field(default_factory=list)
    words: list[Path] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    asserted: int = 0

    def equal(self, path: Path, wanted: Any, found: Any, *, stands: bool = True) -> None:
        """Expect a word, a day, or nothing; where it `stands` at the path, another can be put there."""
        self.asserted += 1
        if stands:
            self.words.append(path)
        if wanted != found:
            self.differences.append(f"{_spell(path)}: expected {wanted!r}, found {found!r}")

    def same(self, path: Path, wanted: Any, found: Decimal | int | None) -> None:
        """Expect an amount: the number counts, not its spelling."""
        self.asserted += 1
        expected = decimal_of(wanted)
        if expected is not None:
            self.amounts.append(path)
        if found != expected:
            self.differences.append(f"{_spell(path)}: expected {wanted}, found {found}")


def compare(then: dict[str, Any], seen: Observation) -> Comparison:
    """Compare a `then` with what was seen."""
    found = Comparison(then, seen)
    if "invoices" in then:
        _invoices(found)
    _subject(found)
    for index, day in enumerate(then.get("no_invoice_on", ())):
        bearing = [one.type for one in seen.invoices if one.on == day]
        found.equal(("no_invoice_on", index), [], bearing, stands=False)
    for name, wanted in then.get("state", {}).items():
        compared = found.same if name in STATE_AMOUNTS else found.equal
        compared(("state", name), wanted, getattr(seen.after, name))
    _log(found)
    _events(found)
    _as_they_read(found)
    return found


def _invoices(found: Comparison) -> None:
    wanted, shown = found.then["invoices"], found.seen.invoices
    if "invoices_are" in found.then:
        shown = shown[max(0, len(shown) - len(wanted)) :]
    found.asserted += 1
    if len(wanted) != len(shown):
        spelled = ", ".join(f"{one.on} {one.type} {one.total}" for one in shown) or "none"
        found.differences.append(f"invoices: expected {len(wanted)}, found {len(shown)}: {spelled}")
    for index, (one, invoice) in enumerate(zip(wanted, shown, strict=False)):
        _invoice(found, ("invoices", index), one, invoice)


def _invoice(found: Comparison, path: Path, wanted: dict[str, Any], invoice: SeenInvoice) -> None:
    for name, value in wanted.items():
        here = (*path, name)
        if name in _INVOICE_WORDS:
            found.equal(here, value, getattr(invoice, name))
        elif name in _INVOICE_AMOUNTS:
            found.same(here, value, getattr(invoice, "days_in_cycle" if name == "days_in_period" else name))
        elif name == "lines":
            _lines(found, here, value, invoice.lines)
        elif name not in _INVOICE_NOTES:
            found.unseen.append(_spell(here))


def _lines(found: Comparison, path: Path, wanted: list[dict[str, Any]], lines: Sequence[SeenLine]) -> None:
    """Compare as multisets: each expected line must have one of its own."""
    found.asserted += 1
    for index, one in enumerate(wanted):
        for name in one:
            if name in _LINE_AMOUNTS:
                found.amounts.append((*path, index, name))
            elif name not in _LINE_MEMBERS:
                found.unseen.append(_spell((*path, index, name)))
    fits = [[at for at, line in enumerate(lines) if _fits(one, line, found.seen.names)] for one in wanted]
    held = _matched(fits)
    missing = [_told(one) for index, one in enumerate(wanted) if index not in held.values()]
    beyond = [_shown(line) for at, line in enumerate(lines) if at not in held]
    if missing or beyond:
        found.differences.append(
            f"{_spell(path)}: missing {'; '.join(missing) or 'none'}; not expected {'; '.join(beyond) or 'none'}"
        )


def _fits(wanted: dict[str, Any], line: SeenLine, names: frozenset[str]) -> bool:
    if wanted["type"] != line.type:
        return False
    if any(name in wanted and decimal_of(wanted[name]) != getattr(line, name) for name in _LINE_AMOUNTS):
        return False
    described = str(wanted.get("description", ""))
    named = described.removeprefix("plan:").removeprefix("seats:")
    return named not in names or tells(line.words, named)


def tells(words: str, name: str) -> bool:
    """Tell whether words name an object: its code stands in them, not as a part of a longer one."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", words, flags=re.IGNORECASE) is not None


def _matched(fits: list[list[int]]) -> dict[int, int]:
    """Match as many expected lines as can be, each to a line of its own: line to expected one (augmenting paths)."""
    held: dict[int, int] = {}

    def place(index: int, tried: set[int]) -> bool:
        for at in fits[index]:
            if at not in tried:
                tried.add(at)
                if at not in held or place(held[at], tried):
                    held[at] = index
                    return True
        return False

    for index in range(len(fits)):
        place(index, set())
    return held


def _subject(found: Comparison) -> None:
    """Compare the members at the top that speak of one invoice: that of `invoice_date`, or the last one."""
    then, invoices = found.then, found.seen.invoices
    wanted = {name: then[name] for name in (*_INVOICE_AMOUNTS, *_SUBJECT_FIGURES) if then.get(name) is not None}
    if then.get("invoice_lines") or ("invoice_lines" in then and "total" in wanted):
        wanted["lines"] = then["invoice_lines"]
    if "invoice_type" in then:
        wanted["type"] = then["invoice_type"]
    if not wanted:
        return
    if "invoice_date" in then:
        invoices = tuple(one for one in invoices if one.on == then["invoice_date"])
    else:
        invoices = invoices[-1:]
    if not invoices:
        found.asserted += 1
        found.differences.append(f"there is no invoice of {then.get('invoice_date', 'any day')}")
        return
    tried = [_against(found, wanted, one) for one in invoices]
    best = min(tried, key=lambda one: len(one.differences))
    found.differences += best.differences
    found.amounts += best.amounts
    found.words += best.words
    found.asserted += best.asserted


def _against(found: Comparison, wanted: dict[str, Any], invoice: SeenInvoice) -> Comparison:
    tried = Comparison(found.then, found.seen)
    for name, value in wanted.items():
        if name == "lines":
            _lines(tried, ("invoice_lines",), value, invoice.lines)
        elif name == "type":
            tried.equal(("invoice_type",), value, invoice.type)
        elif name in _SUBJECT_FIGURES:
            tried.same((name,), value, _SUBJECT_FIGURES[name](invoice))
        else:
            _invoice(tried, (), {name: value}, invoice)
    return tried


def _log(found: Comparison) -> None:
    if "log" not in found.then:
        return
    wanted, shown = found.then["log"], found.seen.log
    found.equal(("log", "entries"), len(wanted), len(shown), stands=False)
    for index, (one, entry) in enumerate(zip(wanted, shown, strict=False)):
        for name, value in one.items():
            path = ("log", index, name)
            if name == "value":
                found.same(path, value, decimal_of(entry.get(name)))
            elif name in _LOG_MEMBERS:
                found.equal(path, value, entry.get(name))
            else:
                found.unseen.append(_spell(path))


def _events(found: Comparison) -> None:
    then, events = found.then, found.seen.events
    if "accepted" in then:
        found.equal(("accepted",), then["accepted"], [event.accepted for event in events])
    for name, member in (("deducted", "deducted"), ("event_costs", "cost")):
        if not isinstance(then.get(name), list):
            continue
        found.equal((name, "events"), len(then[name]), len(events), stands=False)
        for index, (wanted, event) in enumerate(zip(then[name], events, strict=False)):
            shown = getattr(event, member)
            # What was refused drew nothing: 0, or no figure at all.
            found.same((name, index), wanted, (wanted and Decimal(0)) if not event.accepted and not shown else shown)


def _as_they_read(found: Comparison) -> None:
    then, seen = found.then, found.seen
    if "next_full_invoice" in then:
        wanted, invoice = then["next_full_invoice"], seen.next_full_invoice
        found.equal(("next_full_invoice", "on"), wanted["on"], None if invoice is None else invoice.on)
        found.same(("next_full_invoice", "total"), wanted["total"], None if invoice is None else invoice.total)
    words = {
        "next_renewal": seen.after.next_renewal,
        "status_after": seen.after.status,
        "trial_ends_on": seen.trial_ends_on,
    }
    for name, shown in words.items():
        if name in then:
            found.equal((name,), then[name], shown)
    if "remaining_discount_cycles_after" in then:
        wanted, cycles = then["remaining_discount_cycles_after"], seen.after.discount_cycles
        if wanted is not None and not seen.after.discounts:
            cycles = 0  # none runs any more; null is also said of one that runs for ever
        found.same(("remaining_discount_cycles_after",), wanted, cycles)
    if "promo_ignored" in then:
        code = then["promo_ignored"].upper()
        runs = code in [name.upper() for name in seen.after.discounts]
        found.equal(("promo_ignored",), (0, False), (seen.redemptions.get(code), runs))
    if "promo_redemptions" in then:
        found.same(("promo_redemptions",), then["promo_redemptions"], sum(seen.redemptions.values()))
    if then.get("active_discount_after", "") is None:
        found.equal(("active_discount_after",), (), seen.after.discounts, stands=False)
    for name, value in then.items():
        if name in FIGURES and not isinstance(value, list) and FIGURES[name][0](seen):
            found.same((name,), value, FIGURES[name][1](seen))
        elif name not in _LOOKED_AT or (name == "active_discount_after" and value is not None):
            found.unseen.append(name)


# Members of `then` that the functions above have looked at.
_LOOKED_AT = (
    *_NOTES,
    *_INVOICE_AMOUNTS,
    *_SUBJECT_FIGURES,
    "invoices",
    "invoice_lines",
    "invoice_type",
    "no_invoice_on",
    "state",
    "log",
    "accepted",
    "deducted",
    "event_costs",
    "next_full_invoice",
    "next_renewal",
    "status_after",
    "trial_ends_on",
    "remaining_discount_cycles_after",
    "promo_ignored",
    "promo_redemptions",
    "active_discount_after",
)


def _spell(path: Path) -> str:
    return ".".join(map(str, path))


def _told(wanted: dict[str, Any]) -> str:
    return " ".join(str(wanted[name]) for name in _LINE_MEMBERS if name in wanted)


def _shown(line: SeenLine) -> str:
    counted = "" if line.quantity is None else f" ({line.quantity} at {line.unit_amount})"
    return f"{line.type} {line.amount}{counted} «{line.words}»"
