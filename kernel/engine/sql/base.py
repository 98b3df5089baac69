"""The sql port: transactions over SQLAlchemy Core, and the one `metadata` in which packages declare their tables.

Portable SQL only (SQLite and PostgreSQL): no SKIP LOCKED; due work is claimed by a conditional UPDATE. Each sentence of
a docstring here is a test in `tests/contract/test_sql.py`.
"""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncConnection

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


@runtime_checkable
class Sql(Protocol):
    """A transactional database."""

    def transaction(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a serializable read-write transaction: committed at the end of the block, rolled back by an exception.

        Two that write at once behave as if one came after the other, also two of different processes. A violated unique
        key raises SQLAlchemy's `IntegrityError`. Nothing but SQL is awaited in the block: other writers wait for it.
        Unavailable says that it did not happen, but where it comes from the end of the block: then it is not known.
        """
        ...

    def snapshot(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a read-only view: every query in the block sees one committed state."""
        ...

    async def close(self) -> None:
        """Release connections."""
