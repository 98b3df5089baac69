"""Answers to writes that carried an `Idempotency-Key`, kept for a day in the write's own transaction (contract 1.5)."""

import msgspec
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.tables import idempotent_requests as table
from kernel.limits import IDEMPOTENT_KEEP_MS


class StoredAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What was answered, and the fingerprint of the request that it answered."""

    fingerprint: str
    status: int
    body: bytes


async def find_answer(conn: AsyncConnection, organization: str, scope: str, now_ms: int) -> StoredAnswer | None:
    """Find the answer of a scope that is not older than a day."""
    statement = select(table).where(
        table.c.organization_id == organization,
        table.c.scope == scope,
        table.c.created_ms > now_ms - IDEMPOTENT_KEEP_MS,
    )
    row = (await conn.execute(statement)).one_or_none()
    if row is None:
        return None
    return StoredAnswer(fingerprint=row.fingerprint, status=row.status, body=row.body)


async def keep_answer(conn: AsyncConnection, organization: str, scope: str, answer: StoredAnswer, now_ms: int) -> None:
    """Keep an answer, and forget those that are older than a day. Raises IntegrityError when one is kept already."""
    await conn.execute(delete(table).where(table.c.created_ms <= now_ms - IDEMPOTENT_KEEP_MS))
    await conn.execute(
        insert(table).values(
            organization_id=organization,
            scope=scope,
            fingerprint=answer.fingerprint,
            status=answer.status,
            body=answer.body,
            created_ms=now_ms,
        )
    )


async def replace_answer(conn: AsyncConnection, organization: str, scope: str, body: bytes) -> None:
    """Keep another body in the place of the one that was kept; its status and its age stay."""
    own = update(table).where(table.c.organization_id == organization, table.c.scope == scope)
    await conn.execute(own.values(body=body))
