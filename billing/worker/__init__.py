"""Billing's workers: the relay shows accounts in LIVE, the closer turns ended periods into invoices."""
