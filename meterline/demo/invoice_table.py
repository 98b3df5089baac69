"""Invoices as a table that a person reads: a row a line, with what was rated and the amount."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from rich.table import Table

from meterline.demo.stage import expected
from meterline.importer.api import Api


async def read_invoices(api: Api, customers: Iterable[str]) -> tuple[list[Any], dict[str, str]]:
    """Read all invoices of customers by the seller's ids, oldest first; gives them and the seller's id by `cus_…`."""
    found: list[Any] = []
    names: dict[str, str] = {}
    for customer in customers:
        names[expected(await api.get(f"/customers/{customer}"), "customer")["id"]] = customer
        listed = expected(await api.get("/invoices", customerId=customer, limit="100"), "invoices")["data"]
        found += [expected(await api.get(f"/invoices/{one['id']}"), "invoice") for one in listed]
    return sorted(found, key=lambda one: one["invoiceNumber"]), names


def sum_of(invoice: Any) -> int:
    """Add up an invoice's lines, in minor units."""
    return sum(line["amount"] for line in invoice["lineItems"])


def dollars(minor: int) -> str:
    """Spell cents as dollars."""
    return f"{Decimal(minor) / 100:,.2f}"


def invoice_table(invoices: Iterable[Any], names: Mapping[str, str]) -> Table:
    """Lay invoices out; `names` are the seller's ids by `cus_…`."""
    table = Table(header_style="bold")
    for name in ("invoice", "customer", "line"):
        table.add_column(name)
    table.add_column("USD", justify="right")
    for invoice in invoices:
        for number, line in enumerate(invoice["lineItems"]):
            head = (invoice["invoiceNumber"], names[invoice["customerId"]]) if number == 0 else ("", "")
            table.add_row(*head, line["description"], dollars(line["amount"]))
        table.add_row("", "", "[bold]total[/]", f"[bold]{dollars(invoice['total'])}[/]", end_section=True)
    return table
