"""Customers over HTTP: create, read, update, archive, batches (contract 3.1 to 3.5 and rows 8 to 12)."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

import msgspec
from litestar import HttpMethod, Response, Router, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import Customer
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply, reply_list
from catalog.gateway.once import once
from catalog.gateway.openapi import PAGE, documented
from kernel import ids, wire
from kernel.errors import Rejected, invalid
from kernel.period import instant_text, parse_instant_us
from kernel.wire import Wire

BATCH_MAX: Final = 100  # contract 3.2
_PROFILE: Final = ("domain", "website", "language", "industry", "taxDocument")
_RESOURCE: Final = "customer"
_QUERY: Final = {
    **PAGE,
    "externalId": "your own id",
    "search": "part of a name or an e-mail address",
    "isActive": "true or false",
    "startDate": "made at or after it",
    "endDate": "made before it",
}


class Address(Wire, frozen=True, kw_only=True):
    """A postal address (contract 3.1)."""

    line1: str
    city: str
    postal_code: str
    country: str
    line2: str | None = None
    state: str | None = None
    region: str | None = None


class CustomerInput(Wire, frozen=True, kw_only=True):
    """A customer to be made; synonyms of all eras: `email` or `billingEmail`, `id` or `externalId`."""

    email: str | None = None
    billing_email: str | None = None
    id: str | None = None
    external_id: str | None = None
    full_name: str | None = None
    legal_name: str | None = None
    timezone: str | None = None
    metadata: dict[str, Any] | None = None
    address: Address | None = None
    domain: str | None = None
    website: str | None = None
    language: str | None = None
    industry: str | None = None
    tax_document: str | None = None


class CustomerPatch(Wire, frozen=True, kw_only=True):
    """What changes of a customer; absent members stay."""

    email: str | UnsetType = UNSET
    billing_email: str | UnsetType = UNSET
    external_id: str | UnsetType = UNSET
    full_name: str | UnsetType | None = UNSET
    legal_name: str | UnsetType | None = UNSET
    timezone: str | UnsetType | None = UNSET
    metadata: dict[str, Any] | UnsetType | None = UNSET
    address: Address | UnsetType | None = UNSET
    domain: str | UnsetType | None = UNSET
    website: str | UnsetType | None = UNSET
    language: str | UnsetType | None = UNSET
    industry: str | UnsetType | None = UNSET
    tax_document: str | UnsetType | None = UNSET
    is_active: bool | UnsetType = UNSET


class CustomerBatchInput(Wire, frozen=True, kw_only=True):
    """Customers to be made, each for itself: one that is refused leaves the others."""

    customers: list[msgspec.Raw]


class CustomersShown(Wire, frozen=True, kw_only=True):
    """The batch's body as OpenAPI shows it."""

    customers: list[CustomerInput]


@cache
def _timezones() -> frozenset[str]:
    return frozenset(available_timezones())


def _timezone(name: str | None) -> str | None:
    known = _timezones()
    if name is not None and known and name not in known:
        raise invalid("timezone", "must be the name of an IANA time zone, such as Europe/Berlin")
    return name


def _address(address: Address | None) -> Mapping[str, Any] | None:
    if address is None:
        return None
    rule.country_of(address.country)
    values: dict[str, Any] = msgspec.to_builtins(address)
    return {name: value for name, value in values.items() if value is not None}


def customer_wire(caller: Caller, customer: Customer) -> dict[str, Any]:
    """Spell a customer for every era at once: era D's members, and those that era A reads."""
    return {
        **caller.object("customer"),
        "id": customer.id_text,
        "organizationId": ids.id_text(ids.ORGANIZATION, customer.organization),
        "externalId": customer.external_id,
        "fullName": customer.full_name,
        "email": customer.email,
        "billingEmail": customer.email,
        "timezone": customer.timezone,
        "metadata": customer.metadata,
        "isActive": not customer.archived,
        **{name: customer.profile.get(name) for name in _PROFILE},
        "documentType": None,
        "employeeCount": None,
        "createdAt": instant_text(customer.created_ms),
        "updatedAt": instant_text(customer.updated_ms),
    }


