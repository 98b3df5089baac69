"""The schema of SQL and RAW as a whole: which tables exist, and how a store is brought up to date.

Every package declares its own tables on the one `metadata`; importing them here is what makes it complete. A change of
schema is a migration in `meterline/migrations`.
"""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

import billing.tables
import catalog.tables
from kernel.engine.sql.base import Sql, metadata

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
TABLE_MODULES: Final = (catalog.tables, billing.tables)

__all__ = ["TABLE_MODULES", "current_revision", "head_revision", "metadata", "migrate"]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def head_revision() -> str | None:
    """Name the newest migration that this program has."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def current_revision(sql: Sql) -> str | None:
    """Name the migration that the database is at; None for an empty one."""
    async with sql.snapshot() as connection:
        return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


async def migrate(sql: Sql) -> None:
    """Bring the database to the newest schema, in one transaction; nothing happens when it is there."""
    if await current_revision(sql) == head_revision():
        return
    async with sql.transaction() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
