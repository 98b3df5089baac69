"""The deployment's one row: epoch of the log with its lanes and its rules of folding, secret of the key digests."""

import os
from typing import Final

from msgspec.structs import asdict
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.definition import Deployment
from catalog.tables import deployment

_ONLY: Final = 1
_SECRET_BYTES: Final = 32  # BLAKE2b takes keys up to 64 bytes; 32 is beyond any search
_FIRST_EPOCH: Final = 1
# The epoch of a deployment that a restore has begun and not ended; nothing else may start on it.
UNFINISHED: Final = 0


async def load_deployment(conn: AsyncConnection) -> Deployment | None:
    """Read the deployment; None before `ensure_deployment`."""
    row = (await conn.execute(select(deployment))).one_or_none()
    return None if row is None else Deployment(epoch=row.epoch, lanes=row.lanes, secret=row.secret, rules=row.rules)


async def ensure_deployment(conn: AsyncConnection, lanes: int, rules: int = 1) -> Deployment:
    """Make the deployment with epoch 1 and a random secret, or return the one that is there, as it is."""
    found = await load_deployment(conn)
    if found is not None:
        return found
    made = Deployment(epoch=_FIRST_EPOCH, lanes=lanes, secret=os.urandom(_SECRET_BYTES), rules=rules)
    await conn.execute(insert(deployment).values(id=_ONLY, **asdict(made)))
    return made


async def begin_restore(conn: AsyncConnection) -> None:
    """Say that a restore is under way. What the row says is not a deployment until `finish_restore`."""
    await conn.execute(delete(deployment))
    await conn.execute(insert(deployment).values(id=_ONLY, epoch=UNFINISHED, lanes=0, secret=b""))


async def finish_restore(conn: AsyncConnection, epoch: int) -> None:
    """Let the deployment that was loaded go on in a new epoch."""
    await conn.execute(update(deployment).values(epoch=epoch))


async def begin_epoch(conn: AsyncConnection, old: Deployment, lanes: int, rules: int) -> bool:
    """Let the deployment go on in the epoch after `old`; False when it is not `old` any more."""
    new = {"epoch": old.epoch + 1, "lanes": lanes, "rules": rules}
    row = update(deployment).where(deployment.c.epoch == old.epoch).values(**new)
    return (await conn.execute(row)).rowcount == 1
