"""What changes of plan and add-ons owe: shares of what was paid and of what is bought, by a count of its own. Pure.

Source: R-CHG-4, R-CHG-5, R-CHG-9, R-CHG-13, R-PRO-1 to R-PRO-6, R-ADDON-3, R-ADDON-13, R-DISC-7.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Final

from meterline.audit.frozen import MONTHS, FrozenTerms, Row
from meterline.audit.owed import DAY_MS, Owed, Seller, off, rounded, shown
from meterline.audit.pool import month_of
from meterline.audit.rows import Books

# Lines that pay for seats and add-ons of a period.
_PARTS: Final = frozenset({"seats", "addon_base", "proration_charge", "addon_proration"})
_CREDIT: Final = "proration_credit"
_CHARGE: Final = "proration_charge"


class Changer:
    """Changes of plan, and add-ons that were switched on."""

    def __init__(self, books: Books, terms: FrozenTerms, seller: Seller) -> None:
        self._terms = terms
        self._seller = seller
        self._addons = {row["id"]: row for row in books.addons}
        invoices = {row["id"]: row for row in books.invoices}
        self._paid: dict[tuple[str, int, str], list[tuple[Row, int]]] = defaultdict(list)
        for line in books.lines:
            if line["kind"] in _PARTS and line["feature_id"] is not None:
                invoice = invoices[line["invoice_id"]]
                key = invoice["subscription_id"], line["term"], line["feature_id"]
                self._paid[key].append((invoice, line["amount_minor"]))
        self._months: dict[tuple[str, str, int], int] = {}
        for invoice in books.invoices:
            row = self._addons.get(_activation(invoice))
            if row is not None:
                month = invoice["subscription_id"], row["feature_id"], int(invoice["basis"]["terms"][0])
                self._months[month] = max(self._months.get(month, 0), invoice["issued_ms"])

    def sides(self, invoice: Row, close: Row) -> tuple[Row, Row] | None:
        """Find the terms that a change ended, and those that it began."""
        numbers = invoice["basis"]["terms"]
        old, new = numbers[0], numbers[-1]
        begun = self._terms.period(invoice["subscription_id"], new, close["through_day"])
        ended = [
            row
            for row in self._terms.of(invoice["subscription_id"])
            if row["term"] == old and row["since_day"] <= close["through_day"]
        ]
        return None if begun is None or not ended else (ended[-1], begun)

    def of_change(self, invoice: Row, close: Row, lines: Sequence[Row]) -> Counter[Owed] | None:
        """Tell what a change owes beside usage; None when no terms give it, or not its days."""
        found = self.sides(invoice, close)
        stated = invoice["days_remaining"], invoice["days_in_cycle"]
        if found is None or stated not in self._shares(found[0], close["through_day"]):
            return None
        old, new = found
        share = Fraction(*stated)
        whole = old["interval"] != new["interval"] or invoice["basis"]["facts"]["whole"]
        bought = Fraction(1) if whole else share
        owed = self._seller.grown(close)
        for feature, minor in self._credited(invoice, old, owed):
            owed[Owed(_CREDIT, feature, new["term"], -_part(minor, share))] += 1
        owed[Owed(_CHARGE, "", new["term"], _part(new["base_minor"], bought))] += 1
        if new["discount"] is not None:
            minor = off(new["base_minor"], new["discount"], new["currency"])
            owed[Owed("discount", "", new["term"], -_part(minor, bought))] += 1
        for rule in new["features"]:
            if rule.get("addon") and not rule.get("paidApart"):
                amount = _part(rule.get("baseMinor", 0), bought)
                owed[Owed(_CHARGE, rule["feature"], new["term"], amount)] += 1
        for rule, held in self._seller.held_at(close, new):
            stood = [int(line["quantity"]) for line in lines if _of(line, _CHARGE, rule["feature"])]
            included = held if rule["included"] is None or not rule["overage"] else int(rule["included"])
            extra = max(0, held - min([included, *(held - quantity for quantity in stood)]))
            amount = rounded(Fraction(extra) * Fraction(rule["unitPrice"]) * bought, new["currency"])
            owed[Owed(_CHARGE, rule["feature"], new["term"], amount)] += 1
        return shown(owed)

    def _credited(self, invoice: Row, old: Row, grown: Counter[Owed]) -> Iterator[tuple[str, int]]:
        """Tell what the ended period was paid with, in minor units by feature id; the base has none."""
        base = old["paid_minor"]
        if base is None:
            taken = 0 if old["discount"] is None else off(old["base_minor"], old["discount"], old["currency"])
            base = old["base_minor"] - taken
        yield "", base
        for rule in old["features"]:
            if not rule["enabled"]:
                continue
            paid = self._part_paid(invoice, old, rule["feature"])
            if rule["kind"] == "seats":
                added = (one.amount_minor * times for one, times in grown.items() if one.feature == rule["feature"])
                yield rule["feature"], paid + sum(added)
            elif rule.get("addon") and not rule.get("off"):
                yield rule["feature"], min(paid, rule.get("baseMinor", 0))

    def _part_paid(self, change: Row, old: Row, feature: str) -> int:
        """Sum what a period's seats of a type or an add-on were charged by invoices that were not void at a change.

        One that was voided at the very instant of it may have been void before or after: then its basis says.
        """
        parts, at_ms = self._terms.parts(old), change["issued_ms"]
        charged = [
            (invoice["voided_ms"], minor)
            for part in parts
            for invoice, minor in self._paid[change["subscription_id"], part["term"], feature]
            if invoice["period_start_ms"] >= parts[0]["since_day"] * DAY_MS
        ]
        later = sum(minor for voided_ms, minor in charged if voided_ms is None or voided_ms >= at_ms)
        before = sum(minor for voided_ms, minor in charged if voided_ms is None or voided_ms > at_ms)
        return later if later == change["basis"]["facts"]["partsPaid"].get(feature, 0) else before

    def of_addon(self, invoice: Row, lines: Sequence[Row]) -> Counter[Owed] | None:
        """Tell what an add-on owes when it is switched on, or for a month of it on a free plan.

        Terms of a free plan know the price of the add-on's last month alone; None when the terms do not have it.
        """
        row, day = self._addons.get(_activation(invoice)), invoice["issued_ms"] // DAY_MS
        term = invoice["basis"]["terms"][0]
        if row is None:
            return None
        found = self._terms.granting((row["customer_id"], row["feature_id"], term, day))
        if found is None or not found[1].get("addon"):
            return None
        terms, rule = found
        kind, amount = "addon_proration", rule.get("baseMinor", 0)
        if invoice["kind"] != "addon_activation":
            kind = "addon_base"
        elif terms["interval"] is not None:
            amount = _part(amount, self._activated(terms, day))
        last_ms = self._months[invoice["subscription_id"], row["feature_id"], int(term)]
        if terms["interval"] is None and invoice["issued_ms"] < last_ms and lines:
            amount = lines[0]["amount_minor"]
        return Counter({one: 1 for one in [Owed(kind, row["feature_id"], term, amount)] if amount})

    def _shares(self, old: Row, day: int) -> list[tuple[int, int]]:
        """Count what is left of a period on a day: by months of 30 days, and by actual days (R-PRO-2, R-PRO-5).

        One that was paused has the days with which it began, up to its end, and its months from the first of them.
        """
        first = old["until_day"] - self._terms.days(old)
        anchor = first if old["anchor_day"] == old["until_day"] else old["anchor_day"]
        full, start = 0, first
        while month_of(anchor, start)[1] <= day:
            start, full = month_of(anchor, start)[1], full + 1
        days = 30 * MONTHS[old["interval"]]
        used = 30 * full + min(30, day - start + 1)
        actual = max(0, old["until_day"] - 1 - day), old["until_day"] - first
        return [(max(0, days - used), days), actual]

    def _activated(self, terms: Row, day: int) -> Fraction:
        """Tell the share of a period that an activation pays; a trial's rest is one of the first regular period."""
        left, days = max(0, terms["until_day"] - 1 - day), self._terms.days(terms)
        if terms["trial"]:
            end = terms["until_day"]
            for _ in range(MONTHS[terms["interval"]]):
                end = month_of(terms["until_day"], end)[1]
            days = end - terms["until_day"]
        return Fraction(left, days)

    def month_left(self, invoice: Row, charged: int) -> int:
        """Tell what was left of a month of an add-on, or of a trial's rest, when it ended, that day used (R-CHG-13)."""
        row = self._addons[_activation(invoice)]
        begin, end = invoice["period_start_ms"] // DAY_MS, invoice["period_end_ms"] // DAY_MS
        if row["ended_ms"] is None:
            return 0
        days = end - begin if invoice["days_remaining"] is None else invoice["days_remaining"]
        return _part(charged, Fraction(max(0, end - 1 - row["ended_ms"] // DAY_MS), max(1, days)))


def _activation(invoice: Row) -> str:
    source, _, made_by = invoice["source"].partition(":")
    return str(made_by.partition(":")[0]) if source == "addon" else ""


def _of(line: Row, kind: str, feature: str) -> bool:
    return (line["kind"], line["feature_id"]) == (kind, feature)


def _part(minor: int, share: Fraction) -> int:
    """Take a share of minor units that are not negative, halves up."""
    exact = minor * share
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)
