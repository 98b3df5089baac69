import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select, text

from billing.tables import invoice_lines, invoices
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


OLD_ROWS = (
    "INSERT INTO organizations VALUES ('org_1', 'Test', 'sandbox', NULL, 'none', 'usd', NULL, 1, 0)",
    (
        "INSERT INTO customers (id, organization_id, email, profile, archived, version, created_ms, updated_ms)"
        " VALUES ('cus_1', 'org_1', 'a@example.com', '{}', false, 1, 0, 0)"
    ),
    (
        "INSERT INTO plans (id, organization_id, code, name, is_public, is_free, is_default, sort_order,"
        " version, created_ms, updated_ms, deleted_ms) VALUES"
        " ('pln_1', 'org_1', 'pro', 'Pro', true, false, false, 0, 1, 0, 0, 0)"
    ),
    (
        "INSERT INTO subscriptions (id, organization_id, customer_id, plan_id, plan_name, name, status, free, currency,"
        " term, anchor_day, start_us, period_start_day, final_due, created_ms, updated_ms)"
        " VALUES ('sub_1', 'org_1', 'cus_1', 'pln_1', 'Pro', 'Pro', 'active', false, 'usd', 1, 0, 0, 0, false, 0, 0)"
    ),
    (
        "INSERT INTO closes (id, organization_id, customer_id, subscription_id, cut, start_day, through_day, end_us,"
        " final, state, invoice_id, created_ms) VALUES"
        " ('cls_1', 'org_1', 'cus_1', 'sub_1', 1, 0, 31, 0, false, 'settled', 'inv_2', 0)"
    ),
    *(
        "INSERT INTO invoices (id, organization_id, customer_id, subscription_id, cut, kind, number, status, currency,"
        " total_minor, period_start_ms, period_end_ms, issued_ms, due_ms, plan_name, created_ms) VALUES"
        f" ('inv_{n}', 'org_1', 'cus_1', 'sub_1', {n - 1}, 'recurring', {n}, 'paid', 'usd', 4900, 0, 1, 0, 0, 'Pro', 0)"
        for n in (1, 2)
    ),
    (
        "INSERT INTO invoice_lines (id, invoice_id, position, kind, line_type, charge_type, description, quantity,"
        " unit_price, term, cut_after, cut, amount_minor) VALUES"
        " ('line_1', 'inv_2', 0, 'plan_base', 'plan_base', 'advance', 'Pro', '1', '49', 1, 1, 1, 4900)"
    ),
)


async def test_invoices_of_the_first_schema_say_what_made_them(sql):
    """R-INV-11: of a close or a start, and all of the total is due."""

    def upgrade(connection, to):
        config = Config()
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, to)

    async with sql.transaction() as connection:
        await connection.run_sync(upgrade, "0002")
        for statement in OLD_ROWS:
            await connection.execute(text(statement))
    await schema.migrate(sql)
    async with sql.snapshot() as connection:
        query = select(invoices.c.source, invoices.c.due_minor, invoices.c.basis).order_by(invoices.c.number)
        found = [tuple(row) for row in await connection.execute(query)]
        lines = [tuple(row) for row in await connection.execute(select(invoice_lines.c.id, invoice_lines.c.invoice_id))]
    assert found == [("start:sub_1", 4900, {"cut": 0}), ("close:cls_1", 4900, {"cut": 1})]
    assert lines == [("line_1", "inv_2")]


@pytest.mark.parametrize("name", PAGES)
def test_reference_pages_are_what_the_code_says(name):
    assert (DOCS / name).read_text() == PAGES[name](), "run: .venv/bin/python -m meterline.reference"
