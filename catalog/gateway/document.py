"""Documents beside a running server. An apply is one transaction, then visible, then billing is told."""

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
        version = await read_version(conn)
    await catalog.published(version)
    if catalog.on_plan_changed is not None:
        for code in dict.fromkeys(
            change.plan for change in changes if change.plan and (change.kind, change.action) != ("plan", "remove")
        ):
            async with catalog.sql.snapshot() as conn:
                plan = await load_plan(conn, organization, code)
            await catalog.on_plan_changed(organization, plan.id)
    if catalog.on_addon_changed is not None:
        for slug in (change.name for change in changes if (change.kind, change.action) == ("addon", "update")):
            async with catalog.sql.snapshot() as conn:
                addon = await load_addon(conn, organization, slug)
            await catalog.on_addon_changed(organization, addon.id)
    return changes


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
