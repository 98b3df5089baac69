"""Columns that many tables have."""

from sqlalchemy import Column, ForeignKey, String


def organization() -> Column[str]:
    """Whose row it is."""
    return Column("organization_id", String(40), ForeignKey("organizations.id"), nullable=False)


def customer() -> Column[str]:
    """Which customer it is about."""
    return Column("customer_id", String(40), ForeignKey("customers.id"), nullable=False)
