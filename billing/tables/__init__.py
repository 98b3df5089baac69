"""The tables of billing: accounts, subscriptions and their frozen terms, closes, invoices, the outbox, test clock runs.

Ids are text, instants `*_ms` or `*_us` unix, days count from 1970-01-01, amounts are minor units, quantities and unit
prices decimal strings in their one spelling. The unique keys carry the promises: one live subscription a customer, one
close a cut, one invoice a source, invoice numbers without repeats. Source: DESIGN 3.7, 3.8.
"""

from billing.tables.life import accounts, clock_runs, closes, outbox, subscription_terms, subscriptions
from billing.tables.money import (
    account_credits,
    carried_amounts,
    credit_applications,
    invoice_lines,
    invoice_numbers,
    invoices,
    payments,
    refunds,
    saved_cards,
)
from billing.tables.sale import initial_seats, pack_purchases, seat_counts, seat_events, subscription_addons, top_ups

__all__ = [
    "account_credits",
    "accounts",
    "carried_amounts",
    "clock_runs",
    "closes",
    "credit_applications",
    "initial_seats",
    "invoice_lines",
    "invoice_numbers",
    "invoices",
    "outbox",
    "pack_purchases",
    "payments",
    "refunds",
    "saved_cards",
    "seat_counts",
    "seat_events",
    "subscription_addons",
    "subscription_terms",
    "subscriptions",
    "top_ups",
]