def _new_customer(caller: Caller, made: CustomerInput) -> Customer:
    email = made.email if made.email is not None else made.billing_email
    external_id = made.id if made.id is not None else made.external_id
    if email is None:
        raise invalid("email", "is required")
    if made.id is not None and made.external_id is not None and made.id != made.external_id:
        raise invalid("externalId", "id and externalId are the same thing and differ here")
    profile = {name: getattr(made, _field(name)) for name in _PROFILE}
    return Customer(
        id=ids.new_bytes(caller.real_ms),
        organization=caller.organization.id,
        external_id=None if external_id is None else rule.external_id_of(external_id),
        email=rule.email_of(email),
        full_name=made.full_name if made.full_name is not None else made.legal_name,
        timezone=_timezone(made.timezone),
        metadata=rule.metadata_of(made.metadata),
        address=_address(made.address),
        profile={name: value for name, value in profile.items() if value is not None},
        created_ms=caller.now_ms,
        updated_ms=caller.now_ms,
    )


def _field(name: str) -> str:
    return "tax_document" if name == "taxDocument" else name


def _patched(caller: Caller, customer: Customer, patch: CustomerPatch) -> Customer:
    full_name = patch.legal_name if patch.full_name is UNSET else patch.full_name
    email = patch.billing_email if patch.email is UNSET else patch.email
    if patch.is_active is True and customer.archived:
        raise invalid("isActive", "An archived customer stays archived.")
    changes: dict[str, Any] = {
        "email": UNSET if email is UNSET else rule.email_of(email),
        "full_name": full_name,
        "external_id": UNSET if patch.external_id is UNSET else rule.external_id_of(patch.external_id),
        "timezone": UNSET if patch.timezone is UNSET else _timezone(patch.timezone),
        "metadata": rule.metadata_of(patch.metadata),
        "address": UNSET if patch.address is UNSET else _address(patch.address),
        "archived": UNSET if patch.is_active is UNSET else not patch.is_active,
    }
    given = {name: getattr(patch, _field(name)) for name in _PROFILE}
    profile = {**customer.profile, **{name: value for name, value in given.items() if value is not UNSET}}
    return msgspec.structs.replace(
        customer,
        **{name: value for name, value in changes.items() if value is not UNSET},
        profile={name: value for name, value in profile.items() if value is not None},
        updated_ms=max(caller.now_ms, customer.updated_ms),
    )


