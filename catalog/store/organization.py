"""Organizations: making one, reading one, its settings, and its test clock."""

from typing import Any, Final

from sqlalchemy import Row, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import (
    NO_PAYMENTS,
    PRODUCTION,
    SANDBOX,
    DayCount,
    Organization,
    PlanFeature,
    UpgradeCharge,
)
from catalog.regional import CURRENCIES
from catalog.store.version import raise_version
from catalog.tables import organizations
from kernel import ids
from kernel.errors import invalid, rejected

_DOLLARS: Final = "usd"


def organization_of(row: Row[Any]) -> Organization:
    """Turn a row into its value."""
    return Organization(
        id=ids.id_bytes(row.id),
        name=row.name,
        environment=row.environment,
        clock_ms=row.clock_ms,
        payments=row.payments,
        currency=row.currency,
        settle_ms=row.settle_ms,
        created_ms=row.created_ms,
        day_count=DayCount(row.day_count),
        upgrade_charge=UpgradeCharge(row.upgrade_charge),
    )


async def create_organization(
    conn: AsyncConnection,
    name: str,
    environment: str,
    now_ms: int,
    *,
    payments: str = NO_PAYMENTS,
    currency: str = "usd",
    clock_ms: int | None = None,
    settle_ms: int | None = None,
) -> Organization:
    """Make an organization in one environment; `live` is another word for production (R-ENV-5). `now_ms` is real.

    Raises Rejected for an environment or a currency that there is not (R-REG-1).
    """
    environment = PRODUCTION if environment == "live" else environment
    if environment not in (SANDBOX, PRODUCTION):
        raise invalid("environment", "must be sandbox or production")
    if environment == PRODUCTION and clock_ms is not None:
        raise rejected("sandbox_only", "Only a sandbox organization has a test clock.")
    if currency.lower() not in CURRENCIES:
        raise invalid("currency", f"must be one of {', '.join(sorted(CURRENCIES))}")
    made = Organization(
        id=ids.new_bytes(now_ms),
        name=name,
        environment=environment,
        clock_ms=clock_ms,
        payments=payments,
        currency=currency.lower(),
        settle_ms=settle_ms,
        created_ms=now_ms,
    )
    await conn.execute(
        insert(organizations).values(
            id=made.id_text,
            name=made.name,
            environment=made.environment,
            clock_ms=made.clock_ms,
            payments=made.payments,
            currency=made.currency,
            settle_ms=made.settle_ms,
            created_ms=made.created_ms,
            version=await raise_version(conn),
        )
    )
    return made


async def load_organization(conn: AsyncConnection, organization: bytes) -> Organization | None:
    """Read one organization."""
    wanted = ids.id_text(ids.ORGANIZATION, organization)
    row = (await conn.execute(select(organizations).where(organizations.c.id == wanted))).one_or_none()
    return None if row is None else organization_of(row)


async def check_margin(conn: AsyncConnection, organization: bytes, granted: PlanFeature) -> None:
    """Refuse AI models on balances in another currency: what their tokens cost is in USD (R-AI-2). Raises Rejected."""
    if granted.margin is None:
        return
    found = await load_organization(conn, organization)
    if found is not None and found.currency != _DOLLARS:
        message = f"AI models cost USD, and the organization's balances are in {found.currency.upper()}."
        raise invalid("pricingMode", message)


async def save_organization(conn: AsyncConnection, organization: Organization) -> Organization:
    """Store an organization's name and settings; its test clock has a function of its own."""
    await conn.execute(
        update(organizations)
        .where(organizations.c.id == organization.id_text)
        .values(
            name=organization.name,
            payments=organization.payments,
            settle_ms=organization.settle_ms,
            day_count=organization.day_count.value,
            upgrade_charge=organization.upgrade_charge.value,
            version=await raise_version(conn),
        )
    )
    return organization


async def list_organizations(conn: AsyncConnection) -> list[Organization]:
    """Read all organizations, oldest first."""
    rows = await conn.execute(select(organizations).order_by(organizations.c.created_ms, organizations.c.id))
    return [organization_of(row) for row in rows]


async def set_clock(conn: AsyncConnection, organization: bytes, clock_ms: int | None) -> None:
    """Set a sandbox organization's test clock (None: real time); whether it may move there is the caller's rule."""
    found = await load_organization(conn, organization)
    if found is None or found.livemode:
        raise rejected("sandbox_only", "Only a sandbox organization has a test clock.")
    await conn.execute(
        update(organizations)
        .where(organizations.c.id == found.id_text)
        .values(clock_ms=clock_ms, version=await raise_version(conn))
    )
