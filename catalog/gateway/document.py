"""Documents beside a running server. An apply is one transaction, then visible, then billing is told."""

from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.document_change import Change
from catalog.document_part import CatalogDocument
from catalog.gateway.catalog import Catalog
from catalog.store.addon import load_addon
from catalog.store.document import apply_document, diff_document, export_document
from catalog.store.plan import load_plan
from catalog.store.version import read_version


async def apply(
    catalog: Catalog, organization: bytes, document: CatalogDocument, *, prune: bool = False
) -> list[Change]:
    """Bring an organization's catalog to what the document says. Raises Rejected; then nothing has changed."""
    await catalog.current()
    async with catalog.sql.transaction() as conn:
        changes = await apply_document(
            conn,
            catalog.organization(organization),
            document,
            now_ms=catalog.clock.now_ms(),
            prune=prune,
            plan_in_use=catalog.plan_in_use,
            addon_in_use=catalog.addon_in_use,
            currency_in_use=catalog.currency_in_use,
        )
        plans, addons = await _told(conn, organization, changes)
        version = await read_version(conn)
    await catalog.published(version)
    if catalog.on_plan_changed is not None:
        for plan_id in plans:
            await catalog.on_plan_changed(organization, plan_id)
    if catalog.on_addon_changed is not None:
        for addon_id in addons:
            await catalog.on_addon_changed(organization, addon_id)
    return changes


async def _told(conn: AsyncConnection, organization: bytes, changes: list[Change]) -> tuple[list[str], list[str]]:
    """Tell the ids of the plans and add-ons of which billing is told, while no other can remove one."""
    codes = dict.fromkeys(
        change.plan for change in changes if change.plan and (change.kind, change.action) != ("plan", "remove")
    )
    slugs = [change.name for change in changes if (change.kind, change.action) == ("addon", "update")]
    plans = [(await load_plan(conn, organization, code)).id for code in codes]
    return plans, [(await load_addon(conn, organization, slug)).id for slug in slugs]


async def diff(
    catalog: Catalog, organization: bytes, document: CatalogDocument, *, prune: bool = False
) -> list[Change]:
    """Tell what an apply would change, and change nothing. Raises Rejected where it could not be applied."""
    await catalog.current()
    async with catalog.sql.snapshot() as conn:
        return await diff_document(conn, catalog.organization(organization), document, prune=prune)


async def export(catalog: Catalog, organization: bytes) -> CatalogDocument:
    """Write an organization's catalog as a document."""
    async with catalog.sql.snapshot() as conn:
        return await export_document(conn, catalog.organization(organization))
