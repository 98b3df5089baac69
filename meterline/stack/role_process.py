"""One process of a deployment, `meterline serve --role …`, on stores that run elsewhere."""

import http.client
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from meterline.child import free_port
from meterline.stack.process import ServerProcess


class RoleProcess(ServerProcess):
    """Serves one role on a random port, which stays over kills and starts."""

    stop_seconds = 30.0

    def __init__(
        self, folder: Path, role: str, stores: Mapping[str, str], *, api_key: str | None = None, name: str = ""
    ) -> None:
        """`stores` are the METERLINE_… variables that name the deployment."""
        super().__init__(folder / (name or role))
        self.product = f"meterline {role}"
        self.version = version("meterline")
        self.role = role
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._stores = stores
        self._api_key = api_key

    def command(self) -> Sequence[str]:
        """Tell the command line. Source: DESIGN 7."""
        program = (sys.executable, "-c", "from meterline.cli import main; main()", "serve")
        key = ("--api-key", self._api_key) if self._api_key is not None else ()
        return (*program, "--role", self.role, "--port", str(self.port), "--data-dir", str(self.folder), *key)

    def environment(self) -> Mapping[str, str]:
        """Tell the deployment's stores."""
        return self._stores

    def answers(self) -> bool:
        """Tell whether it can do its work."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
