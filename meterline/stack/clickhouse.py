"""ClickHouse's engine as a server: chDB in a process of its own, behind HTTP.

A ClickHouse server is not a Python package, but its engine is one (chDB): so the engine stands in the server's place
(`clickhouse_front.py` forwards and does nothing else). Invariants: the port stays the same over restarts; the account
is random and of this object alone.
"""

import secrets
import socket
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

from meterline.stack.process import ServerProcess

_USER: Final = "meterline"
_CALL_SECONDS: Final = 30.0
# "Too many parts": what a ClickHouse server answers to inserts while it cannot keep up.
TOO_MANY_PARTS: Final = 252


class ClickHouseServer(ServerProcess):
    """A server over `folder`, with any number of databases."""

    product = "chDB behind HTTP"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port = _free_port()
        self._password = secrets.token_hex(16)

    def command(self) -> Sequence[str]:
        """Tell the program and its arguments."""
        front = (sys.executable, "-m", "meterline.stack.clickhouse_front")
        place = ("--folder", str(self.folder), "--port", str(self.port))
        return (*front, *place, "--user", _USER, "--password", self._password)

    def answers(self) -> bool:
        """Tell whether it runs statements, and learn the versions of the engine."""
        try:
            self.version = f"(ClickHouse {self.run('SELECT version()').strip()})"
        except OSError:
            return False
        return True

    def url(self, database: str = "default") -> str:
        """Tell the URL of a database, as `METERLINE_RAW_URL` takes it."""
        return f"http://{_USER}:{self._password}@127.0.0.1:{self.port}/{quote(database)}"

    def create_database(self, name: str) -> str:
        """Make a database that is not there yet; returns its URL."""
        self.run(f"CREATE DATABASE `{name}`")
        return self.url(name)

    def refuse(self, code: int = TOO_MANY_PARTS) -> None:
        """Let every statement fail with this error of ClickHouse, until `accept` or a restart."""
        self._post("/refuse", {"code": str(code)})

    def accept(self) -> None:
        """Run statements again."""
        self._post("/accept", {})

    def run(self, statement: str) -> str:
        """Run one statement as an operator would; returns the answer as text. Raises OSError when it fails."""
        return self._post("/", {}, statement)

    def _post(self, path: str, arguments: dict[str, str], body: str = "") -> str:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}?{urlencode(arguments)}",
            data=body.encode(),
            headers={"Authorization": "Basic " + b64encode(f"{_USER}:{self._password}".encode()).decode()},
        )
        try:
            with _DIRECT.open(request, timeout=_CALL_SECONDS) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise OSError(error.read().decode().strip()) from None


# No proxy: the server is on this machine, whatever the environment says of others.
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
