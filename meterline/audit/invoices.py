"""The invoices once more: every line's amount from RAW's rows and the frozen terms, every total from its lines. Pure.

Source: DESIGN 3.8, 5; R-METER-1, R-METER-2, R-TRACK-20, R-INV-7.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Final

from kernel.money import minor_places
from meterline.audit.report import Findings, Unbilled
from meterline.audit.rows import Books

USAGE_KINDS: Final = ("overage", "feature_overage", "late_usage")
BASE_KINDS: Final = ("plan_base",)
# Lines whose amount is quantity times unit price, and those that are a share of it.
WHOLE_KINDS: Final = (
    *("seats", "discount", "addon_base", "credit_pack", "balance_topup", "balance_overage", "adjustment"),
    "account_credit_applied",
)
SHARE_KINDS: Final = ("seat_true_up", "addon_overage", "addon_proration", "proration_credit", "proration_charge")
_EPOCH: Final = date(1970, 1, 1).toordinal()
_EXACT: Final = Context(prec=60)

# (customer, feature, term, first day of the window) -> usage by cut, and the window's end
CountedUsage = dict[tuple[str, str, int, int], dict[int, Decimal]]


class InvoiceAudit:
    """One look at all invoices, with usage by cut as the audit's own verdicts have it."""

    def __init__(self, books: Books, usage: CountedUsage, ends: Mapping[tuple[str, str, int, int], int]) -> None:
        self._books = books
        self._usage = usage
        self._ends = ends
        self._subscriptions = {row["id"]: row for row in books.subscriptions}
        self._terms: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in sorted(books.terms, key=lambda row: row["since_day"]):
            self._terms[row["subscription_id"]].append(row)
        # A subscription has terms of several numbers, one after the other: a change of plan begins new ones.
        self._by_term = {
            (row["customer_id"], terms["term"]): row for row in books.subscriptions for terms in self._terms[row["id"]]
        }
        self._lines: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for line in books.lines:
            self._lines[line["invoice_id"]].append(line)
        self.unbilled: list[Unbilled] = []

    def check(self, findings: Findings) -> None:
        """Compare totals, base lines, usage lines and what should have had a line."""
        billed: dict[tuple[str, str, int, int], list[tuple[int, int]]] = defaultdict(list)
        bases: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for invoice in self._books.invoices:
            lines = self._lines[invoice["id"]]
            _check_amounts(findings, invoice, lines)
            for line in lines:
                if line["kind"] in BASE_KINDS:
                    bases[invoice["subscription_id"]].append((invoice["cut"], line["amount_minor"]))
                elif line["kind"] in USAGE_KINDS:
                    key = (invoice["customer_id"], line["feature_id"], line["term"], line["window_day"])
                    billed[key].append((line["cut"], line["amount_minor"]))
                    self._check_line(findings, invoice, line, key)
                else:
                    where = f"invoice {invoice['id']} line {line['position']}"
                    if line["kind"] in WHOLE_KINDS:
                        findings.same("invoice line", where, "amount", line["amount_minor"], _product(invoice, line))
                    elif line["kind"] not in SHARE_KINDS:
                        findings.add("invoice line", where, f"the audit knows no lines of kind {line['kind']}")
        self._check_windows(findings, billed)
        self._check_bases(findings, bases)
        self._check_closes(findings)
        for credit in self._books.credits:
            spent = credit["amount_minor"] - credit["left_minor"]
            findings.same("account credit", credit["id"], "what is applied", credit["applied_minor"], spent)

    def _check_line(
        self, findings: Findings, invoice: Mapping[str, Any], line: Mapping[str, Any], key: tuple[str, str, int, int]
    ) -> None:
        where = f"invoice {invoice['id']} line {line['position']} ({line['feature_code']})"
        used = self._used(key, line["cut"])
        if line["used"] is not None:
            findings.same("invoice line", where, "used", Decimal(line["used"]), used)
        rule = self._rule(key)
        if rule is None:
            findings.add("invoice line", where, "there are no frozen terms for it")
            return
        if line["included"] is not None and rule["included"] is not None:
            findings.same("invoice line", where, "included", Decimal(line["included"]), Decimal(rule["included"]))
        findings.same("invoice line", where, "unit price", Decimal(line["unit_price"]), Decimal(rule["unitPrice"]))

    def _check_windows(
        self, findings: Findings, billed: Mapping[tuple[str, str, int, int], list[tuple[int, int]]]
    ) -> None:
        """After each settled close, the lines of every ended window sum to the rate of its usage up to the cut."""
        closes: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for close in self._books.closes:
            if close["state"] == "settled":
                closes[close["subscription_id"]].append(close)
        for key in self._usage.keys() | billed.keys():
            subscription = self._by_term.get((key[0], key[2]))
            if subscription is None:
                findings.add("invoice window", _name(key), "rows name a subscription that SQL does not have")
                continue
            if subscription["free"]:
                continue
            settled = sorted(closes[subscription["id"]], key=lambda close: close["cut"])
            self._check_window(findings, key, settled, billed.get(key, []))

    def _check_window(
        self,
        findings: Findings,
        key: tuple[str, str, int, int],
        settled: list[Mapping[str, Any]],
        lines: list[tuple[int, int]],
    ) -> None:
        end = min([self._ends.get(key, 0), *self._taken_over(key)])
        for close in settled:
            if end <= close["through_day"] or close["final"]:
                owed = self._rate(key, close["cut"])
                have = sum(amount for cut, amount in lines if cut <= close["cut"])
                findings.same("invoice window", f"{_name(key)} at cut {close['cut']}", "what is invoiced", have, owed)
        if settled and settled[-1]["final"]:
            final = settled[-1]["cut"]
            late = self._rate(key, None) - self._rate(key, final)
            if any(cut > final for cut in self._usage.get(key, {})):
                self.unbilled.append(Unbilled(key[0], key[1], _day(key[3]), late))

    def _check_bases(self, findings: Findings, bases: Mapping[str, list[tuple[int, int]]]) -> None:
        """Every billing period that has begun has one base line with the frozen base price."""
        for subscription in self._books.subscriptions:
            if subscription["free"]:
                continue
            have = [amount for _, amount in sorted(bases.get(subscription["id"], []))]
            begun = [
                row["base_minor"]
                for row in self._terms[subscription["id"]]
                if row["since_day"] <= subscription["period_start_day"]
                # A change of plan charges a share of its own, and a trial nothing.
                and row["paid_minor"] is None
                and not row["trial"]
            ]
            findings.same("base line", f"subscription {subscription['id']}", "the base lines", have, begun)

    def _check_closes(self, findings: Findings) -> None:
        invoices = {row["id"] for row in self._books.invoices}
        for close in self._books.closes:
            where = f"close of {close['subscription_id']} at cut {close['cut']}"
            if close["state"] == "stopped":
                findings.add("close", where, "is stopped: LIVE and RAW differed")
            if close["invoice_id"] is not None and close["invoice_id"] not in invoices:
                findings.add("close", where, f"names invoice {close['invoice_id']}, which is not there")

    def _used(self, key: tuple[str, str, int, int], cut: int | None) -> Decimal:
        total = Decimal(0)
        for booked, quantity in self._usage.get(key, {}).items():
            if cut is None or booked <= cut:
                total = _EXACT.add(total, quantity)
        return total

    def _rule(self, key: tuple[str, str, int, int]) -> Mapping[str, Any] | None:
        """Find the frozen terms of the period in which the window starts (R-PRICE-1)."""
        customer, feature, term, window = key
        subscription = self._by_term.get((customer, term))
        rows = [] if subscription is None else [row for row in self._terms[subscription["id"]] if row["term"] == term]
        begun = [row for row in rows if row["since_day"] <= window]
        later = [row for row in rows if row["since_day"] > window]
        # Late usage of a feature that came with later terms is rated by the first of them.
        for row in [*begun[-1:], *later]:
            for rule in row["features"]:
                if rule["feature"] == feature:
                    found: Mapping[str, Any] = rule
                    return found
        return None

    def _taken_over(self, key: tuple[str, str, int, int]) -> list[int]:
        """Tell on which days terms of later numbers took over: the window ends there, if not before."""
        subscription = self._by_term[key[0], key[2]]
        return [row["since_day"] for row in self._terms[subscription["id"]] if row["term"] > key[2]]

    def _rate(self, key: tuple[str, str, int, int], cut: int | None) -> int:
        """Rate a window: max(0, used - included) x price, halves away from zero, in minor units (R-METER-2)."""
        rule = self._rule(key)
        if rule is None or rule["included"] is None or not rule["overage"]:
            return 0
        beyond = max(Decimal(0), _EXACT.subtract(self._used(key, cut), Decimal(rule["included"])))
        places = minor_places(self._by_term[key[0], key[2]]["currency"])
        amount = _EXACT.scaleb(_EXACT.multiply(beyond, Decimal(rule["unitPrice"])), places)
        return int(amount.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _check_amounts(findings: Findings, invoice: Mapping[str, Any], lines: list[Mapping[str, Any]]) -> None:
    """The total is the sum of the lines; total + carried in = due + carried out; what is below zero is credited."""
    where = f"invoice {invoice['id']}"
    total = sum(line["amount_minor"] for line in lines)
    findings.same("invoice total", where, "total", invoice["total_minor"], total)
    applied = -sum(line["amount_minor"] for line in lines if line["kind"] == "account_credit_applied")
    findings.same("invoice total", where, "credit applied", invoice["credit_applied_minor"], applied)
    findings.same("invoice total", where, "credited", invoice["credited_minor"], max(0, -total))
    asked = max(0, total) + invoice["carried_in_minor"]
    due = invoice["due_minor"] + invoice["carried_out_minor"]
    findings.same("invoice total", where, "due and carried out", due, asked)


def _product(invoice: Mapping[str, Any], line: Mapping[str, Any]) -> int:
    amount = _EXACT.multiply(Decimal(line["quantity"]), Decimal(line["unit_price"]))
    scaled = _EXACT.scaleb(amount, minor_places(invoice["currency"]))
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def _day(day: int) -> str:
    return date.fromordinal(day + _EPOCH).isoformat()


def _name(key: tuple[str, str, int, int]) -> str:
    customer, feature, term, window = key
    return f"{customer} {feature} term {term} window {_day(window)}"
