import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from meterline import schema
from meterline.reference import DOCS, PAGES


async def test_the_migrations_make_what_the_packages_declare(sql):
    await schema.migrate(sql)
    async with sql.snapshot() as connection:
        found = await connection.run_sync(lambda c: compare_metadata(MigrationContext.configure(c), schema.metadata))
    assert found == []


def test_the_newest_migration_is_the_one_that_a_start_compares_with():
    assert ScriptDirectory(schema.MIGRATIONS).get_current_head() == schema.head_revision()


async def test_migrating_twice_changes_nothing(sql):
    assert await schema.current_revision(sql) is None
    await schema.migrate(sql)
    assert await schema.current_revision(sql) == schema.head_revision()
    await schema.migrate(sql)
    assert await schema.current_revision(sql) == schema.head_revision()


@pytest.mark.parametrize("name", PAGES)
def test_reference_pages_are_what_the_code_says(name):
    assert (DOCS / name).read_text() == PAGES[name](), "run: .venv/bin/python -m meterline.reference"