@post(
    "/",
    status_code=200,
    summary="Make a customer, or return the one with the same id of yours",
    operation_class=documented(CustomerInput),
)
async def create(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Create is idempotent by the seller's own id (R-CUST-2)."""
    caller.must_write(_RESOURCE)
    made = _new_customer(caller, await read_body(request, CustomerInput))

    async def work(conn: AsyncConnection) -> object:
        return customer_wire(caller, await store.create_customer(conn, made))

    return await once(request, caller, work)


@post("/batch", status_code=200, summary="Make up to 100 customers", operation_class=documented(CustomersShown))
async def create_batch(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Each element is made or refused for itself; the answer lists both (contract 3.2)."""
    caller.must_write(_RESOURCE)
    batch = await read_body(request, CustomerBatchInput)
    if not 1 <= len(batch.customers) <= BATCH_MAX:
        raise invalid("customers", f"must have 1 to {BATCH_MAX} elements")

    async def work(conn: AsyncConnection) -> object:
        successful: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        for index, element in enumerate(batch.customers):
            try:
                made = _new_customer(caller, msgspec.json.decode(element, type=CustomerInput))
                successful.append(customer_wire(caller, await store.create_customer(conn, made)))
            except (Rejected, msgspec.DecodeError) as error:
                failed.append({"index": index, "error": _words(error), "data": _echo(element)})
        return {**caller.object("customer_batch"), "successful": successful, "failed": failed}

    return await once(request, caller, work)


def _echo(element: msgspec.Raw) -> Any:
    """Give an element back as it was read; None where it is not JSON of ours, such as a number beyond all sizes."""
    try:
        return msgspec.json.decode(element)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _words(error: Rejected | msgspec.DecodeError) -> str:
    if isinstance(error, Rejected):
        refusal = error.refusal
        return f"{refusal.param}: {refusal.message}" if refusal.param else refusal.message
    return str(error)


@get("/", summary="List customers, newest first", operation_class=documented(query=_QUERY))
async def list_all(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Filters: `externalId`, `search` (name or e-mail), `isActive`, `startDate`, `endDate` (contract 3.3)."""
    caller.must_read(_RESOURCE)
    query = request.query_params
    limit = wire.page_limit(query.get("limit"))
    after = wire.decode_cursor(query["cursor"], int, str) if "cursor" in query else None
    wanted = store.CustomerFilter(
        limit=limit + 1,
        after=None if after is None else (after[0], after[1]),
        external_id=query.get("externalId"),
        search=query.get("search"),
        active=wire.flag("isActive", query.get("isActive")),
        since_ms=_instant(query.get("startDate"), "startDate"),
        until_ms=_instant(query.get("endDate"), "endDate"),
    )
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.list_customers(conn, caller.organization.id, wanted)
    page, cursor = wire.cut_page(found, limit, lambda customer: (customer.created_ms, customer.id_text))
    return reply_list(caller.dialect, [customer_wire(caller, customer) for customer in page], cursor)


def _instant(text: str | None, field: str) -> int | None:
    if text is None:
        return None
    try:
        return parse_instant_us(text) // 1000
    except ValueError as error:
        raise invalid(field, "must be an ISO 8601 date or instant") from error


@get("/{customer_ref:str}", summary="Read a customer by either id")
async def read(caller: NamedDependency[Caller], customer_ref: FromPath[str]) -> Response[bytes]:
    """The `cus_` id and the seller's own id name the same customer (R-GEN-8)."""
    caller.must_read(_RESOURCE)
    async with caller.catalog.sql.snapshot() as conn:
        found = await store.load_customer(conn, caller.organization.id, customer_ref)
    return reply(caller.dialect, customer_wire(caller, found))


@route(
    "/{customer_ref:str}",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change or archive a customer",
    operation_class=documented(CustomerPatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller], customer_ref: FromPath[str]) -> Response[bytes]:
    """PUT and PATCH are the same, partial; `isActive: false` archives for good (R-CUST-8)."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, CustomerPatch)
    archived: list[bytes] = []

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_customer(conn, caller.organization.id, customer_ref)
        after = _patched(caller, before, patch)
        archived[:] = [after.id] if after.archived and not before.archived else []
        if archived:
            await _end(conn, caller, after)
        return customer_wire(caller, await store.save_customer(conn, after))

    async def tell() -> None:
        if archived and caller.catalog.on_customer_archived is not None:
            await caller.catalog.on_customer_archived(caller.organization.id, archived[0])

    return await once(request, caller, work, after=tell)


@delete("/{customer_ref:str}", status_code=200, summary="Delete a customer")
async def remove(request: HttpRequest, caller: NamedDependency[Caller], customer_ref: FromPath[str]) -> Response[bytes]:
    """Additive: its subscription ends at once, nothing is collected, and no read finds it (R-CUST-9, AMB-57)."""
    caller.must_write(_RESOURCE)
    gone: list[bytes] = []

    async def work(conn: AsyncConnection) -> object:
        found = await store.load_customer(conn, caller.organization.id, customer_ref)
        await store.delete_customer(conn, found, caller.now_ms)
        await _end(conn, caller, found)
        gone[:] = [found.id]
        return {**caller.object("customer"), "id": found.id_text, "deleted": True}

    async def tell() -> None:
        if gone and caller.catalog.on_customer_archived is not None:
            await caller.catalog.on_customer_archived(caller.organization.id, gone[0])

    return await once(request, caller, work, after=tell)


async def _end(conn: AsyncConnection, caller: Caller, customer: Customer) -> None:
    """Let billing end what the customer has, in the same transaction: nothing can come between (R-CUST-9)."""
    if caller.catalog.end_customer is not None:
        await caller.catalog.end_customer(conn, customer)


CUSTOMERS = Router(
    path="/customers",
    route_handlers=[create, create_batch, list_all, read, update, remove],
    dependencies=DEPENDENCIES,
    tags=["customers"],
)
