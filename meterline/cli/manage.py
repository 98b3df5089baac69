"""Commands about organizations, keys and the catalog."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kernel.errors import Misconfigured
from meterline.cli.call import call
from meterline.cli.output import FOUND, OK, DataDir, Json, console, end, print_json, print_table, settings_of, wait_for

org = typer.Typer(help="Organizations: each is one environment of one seller.", no_args_is_help=True)
keys = typer.Typer(help="API keys of an organization.", no_args_is_help=True)
catalog = typer.Typer(help="The whole catalog as one TOML or YAML file.", no_args_is_help=True)

Organization = Annotated[str | None, typer.Option("--organization", help="org_…; may be left out when there is one.")]
CatalogFile = Annotated[Path, typer.Argument(help="Catalog file (.toml, .yaml).")]


@org.command("create")
def org_create(
    name: Annotated[str, typer.Argument(help="Name for people.")],
    *,
    environment: Annotated[str, typer.Option(help="sandbox or production.")] = "sandbox",
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "usd",
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make an organization and its first key, which is shown this once."""
    params = {"name": name, "environment": environment, "currency": currency}
    made = wait_for(call(settings_of(data_dir), "org_create", params))
    if as_json:
        print_json(made)
    else:
        console.print(f"{made['id']}  {made['environment']}\nkey  {made['apiKey']}  (shown this once)")


@org.command("list")
def org_list(*, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the organizations."""
    result = wait_for(call(settings_of(data_dir), "org_list", {}))
    if as_json:
        print_json(result)
        return
    rows = [
        (one["id"], one["name"], one["environment"], one["currency"], one["now"]) for one in result["organizations"]
    ]
    print_table("Organizations", ["id", "name", "environment", "currency", "its now"], rows)


@keys.command("create")
def keys_create(
    *,
    organization: Organization = None,
    name: Annotated[str, typer.Option(help="Name for people.")] = "operator",
    permission: Annotated[
        list[str] | None, typer.Option(help="resource:read or resource:write; makes it restricted.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make a key and show it this once."""
    params = {"organization": organization, "name": name, "permissions": permission or None}
    made = wait_for(call(settings_of(data_dir), "keys_create", params))
    if as_json:
        print_json(made)
    else:
        console.print(f"{made['id']}\nkey  {made['apiKey']}  (shown this once)")


@keys.command("list")
def keys_list(*, organization: Organization = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """List the keys; a key itself is never shown again."""
    result = wait_for(call(settings_of(data_dir), "keys_list", {"organization": organization}))
    if as_json:
        print_json(result)
        return
    rows = [(one["id"], one["name"], one["prefix"] + "…", one["kind"], one["createdAt"]) for one in result["keys"]]
    print_table("Keys", ["id", "name", "begins", "kind", "made"], rows)


@keys.command("revoke")
def keys_revoke(
    key: Annotated[str, typer.Argument(help="key_…")],
    *,
    organization: Organization = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Revoke a key for good."""
    result = wait_for(call(settings_of(data_dir), "keys_revoke", {"organization": organization, "key": key}))
    if as_json:
        print_json(result)
    else:
        console.print(f"{key} is revoked")


@catalog.command("apply")
def catalog_apply(
    file: CatalogFile, *, organization: Organization = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Make the catalog what the file says; a second time nothing changes."""
    params = {"organization": organization, "file": _text(file), "format": _format(file)}
    result = wait_for(call(settings_of(data_dir), "catalog_apply", params))
    if as_json:
        print_json(result)
    else:
        _print_changes(result["changes"], "nothing to change")
        _print_hints(result["hints"])


@catalog.command("diff")
def catalog_diff(
    file: CatalogFile, *, organization: Organization = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Show what `apply` would change; ends with 1 when there is something."""
    params = {"organization": organization, "file": _text(file), "format": _format(file)}
    result = wait_for(call(settings_of(data_dir), "catalog_diff", params))
    if as_json:
        print_json(result)
    else:
        _print_changes(result["changes"], "no difference")
        _print_hints(result["hints"])
    end(FOUND if result["changes"] else OK)


@catalog.command("export")
def catalog_export(
    file: CatalogFile, *, organization: Organization = None, data_dir: DataDir = None, as_json: Json = False
) -> None:
    """Write the catalog to a file that `apply` takes."""
    params = {"organization": organization, "format": _format(file)}
    result = wait_for(call(settings_of(data_dir), "catalog_export", params))
    file.write_text(result["text"])
    if as_json:
        print_json({"file": str(file), "features": result["features"], "plans": result["plans"]})
    else:
        console.print(f"{result['features']} features and {result['plans']} plans in {file}")


def _print_changes(changes: list[dict[str, Any]], nothing: str) -> None:
    if changes:
        print_table("Changes", ["what", "name", "change"], [(c["kind"], c["name"], c["change"]) for c in changes])
    else:
        console.print(nothing)


def _print_hints(hints: list[str]) -> None:
    for hint in hints:
        console.print(f"hint: {hint}")


def _format(file: Path) -> str:
    kind = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}.get(file.suffix.lower())
    if kind is None:
        raise Misconfigured(f"{file.name} is neither .toml nor .yaml")
    return kind


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file} is not UTF-8") from error


def add_to(app: typer.Typer) -> None:
    """Add the groups."""
    app.add_typer(org, name="org")
    app.add_typer(keys, name="keys")
    app.add_typer(catalog, name="catalog")
