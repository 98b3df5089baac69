"""Customers in memory, found by either of their ids, and the look-ups that concurrent callers share.

Invariants: the memory never holds more than its bound; a dropped customer is found by none of its ids; a customer is
only ever found within its own organization; a shared look-up begins after everyone whom it answers has asked.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

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


# Names in one look-up: far below what a statement may bind, and a millisecond or two of SQL.
LOOK_UP_MAX: Final = 500

LookUp = Callable[[bytes, Sequence[str]], Awaitable[Mapping[str, Customer | None]]]


class SharedLookUp:
    """One look-up at a time an organization: who asks while one is under way goes into the next, with the others."""

    def __init__(self, look_up: LookUp) -> None:
        """`look_up(organization, references)` answers every reference."""
        self._look_up = look_up
        self._waiting: dict[bytes, dict[str, asyncio.Future[Customer | None]]] = {}
        self._running: dict[bytes, asyncio.Task[None]] = {}

    async def find(self, organization: bytes, references: Sequence[str]) -> dict[str, Customer | None]:
        """Find customers by a look-up that begins after this call. Raises what the look-up raises."""
        waiting = self._waiting.setdefault(organization, {})
        loop = asyncio.get_running_loop()
        answers = [waiting.setdefault(reference, loop.create_future()) for reference in references]
        if organization not in self._running:
            self._running[organization] = loop.create_task(self._run(organization))
        # Shielded: a caller that goes away leaves the answer to those who asked for the same.
        found = await asyncio.gather(*(asyncio.shield(answer) for answer in answers))
        return dict(zip(references, found, strict=True))

    async def _run(self, organization: bytes) -> None:
        try:
            while waiting := self._waiting.pop(organization, None):
                names = list(waiting)
                for at in range(0, len(names), LOOK_UP_MAX):
                    await self._answer(organization, {name: waiting[name] for name in names[at : at + LOOK_UP_MAX]})
        finally:
            del self._running[organization]

    async def _answer(self, organization: bytes, waiting: Mapping[str, asyncio.Future[Customer | None]]) -> None:
        try:
            found = await self._look_up(organization, list(waiting))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the askers' to handle
            for answer in waiting.values():
                answer.set_exception(error)
                answer.exception()  # looked at: an asker may have gone away
            return
        for name, answer in waiting.items():
            answer.set_result(found[name])
