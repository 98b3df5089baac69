"""Commands that start or prepare a server: serve, run, migrate, check-config, version."""

import os
import secrets
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from kernel.errors import Misconfigured
from kernel.settings import Settings, settings_table
from meterline.cli.output import DataDir, Json, console, print_json, print_table, settings_of, wait_for
from meterline.role import SERVERS, Role

RUN_PORT: Final = 8000
SERVER_FILE: Final = "server.json"


class ServerFile(msgspec.Struct, frozen=True, rename="camel"):
    """What `run` leaves in the data folder for the other commands: base URL and sandbox key (0600)."""

    url: str
    api_key: str


def read_server_file(data_dir: Path) -> ServerFile | None:
    """Read where the server of a data folder is; None when `run` never ran there."""
    try:
        return msgspec.json.decode((data_dir / SERVER_FILE).read_bytes(), type=ServerFile)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise Misconfigured(f"{data_dir / SERVER_FILE} is damaged: delete it and run `meterline run` again") from error


def write_server_file(data_dir: Path, content: ServerFile) -> None:
    """Write the file, readable by its owner alone."""
    data_dir.mkdir(parents=True, exist_ok=True)
    temporary = data_dir / (SERVER_FILE + ".new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(content))
    temporary.replace(data_dir / SERVER_FILE)


Host = Annotated[str, typer.Option(help="Address to listen on.")]
Payments = Annotated[str, typer.Option(help="Payments mode of the organization that --api-key makes.")]


def serve(
    *,
    role: Annotated[
        str, typer.Option(help="Which parts this process runs: all, gateway, aggregator, billing.")
    ] = "all",
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = RUN_PORT,
    data_dir: DataDir = None,
    api_key: Annotated[
        str | None, typer.Option(help="Make a sandbox organization with this key if none has it.")
    ] = None,
    payments: Payments = "none",
) -> None:
    """Serve the API in this process."""
    _serve(settings_of(data_dir), host, port, api_key, payments, role)


def run(*, host: Host = "127.0.0.1", port: int = RUN_PORT, data_dir: DataDir = None) -> None:
    """Serve the embedded engine and print base URL and sandbox key; everything lives in one folder."""
    settings = settings_of(data_dir)
    known = read_server_file(settings.data_dir)
    key = known.api_key if known is not None else f"ck_sandbox_{secrets.token_hex(20)}"
    url = f"http://{host}:{port}"
    write_server_file(settings.data_dir, ServerFile(url, key))
    console.print(f"[bold]Meterline[/] {url}/api/v1\nsandbox key  {key}\ndata         {settings.data_dir.resolve()}")
    console.print(f"docs         {url}/schema\nend it with Ctrl-C; nothing that was acknowledged is lost\n")
    _serve(settings, host, port, key, "none", "all")


def _serve(settings: Settings, host: str, port: int, api_key: str | None, payments: str, role: str) -> None:
    if role not in SERVERS:
        raise Misconfigured(f"--role is {role!r}: set it to {', '.join(SERVERS[:-1])} or {SERVERS[-1]}")
    import uvloop  # noqa: PLC0415 - as below

    from meterline.server import serve as start  # noqa: PLC0415 - opens the whole engine; most commands never need it

    uvloop.run(start(settings, Role(role), host, port, api_key, payments))


def migrate(*, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Make or update the tables and the log of a deployment."""
    from meterline.cli.call import call  # noqa: PLC0415 - httpx, which `version` does not need

    result = wait_for(call(settings_of(data_dir), "migrate", {}))
    if as_json:
        print_json(result)
    else:
        console.print(f"epoch {result['epoch']}, {result['lanes']} lanes, schema {result['schema']}")


def check_config(*, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show every setting and check them."""
    settings = settings_of(data_dir)
    values = {field.name: str(getattr(settings, field.name)) for field in msgspec.structs.fields(Settings)}
    if as_json:
        print_json(values)
        return
    rows = [line.strip("| ").split(" | ", 2) for line in settings_table().splitlines()[2:]]
    shown = [
        (name.strip("`"), values[name.strip("`").removeprefix("METERLINE_").lower()], text) for name, _, text in rows
    ]
    print_table("Settings", ["Variable", "Value", "Meaning"], shown)
    console.print("all settings are valid")


def version(*, as_json: Json = False) -> None:
    """Print the version."""
    number = installed_version("meterline")
    if as_json:
        print_json({"version": number})
    else:
        console.print(f"meterline {number}")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(serve)
    app.command("run")(run)
    app.command("migrate")(migrate)
    app.command("check-config")(check_config)
    app.command("version")(version)
