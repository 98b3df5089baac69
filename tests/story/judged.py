"""The audit of a billing story's invoices, from SQL and RAW as they stand, and each of them made again."""

from typing import Any

from sqlalchemy import text

from billing import tables
from billing.gateway.reproducing import reproduced
from meterline.audit.invoices import InvoiceAudit
from meterline.audit.report import Findings
from meterline.audit.rows import books, progress, stored_events
from meterline.audit.tally import Tally
from tests.story.test_billing import World


async def judged(world: World) -> tuple[Findings, InvoiceAudit]:
    """Audit all invoices of a world; nothing may be on its way to RAW."""
    await world.sink.flush()
    tally, findings = Tally(), Findings()
    for (epoch, lane), end in (await progress(world.raw)).items():
        for row in await stored_events(world.raw, epoch, lane, 0, end):
            tally.row(row, findings)
    audit = InvoiceAudit(await books(world.sql), tally.usage, tally.ends, tally.drawn)
    audit.check(findings)
    return findings, audit


async def proved(world: World) -> None:
    """Find nothing: every invoice is made again to the same bytes, and the audit agrees."""
    made = await world.rows(tables.invoices)
    assert made
    for invoice in made:
        again = await reproduced(world.sql, world.store, invoice.id)
        assert (again.verdict, again.differences) == ("identical", []), (again.source, again.differences)
        assert again.stored_digest == again.recomputed_digest
    findings, audit = await judged(world)
    assert (findings.kept, audit.unjudged, audit.unbilled) == ([], {}, [])


async def changed(world: World, statement: str, **values: Any) -> None:
    """Change a row behind billing's back."""
    async with world.sql.transaction() as connection:
        await connection.execute(text(statement), values)
