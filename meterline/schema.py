"""The schema of SQL and RAW as a whole: which tables exist, and how a store is brought up to date.

Every package declares its own tables on the one `metadata`; importing them here is what makes it complete. A change of
schema is a migration in `meterline/migrations`. Alembic is loaded by who migrates alone: a start that finds the newest
schema never needs it.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, column, inspect, select, table

import billing.tables
import catalog.tables
from kernel.engine.sql.base import Sql, metadata

MIGRATIONS: Final = Path(__file__).parent / "migrations"
_HEAD: Final = "0013"
_AT: Final = table("alembic_version", column("version_num"))
TABLE_MODULES: Final = (catalog.tables, billing.tables)

__all__ = ["MIGRATIONS", "TABLE_MODULES", "current_revision", "head_revision", "metadata", "migrate"]


def head_revision() -> str:
    """Name the newest migration that this program has."""
    return _HEAD


async def current_revision(sql: Sql) -> str | None:
    """Name the migration that the database is at; None for an empty one."""
    async with sql.snapshot() as connection:
        if not await connection.run_sync(lambda sync: inspect(sync).has_table(_AT.name)):
            return None
        return await connection.scalar(select(_AT.c.version_num))


async def migrate(sql: Sql) -> None:
    """Bring the database to the newest schema, in one transaction; nothing happens when it is there."""
    if await current_revision(sql) == head_revision():
        return
    async with sql.transaction() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - heavy, and needed at the first start alone
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
