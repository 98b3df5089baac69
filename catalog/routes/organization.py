"""The caller's organization over HTTP, routes of our own: how it bills where the documents leave a choice."""

from typing import Any, Final, Literal

import msgspec
from litestar import HttpMethod, Response, Router, get, route
from litestar.di import NamedDependency
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog import rule, store
from catalog.definition import SIMULATOR, DayCount, Organization, UpgradeCharge
from catalog.gateway.http import DEPENDENCIES, Caller, HttpRequest, read_body, reply
from catalog.gateway.once import once
from catalog.gateway.openapi import documented
from kernel.errors import invalid, rejected
from kernel.limits import SETTLE_SECONDS_MAX
from kernel.period import instant_text
from kernel.wire import Wire

_RESOURCE: Final = "organization"
_STRIPE: Final = "stripe"


class OrganizationPatch(Wire, frozen=True, kw_only=True):
    """What may change of an organization; absent members stay, `settleSeconds: null` is the deployment's delay."""

    name: str | UnsetType = UNSET
    plan_change_day_count: DayCount | UnsetType = UNSET
    upgrade_charge: UpgradeCharge | UnsetType = UNSET
    payments: Literal["none", "simulator", "stripe"] | UnsetType = UNSET
    settle_seconds: int | UnsetType | None = UNSET


def organization_wire(caller: Caller, shown: Organization) -> dict[str, Any]:
    """Spell an organization with its settings."""
    return {
        **caller.object("organization"),
        "id": shown.id_text,
        "name": shown.name,
        "environment": shown.environment,
        "currency": shown.currency,
        "planChangeDayCount": shown.day_count.value,
        "upgradeCharge": shown.upgrade_charge.value,
        "payments": shown.payments,
        "settleSeconds": None if shown.settle_ms is None else shown.settle_ms // 1000,
        "createdAt": instant_text(shown.created_ms),
    }


@get("/", summary="Read the organization and its settings")
async def read(caller: NamedDependency[Caller]) -> Response[bytes]:
    """The organization of the key that asks."""
    caller.must_read(_RESOURCE)
    return reply(caller.dialect, organization_wire(caller, caller.organization))


@route(
    "/",
    http_method=[HttpMethod.PATCH, HttpMethod.PUT],
    status_code=200,
    summary="Change the organization's settings",
    operation_class=documented(OrganizationPatch),
)
async def update(request: HttpRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
    """Settings hold from the next change of plan, payment or close on; what was billed stays (R-PRO-5, R-CHG-4)."""
    caller.must_write(_RESOURCE)
    patch = await read_body(request, OrganizationPatch)

    async def work(conn: AsyncConnection) -> object:
        before = await store.load_organization(conn, caller.organization.id)
        assert before is not None, "the caller's organization exists"
        return organization_wire(caller, await store.save_organization(conn, _patched(before, patch)))

    return await once(request, caller, work)


def _patched(before: Organization, patch: OrganizationPatch) -> Organization:
    changes: dict[str, Any] = {
        "name": patch.name if patch.name is UNSET else rule.name_of(patch.name),
        "day_count": patch.plan_change_day_count,
        "upgrade_charge": patch.upgrade_charge,
        "payments": patch.payments if patch.payments is UNSET else _payments(before, patch.payments),
        "settle_ms": patch.settle_seconds if isinstance(patch.settle_seconds, UnsetType) else _settle_ms(patch),
    }
    return msgspec.structs.replace(before, **{name: value for name, value in changes.items() if value is not UNSET})


def _payments(before: Organization, wanted: str) -> str:
    """Read the payments mode (decision 9): production never has simulated cards (R-ENV-6)."""
    if wanted == _STRIPE:
        raise invalid("payments", "stripe is not configured in this deployment: use none or simulator")
    if wanted == SIMULATOR and before.livemode:
        raise rejected("sandbox_only", "Only a sandbox organization has simulated payments.", param="payments")
    return wanted


def _settle_ms(patch: OrganizationPatch) -> int | None:
    if not isinstance(patch.settle_seconds, int):
        return None
    if not 0 <= patch.settle_seconds <= SETTLE_SECONDS_MAX:
        raise invalid("settleSeconds", f"must be from 0 to {SETTLE_SECONDS_MAX}")
    return patch.settle_seconds * 1000


ORGANIZATION = Router(
    path="/organization",
    route_handlers=[read, update],
    dependencies=DEPENDENCIES,
    tags=["organization"],
)
