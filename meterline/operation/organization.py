"""Organizations and keys: made, listed, revoked. A change is answered when every gateway sees it (DESIGN 3.7)."""

from typing import TYPE_CHECKING, Any

from catalog.definition import Organization
from catalog.store.key import create_key, list_keys, revoke_key
from catalog.store.organization import create_organization, list_organizations
from catalog.store.version import read_version
from kernel import ids
from kernel.errors import Misconfigured
from kernel.period import instant_text

if TYPE_CHECKING:
    from meterline.app import App

PERMISSIONS = ("read", "write")


async def create(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Make an organization with a first key; `apiKey` is shown this once."""
    now_ms = app.clock.now_ms()
    async with app.sql.transaction() as connection:
        made = await create_organization(
            connection, str(params["name"]), str(params["environment"]), now_ms, currency=str(params["currency"])
        )
        key, secret = await create_key(connection, made, name="first key", now_ms=now_ms)
        version = await read_version(connection)
    await app.catalog.published(version)
    return {"id": made.id_text, "environment": made.environment, "keyId": key.id, "apiKey": secret}


async def listed(app: "App", _: dict[str, Any]) -> dict[str, Any]:
    """List all organizations."""
    async with app.sql.snapshot() as connection:
        found = await list_organizations(connection)
    real_ms = app.clock.now_ms()
    return {
        "organizations": [
            {
                "id": one.id_text,
                "name": one.name,
                "environment": one.environment,
                "currency": one.currency,
                "payments": one.payments,
                "testClock": one.clock_ms is not None,
                "now": instant_text(one.now_ms(real_ms)),
            }
            for one in found
        ]
    }


async def create_a_key(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Make a key, restricted when `permissions` (`resource:read`, `resource:write`) are given."""
    organization = await chosen(app, params)
    permissions = _permissions(params.get("permissions"))
    async with app.sql.transaction() as connection:
        key, secret = await create_key(
            connection, organization, name=str(params["name"]), now_ms=app.clock.now_ms(), permissions=permissions
        )
        version = await read_version(connection)
    await app.catalog.published(version)
    return {"id": key.id, "organization": organization.id_text, "apiKey": secret}


async def listed_keys(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """List an organization's keys, newest first."""
    organization = await chosen(app, params)
    async with app.sql.snapshot() as connection:
        found = await list_keys(connection, organization.id)
    return {
        "organization": organization.id_text,
        "keys": [
            {
                "id": key.id,
                "name": key.name,
                "prefix": key.prefix,
                "kind": "full" if key.permissions is None else "restricted",
                "createdAt": instant_text(key.created_ms),
            }
            for key in found
        ],
    }


async def revoke(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Revoke a key; the next request with it is refused."""
    organization = await chosen(app, params)
    async with app.sql.transaction() as connection:
        await revoke_key(connection, organization.id, str(params["key"]), app.clock.now_ms())
        version = await read_version(connection)
    await app.catalog.published(version)
    return {"id": params["key"], "revoked": True}


async def chosen(app: "App", params: dict[str, Any]) -> Organization:
    """Find the organization that is named, or the only one. Raises Misconfigured with what to say."""
    async with app.sql.snapshot() as connection:
        found = await list_organizations(connection)
    wanted = params.get("organization")
    if wanted is None:
        if len(found) == 1:
            return found[0]
        names = ", ".join(one.id_text for one in found) or "none yet: meterline org create"
        raise Misconfigured(f"say which --organization is meant: {names}")
    for one in found:
        if one.id_text == wanted:
            return one
    raise Misconfigured(f"there is no organization {wanted}")


def _permissions(given: Any) -> dict[str, tuple[str, ...]] | None:
    if not given:
        return None
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        resource, _, action = str(text).partition(":")
        if not resource or action not in PERMISSIONS:
            raise Misconfigured(f"--permission is {text!r}: write resource:read or resource:write")
        found[resource] = (*found.get(resource, ()), action)
    return found


def organization_bytes(text: str) -> bytes:
    """Read an organization's id. Raises Misconfigured."""
    if not ids.is_id(ids.ORGANIZATION, text):
        raise Misconfigured(f"{text!r} is not an organization's id (org_…)")
    return ids.id_bytes(text)
