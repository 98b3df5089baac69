"""What the demo runs on: one embedded process, or the distributed engine's servers with a process for each role."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, Protocol

from kernel.settings import Settings
from meterline.stack.deployment import Deployment
from meterline.stack.embedded import EmbeddedProcess
from meterline.stack.servers import Servers


class Pluggable(Protocol):
    """What serves, and whose plug is pulled."""

    api_key: str
    kills: int

    @property
    def url(self) -> str:
        """Tell where it serves."""
        ...

    @property
    def settings(self) -> Settings:
        """Tell the settings for commands beside it."""
        ...

    def start(self) -> float:
        """Start and wait until it can take events; returns the seconds that took."""
        ...

    def kill(self) -> None:
        """End it with SIGKILL."""
        ...

    def stop(self) -> None:
        """End it in order."""
        ...

    def introduction(self) -> Sequence[str]:
        """Tell product, version and process id, a line each."""
        ...

    def last_words(self) -> str:
        """Read the end of its output."""
        ...


class _Alone(EmbeddedProcess):
    """One process that has everything."""

    def introduction(self) -> list[str]:
        """Tell the process."""
        return [f"{self.told()}, {self.url}, data in {self.folder}"]


class _OnServers(Deployment):
    """A deployment that tells its servers as well."""

    def __init__(self, folder: Path, servers: Servers) -> None:
        super().__init__(folder / "roles", servers.fresh("demo").variables, gateways=2, aggregators=2)
        self._servers = servers

    def introduction(self) -> list[str]:
        """Tell servers and processes."""
        return [*self._servers.told(), *self.told()]


@contextmanager
def _embedded(folder: Path) -> Iterator[Pluggable]:
    server = _Alone(folder / "data")
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _kafka(folder: Path) -> Iterator[Pluggable]:
    folder.chmod(0o711)  # PostgreSQL runs as another user, which passes through
    with Servers.started(folder) as servers:
        deployment = _OnServers(folder, servers)
        deployment.migrate()
        try:
            yield deployment
        finally:
            deployment.stop()


ENGINES: Final[dict[str, Callable[[Path], AbstractContextManager[Pluggable]]]] = {
    "embedded": _embedded,
    "kafka": _kafka,
}
