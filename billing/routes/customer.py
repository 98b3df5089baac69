"""The customer that a billing route names, by either id (R-GEN-8)."""

from catalog.definition import Customer
from catalog.gateway.http import Caller
from kernel.errors import invalid, rejected


async def customer_of(caller: Caller, reference: str | None) -> Customer:
    """Find the customer. Raises Rejected: `validation_error` without a reference, `customer_not_found`."""
    if not reference:
        raise invalid("customerId", "is required")
    found = await caller.catalog.customer(caller.organization.id, reference)
    if found is None:
        raise rejected("customer_not_found", f"There is no customer {reference}.", param="customerId")
    return found
