"""API keys: shown once, kept as SHA-256 and a prefix.

A key is 160 random bits, so a plain hash protects it: there is nothing to guess. Source: contract row 132; R-ENV-3.
"""

import base64
import os
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

from sqlalchemy import Row, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import ApiKey, Organization
from catalog.store.version import raise_version
from catalog.tables import api_keys
from kernel import ids
from kernel.errors import invalid, rejected

FULL: Final = "ck_"
RESTRICTED: Final = "rk_"
_SECRET_BYTES: Final = 20
_SHOWN_CHARS: Final = 16


def hash_key(secret: str) -> str:
    """Hash a key as it is kept: SHA-256 in hex."""
    return sha256(secret.encode()).hexdigest()


def key_of_row(row: Row[Any]) -> ApiKey:
    """Turn a row into its value."""
    permissions = row.permissions
    return ApiKey(
        id=row.id,
        organization=ids.id_bytes(row.organization_id),
        name=row.name,
        prefix=row.prefix,
        hash=row.hash,
        permissions=None if permissions is None else {name: tuple(may) for name, may in permissions.items()},
        expires_ms=row.expires_ms,
        created_ms=row.created_ms,
    )


async def create_key(
    conn: AsyncConnection,
    organization: Organization,
    *,
    name: str,
    now_ms: int,
    permissions: Mapping[str, tuple[str, ...]] | None = None,
    expires_ms: int | None = None,
    secret: str | None = None,
) -> tuple[ApiKey, str]:
    """Make a key and return it with its secret, which is never readable again. `now_ms` is real time.

    Without `permissions` it is a full key. A given `secret` (an operator's) is kept instead of a random one; raises
    Rejected when its prefix does not fit or it is taken.
    """
    kind = FULL if permissions is None else RESTRICTED
    if secret is None:
        random = base64.b32encode(os.urandom(_SECRET_BYTES)).decode().lower()
        secret = f"{kind}{'live' if organization.livemode else 'sandbox'}_{random}"
    elif not secret.startswith(kind) or len(secret) == len(kind):
        raise invalid("apiKey", f"must start with {kind} and go on")
    made = ApiKey(
        id=ids.new_id(ids.API_KEY, now_ms),
        organization=organization.id,
        name=name,
        prefix=secret[: min(_SHOWN_CHARS, max(len(kind), len(secret) // 2))],
        hash=hash_key(secret),
        permissions=permissions,
        expires_ms=expires_ms,
        created_ms=now_ms,
    )
    taken = (await conn.execute(select(api_keys.c.id).where(api_keys.c.hash == made.hash))).first()
    if taken is not None:
        raise invalid("apiKey", "is taken")
    await conn.execute(
        insert(api_keys).values(
            id=made.id,
            organization_id=organization.id_text,
            name=made.name,
            prefix=made.prefix,
            hash=made.hash,
            permissions=None if permissions is None else {key: list(may) for key, may in permissions.items()},
            expires_ms=made.expires_ms,
            version=await raise_version(conn),
            created_ms=now_ms,
            updated_ms=now_ms,
        )
    )
    return made, secret


async def list_keys(
    conn: AsyncConnection, organization: bytes, *, limit: int | None = None, after: tuple[int, str] | None = None
) -> list[ApiKey]:
    """List an organization's keys, newest first, from `after` (created_ms, id) on."""
    statement = (
        select(api_keys)
        .where(api_keys.c.organization_id == ids.id_text(ids.ORGANIZATION, organization), api_keys.c.deleted_ms == 0)
        .order_by(api_keys.c.created_ms.desc(), api_keys.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tuple_(api_keys.c.created_ms, api_keys.c.id) < tuple_(*after))
    return [key_of_row(row) for row in await conn.execute(statement)]


async def find_key(conn: AsyncConnection, secret: str) -> ApiKey | None:
    """Find a key that is not revoked by its secret."""
    statement = select(api_keys).where(api_keys.c.hash == hash_key(secret), api_keys.c.deleted_ms == 0)
    row = (await conn.execute(statement)).one_or_none()
    return None if row is None else key_of_row(row)


async def revoke_key(conn: AsyncConnection, organization: bytes, key_id: str, now_ms: int) -> None:
    """Revoke a key for good (R-ENV-3). Raises Rejected `api_key_not_found`."""
    statement = (
        update(api_keys)
        .where(
            api_keys.c.organization_id == ids.id_text(ids.ORGANIZATION, organization),
            api_keys.c.id == key_id,
            api_keys.c.deleted_ms == 0,
        )
        .values(deleted_ms=now_ms, updated_ms=now_ms, version=await raise_version(conn))
        .returning(api_keys.c.id)
    )
    if (await conn.execute(statement)).first() is None:
        raise rejected("api_key_not_found", f"There is no key {key_id}.")
