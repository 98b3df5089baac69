"""Customers: created once an external id, found by either id, listed newest first."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Row, func, insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Customer
from catalog.store.version import raise_version
from catalog.tables import customers
from kernel import ids
from kernel.errors import rejected


class CustomerFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which customers a list shows: `after` is (created_ms, id) of the last one seen; `until_ms` is not included."""

    limit: int
    after: tuple[int, str] | None = None
    external_id: str | None = None
    search: str | None = None
    active: bool | None = None
    since_ms: int | None = None
    until_ms: int | None = None


def customer_of_row(row: Row[Any]) -> Customer:
    """Turn a row into its value."""
    return Customer(
        id=ids.id_bytes(row.id),
        organization=ids.id_bytes(row.organization_id),
        external_id=row.external_id,
        email=row.email,
        full_name=row.full_name,
        timezone=row.timezone,
        metadata=row.metadata,
        address=row.address,
        profile=row.profile,
        archived=row.archived,
        created_ms=row.created_ms,
        updated_ms=row.updated_ms,
    )


def _values(customer: Customer) -> dict[str, Any]:
    return {
        "external_id": customer.external_id,
        "email": customer.email,
        "full_name": customer.full_name,
        "timezone": customer.timezone,
        "metadata": customer.metadata,
        "address": customer.address,
        "profile": dict(customer.profile),
        "archived": customer.archived,
        "updated_ms": customer.updated_ms,
    }


async def create_customer(conn: AsyncConnection, customer: Customer) -> Customer:
    """Store a new customer, or return the stored one of the same external id unchanged (R-CUST-2, R-CUST-3)."""
    if customer.external_id is not None:
        found = await find_customers(conn, customer.organization, [customer.external_id])
        if customer.external_id in found:
            return found[customer.external_id]
    await conn.execute(
        insert(customers).values(
            id=customer.id_text,
            organization_id=ids.id_text(ids.ORGANIZATION, customer.organization),
            created_ms=customer.created_ms,
            version=await raise_version(conn),
            **_values(customer),
        )
    )
    return customer


async def save_customer(conn: AsyncConnection, customer: Customer) -> Customer:
    """Store a customer's new state. Raises Rejected `duplicate` when another one has its external id."""
    if customer.external_id is not None:
        found = await find_customers(conn, customer.organization, [customer.external_id])
        if customer.external_id in found and found[customer.external_id].id != customer.id:
            raise rejected("duplicate", f"Another customer has the id {customer.external_id}.", param="externalId")
    await conn.execute(
        update(customers)
        .where(customers.c.id == customer.id_text)
        .values(version=await raise_version(conn), **_values(customer))
    )
    return customer


# Where a deleted customer keeps the seller's own id, which is free for another one.
FORMER_ID: Final = "formerId"


async def delete_customer(conn: AsyncConnection, customer: Customer, now_ms: int) -> None:
    """Remove a customer from every read; its usage and invoices stay for audit (R-CUST-9, AMB-57)."""
    former = {} if customer.external_id is None else {FORMER_ID: customer.external_id}
    gone = msgspec.structs.replace(
        customer, archived=True, external_id=None, profile={**customer.profile, **former}, updated_ms=now_ms
    )
    await conn.execute(
        update(customers)
        .where(customers.c.id == customer.id_text)
        .values(version=await raise_version(conn), deleted_ms=now_ms, **_values(gone))
    )


async def find_customers(conn: AsyncConnection, organization: bytes, references: Sequence[str]) -> dict[str, Customer]:
    """Find customers by `cus_` ids or external ids; a reference that names nobody is absent (R-GEN-8)."""
    own = [reference for reference in references if ids.is_id(ids.CUSTOMER, reference)]
    external = [reference for reference in references if not reference.startswith(ids.CUSTOMER)]
    found: dict[str, Customer] = {}
    # Each kind by its own index; with an empty list among them SQLite would read all of the organization's customers.
    named = [column.in_(some) for column, some in ((customers.c.id, own), (customers.c.external_id, external)) if some]
    if not named:
        return found
    statement = select(customers).where(
        customers.c.organization_id == ids.id_text(ids.ORGANIZATION, organization),
        or_(*named),
        customers.c.deleted_ms.is_(None),
    )
    wanted = frozenset(references)
    for row in await conn.execute(statement):
        customer = customer_of_row(row)
        for reference in {customer.id_text, customer.external_id} & wanted:
            found[str(reference)] = customer
    return found


async def archived_of(conn: AsyncConnection, customer_ids: Sequence[str]) -> set[str]:
    """Tell which of the customers (`cus_…`) are archived or deleted (R-CUST-8, R-CUST-9)."""
    query = select(customers.c.id).where(customers.c.id.in_(customer_ids), customers.c.archived)
    return set((await conn.execute(query)).scalars())


async def load_customer(conn: AsyncConnection, organization: bytes, reference: str) -> Customer:
    """Read one customer by either id. Raises Rejected `customer_not_found`."""
    found = await find_customers(conn, organization, [reference])
    if reference not in found:
        raise rejected("customer_not_found", f"There is no customer {reference}.", param="customerId")
    return found[reference]


async def list_customers(conn: AsyncConnection, organization: bytes, wanted: CustomerFilter) -> list[Customer]:
    """List customers newest first, at most `wanted.limit`."""
    statement = (
        select(customers)
        .where(customers.c.organization_id == ids.id_text(ids.ORGANIZATION, organization), *_conditions(wanted))
        .order_by(customers.c.created_ms.desc(), customers.c.id.desc())
        .limit(wanted.limit)
    )
    return [customer_of_row(row) for row in await conn.execute(statement)]


def _conditions(wanted: CustomerFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [customers.c.deleted_ms.is_(None)]
    if wanted.after is not None:
        conditions.append(tuple_(customers.c.created_ms, customers.c.id) < tuple_(*wanted.after))
    if wanted.external_id is not None:
        conditions.append(customers.c.external_id == wanted.external_id)
    if wanted.active is not None:
        conditions.append(customers.c.archived.is_(not wanted.active))
    if wanted.since_ms is not None:
        conditions.append(customers.c.created_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        conditions.append(customers.c.created_ms < wanted.until_ms)
    if wanted.search is not None:
        needle = wanted.search.lower()
        conditions.append(
            or_(
                func.lower(customers.c.full_name).contains(needle, autoescape=True),
                func.lower(customers.c.email).contains(needle, autoescape=True),
            )
        )
    return conditions
