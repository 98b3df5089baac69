"""Totals, numbers and the ledger of money: what is due, what credit paid, what waits to be charged. Pure.

Source: R-GEN-2, R-INV-6, R-INV-10, R-INV-12, R-CHG-11; ADR 9.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from meterline.audit.frozen import Row
from meterline.audit.report import Findings
from meterline.audit.rows import Books

_TAKEN: Final = frozenset({"credit_applied_minor", "carried_in_minor"})  # a void invoice gave it back
_DUE_MIN: Final = 50  # minor units: less is carried to the next invoice


def check_amounts(findings: Findings, invoice: Row, lines: Sequence[Row]) -> None:
    """The total is the sum of the lines; of it credit is applied, a little is carried, the rest is due."""
    where = f"invoice {invoice['id']}"
    total = sum(line["amount_minor"] for line in lines)
    applied = -_sum_of(lines, "account_credit_applied")
    owes = total + applied > 0  # before credit; else nothing is charged, and what is carried stays carried
    left = total + invoice["carried_in_minor"]
    due = left if owes and left >= _DUE_MIN else 0
    expected = {
        "total_minor": total,
        "credit_applied_minor": applied,
        "credited_minor": max(0, -total) - invoice["refunded_minor"],
        "discount_minor": -_sum_of(lines, "discount"),
        "due_minor": due,
        "carried_out_minor": left - due if owes else 0,
    }
    for name, amount in expected.items():
        findings.same("invoice total", where, name.removesuffix("_minor"), invoice[name], amount)


def check_credits(findings: Findings, books: Books, returned: Mapping[str, int]) -> None:
    """Granted = applied + left; each invoice applied, granted, left and took over what its ledger rows say.

    `returned` is what was given back of add-ons' months beside their invoices, in minor units by invoice.
    """
    spent = _by(books.applications, "credit_id")
    for credit in books.credits:
        used = credit["amount_minor"] - credit["left_minor"]
        findings.same("account credit", credit["id"], "what is applied", spent[credit["id"]], used)
    back = _by(books.refunds, "payment_id")
    paid = {row["id"]: row["amount_minor"] for row in books.payments if row["status"] == "succeeded"}
    for payment, amount in back.items():
        if amount > paid.get(payment, 0):
            findings.add("account credit", payment, "more was refunded than it paid")
    sides = {
        "credit_applied_minor": _by(books.applications, "invoice_id"),
        "credited_minor": _by(books.credits, "invoice_id"),
        "refunded_minor": _by(books.refunds, "invoice_id"),
        "carried_out_minor": _by(books.carried, "invoice_id"),
        "carried_in_minor": _by(books.carried, "taken_by"),
    }
    for invoice in books.invoices:
        for name, booked in sides.items():
            what = name.removesuffix("_minor")
            if invoice["voided_ms"] is not None and name in _TAKEN:
                findings.same("account credit", f"invoice {invoice['id']}", what, 0, booked[invoice["id"]])
                continue
            told = invoice[name] + (returned.get(invoice["id"], 0) if name == "credited_minor" else 0)
            findings.same("account credit", f"invoice {invoice['id']}", what, told, booked[invoice["id"]])


def check_returned(findings: Findings, books: Books, owed: Mapping[str, int]) -> None:
    """What closes granted without an invoice is what is `owed`, in minor units by close; the others granted nothing."""
    granted = _by(books.credits, "close_id")
    for close in granted.keys() | owed.keys():
        findings.same("account credit", f"close {close}", "given back", granted[close], owed.get(close, 0))


def check_holders(findings: Findings, books: Books) -> None:
    """Money stays with its customer and in its currency: credit, what is carried, payments and refunds (R-GEN-7)."""
    invoices = {row["id"]: row for row in books.invoices}
    closes = {row["id"]: row for row in books.closes}
    given = {row["id"]: row for row in books.credits}
    for row in (*books.credits, *books.carried, *books.payments, *books.refunds):
        _same_holder(findings, row, invoices.get(row["invoice_id"]))
    for row in books.credits:
        _same_holder(findings, row, closes.get(row["close_id"]))
    for row in books.carried:
        _same_holder(findings, row, invoices.get(row["taken_by"]))
    for row in books.applications:
        if row["credit_id"] in given:
            _same_holder(findings, given[row["credit_id"]], invoices.get(row["invoice_id"]))


def check_bought(findings: Findings, books: Books) -> None:
    """What was bought is what a purchase's invoice charged for: its credits, its customer, its currency (R-PACK-3)."""
    invoices = {row["id"]: row for row in books.invoices}
    for row in (*books.packs, *books.top_ups):
        invoice = invoices.get(row["invoice_id"])
        if invoice is None or not invoice["source"].startswith("purchase:"):
            findings.add("account credit", row["id"], "was bought on no invoice")
            continue
        _same_holder(findings, row, invoice)
        if "credits" in row:
            paid = Decimal(invoice["basis"]["facts"].get("credits", 0))
            findings.same("account credit", row["id"], "credits", Decimal(row["credits"]), paid)


def _same_holder(findings: Findings, row: Row, named: Row | None) -> None:
    """Compare whose a row is, and in which currency, with what it names, as far as that says so."""
    for name in ("customer_id", "currency"):
        if named is not None and name in row and name in named:
            where = row.get("id") or f"carried by {row['invoice_id']}"
            findings.same("account credit", where, f"{name} beside {named['id']}", row[name], named[name])


def check_numbers(findings: Findings, books: Books) -> None:
    """An organization's invoices are numbered from 1 without gaps (R-INV-10)."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for invoice in books.invoices:
        numbers[invoice["organization_id"]].append(invoice["number"])
    last = {row["organization_id"]: row["last"] for row in books.numbers}
    for organization in numbers.keys() | last.keys():
        count = len(numbers[organization])
        if sorted(numbers[organization]) != list(range(1, count + 1)) or last.get(organization, 0) != count:
            findings.add("invoice number", organization, f"its {count} invoices are not numbered from 1 without gaps")


def _sum_of(lines: Iterable[Row], kind: str) -> int:
    return sum(int(line["amount_minor"]) for line in lines if line["kind"] == kind)


def _by(rows: Iterable[Row], name: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for row in rows:
        if row[name] is not None:
            found[row[name]] += row["amount_minor"]
    return found
