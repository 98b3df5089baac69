"""A bounded memory of customers, found by either of their ids.

Invariants: it never holds more than its bound; a dropped customer is found by none of its ids; a customer is only ever
found within its own organization.
"""

from collections import OrderedDict

from catalog.definition import Customer
from kernel import ids


class CustomerCache:
    """Customers seen lately, the one unseen for longest going first."""

    def __init__(self, customers_max: int) -> None:
        self._max = customers_max
        self._by_id: OrderedDict[bytes, Customer] = OrderedDict()
        self._by_external: dict[tuple[bytes, str], bytes] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, organization: bytes, reference: str) -> Customer | None:
        """Find a customer by its `cus_` id or its external id; None when it is not remembered."""
        if ids.is_id(ids.CUSTOMER, reference):
            found = self._by_id.get(ids.id_bytes(reference))
        else:
            found = self._by_id.get(self._by_external.get((organization, reference), b""))
        if found is None or found.organization != organization:
            return None
        self._by_id.move_to_end(found.id)
        return found

    def put(self, customer: Customer) -> None:
        """Remember a customer, in place of what was remembered of it."""
        self.drop(customer.id)
        self._by_id[customer.id] = customer
        if customer.external_id is not None:
            self._by_external[(customer.organization, customer.external_id)] = customer.id
        if len(self._by_id) > self._max:
            self.drop(next(iter(self._by_id)))

    def drop(self, customer: bytes) -> None:
        """Forget a customer."""
        gone = self._by_id.pop(customer, None)
        if gone is None or gone.external_id is None:
            return
        key = (gone.organization, gone.external_id)
        if self._by_external.get(key) == customer:
            del self._by_external[key]
