"""Applying, comparing and exporting the whole catalog of an organization, as one file's text.

What the file does not name stays, because subscriptions may rest on it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from catalog.document import FORMATS, Format, hints_of, parse_document, render_document
from catalog.document_change import Change
from catalog.document_part import CatalogDocument
from catalog.gateway import document as documents
from kernel.errors import Misconfigured, Rejected
from meterline.operation.organization import chosen

if TYPE_CHECKING:
    from meterline.app import App


async def apply(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Make the catalog what the file says, and answer when every gateway sees it; a second time nothing changes."""
    organization = await chosen(app, params)
    with _as_wrong_usage():
        document = _document(params)
        changes = await documents.apply(app.catalog, organization.id, document)
    return {"organization": organization.id_text, "changes": _listed(changes), "hints": hints_of(document)}


async def diff(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Tell what an apply would change, and change nothing."""
    organization = await chosen(app, params)
    with _as_wrong_usage():
        document = _document(params)
        changes = await documents.diff(app.catalog, organization.id, document)
    return {"organization": organization.id_text, "changes": _listed(changes), "hints": hints_of(document)}


async def export(app: "App", params: dict[str, Any]) -> dict[str, Any]:
    """Spell the catalog as a file's text."""
    organization = await chosen(app, params)
    found = await documents.export(app.catalog, organization.id)
    text = render_document(found, _format(params))
    return {
        "organization": organization.id_text,
        "features": len(found.feature),
        "plans": len(found.plan),
        "text": text,
    }


def _document(params: dict[str, Any]) -> CatalogDocument:
    return parse_document(str(params["file"]), _format(params))


def _format(params: dict[str, Any]) -> Format:
    if params["format"] not in FORMATS.values():
        raise Misconfigured(f"format is {params['format']!r}: use toml or yaml")
    return cast("Format", params["format"])


def _listed(changes: Sequence[Change]) -> list[dict[str, str]]:
    words = {"create": "new", "remove": "removed"}
    return [
        {
            "kind": change.kind.replace("_", " "),
            "name": ".".join(name for name in (change.plan, change.name) if name),
            "change": words.get(change.action) or change.said(),
        }
        for change in changes
    ]


@contextmanager
def _as_wrong_usage() -> Iterator[None]:
    """Say what is wrong with the file, and where in it."""
    try:
        yield
    except Rejected as error:
        where = f"{error.refusal.param} " if error.refusal.param else ""
        raise Misconfigured(f"the catalog file: {where}{error.refusal.message}") from error
