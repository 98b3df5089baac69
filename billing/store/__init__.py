"""Billing's SQL: one module a table or two, functions that take an open connection. They decide nothing."""
