"""A bounded memory of customers, found by either of their ids.

Invariants: it never holds more than its bound; a dropped customer is found by none of its ids; a customer is only ever
found within its own organization.
"""

from collections import OrderedDict

from catalog.definition import Customer


class CustomerCache:
    """Customers seen lately, the one unseen for longest going first."""

    def __init__(self, customers_max: int) -> None:
        self._max = customers_max
        self._by_id: OrderedDict[bytes, Customer] = OrderedDict()
        self._by_reference: dict[tuple[bytes, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, organization: bytes, reference: str) -> Customer | None:
        """Find a customer by its `cus_` id or its external id; None when it is not remembered."""
        found = self._by_id.get(self._by_reference.get((organization, reference), b""))
        if found is not None:
            self._by_id.move_to_end(found.id)
        return found

    def put(self, customer: Customer) -> None:
        """Remember a customer, in place of what was remembered of it."""
        self.drop(customer.id)
        self._by_id[customer.id] = customer
        for reference in _references(customer):
            self._by_reference[customer.organization, reference] = customer.id
        if len(self._by_id) > self._max:
            self.drop(next(iter(self._by_id)))

    def drop(self, customer: bytes) -> None:
        """Forget a customer."""
        gone = self._by_id.pop(customer, None)
        if gone is None:
            return
        for reference in _references(gone):
            if self._by_reference.get((gone.organization, reference)) == customer:
                del self._by_reference[gone.organization, reference]


def _references(customer: Customer) -> list[str]:
    """List what a request may call the customer: our id, and the seller's own, which never begins like ours."""
    own = [] if customer.external_id is None else [customer.external_id]
    return [customer.id_text, *own]
