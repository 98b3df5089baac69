"""A deployment of role processes over servers that run elsewhere: started together, killed together, ended in order."""

import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kernel.clock import SystemClock
from kernel.errors import Fatal
from kernel.settings import Settings, environment_of_children, load_settings
from meterline.stack.role_process import RoleProcess

_START_SECONDS: Final = 90.0
_MIGRATE_SECONDS: Final = 120


class Deployment:
    """Gateways, aggregators and billing on `stores` (METERLINE_… variables), with one sandbox key."""

    def __init__(
        self,
        folder: Path,
        stores: Mapping[str, str],
        *,
        gateways: int = 1,
        aggregators: int = 1,
        billings: int = 1,
        api_key: str | None = None,
    ) -> None:
        self.folder = folder
        self.stores = dict(stores)
        self.api_key = api_key or "ck_sandbox_" + secrets.token_hex(16)
        self.kills = 0

        def made(role: str, count: int) -> list[RoleProcess]:
            names = [f"{role}-{number}" for number in range(1, count + 1)]
            key = self.api_key if role == "gateway" else None
            return [RoleProcess(folder, role, self.stores, api_key=key, name=name) for name in names]

        self.gateways = made("gateway", gateways)
        self.aggregators = made("aggregator", aggregators)
        self.billings = made("billing", billings)

    def __enter__(self) -> Self:
        self.migrate()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Tell the first gateway's address; every gateway serves the same."""
        return self.gateways[0].url

    @property
    def settings(self) -> Settings:
        """Tell the settings for commands beside the processes."""
        return load_settings({**self.stores, "METERLINE_DATA_DIR": str(self.folder)})

    @property
    def processes(self) -> Iterator[RoleProcess]:
        """Go through all processes, in the order in which they start."""
        yield from (*self.aggregators, *self.gateways, *self.billings)

    def migrate(self) -> None:
        """Make tables and log. Raises Fatal with what the command said."""
        done = subprocess.run(
            (sys.executable, "-c", "from meterline.cli import main; main()", "migrate"),
            env={**environment_of_children(), **self.stores},
            capture_output=True,
            text=True,
            timeout=_MIGRATE_SECONDS,
            check=False,
        )
        if done.returncode:
            raise Fatal(f"migrate ended with {done.returncode}: {done.stdout}{done.stderr}")

    def start(self) -> float:
        """Start what does not run, all at once, and wait until each can do its work; returns the seconds that took."""
        began_ms = SystemClock().monotonic_ms()
        started = [process for process in self.processes if not process.runs]
        for process in started:
            process.spawn()
        for process in started:
            process.wait_ready(_START_SECONDS)
        return (SystemClock().monotonic_ms() - began_ms) / 1_000

    def kill(self) -> None:
        """End every process with SIGKILL."""
        for process in self.processes:
            process.kill()
        self.kills += 1

    def stop(self) -> None:
        """End every process in order: first who takes requests, then who folds them."""
        for process in (*self.gateways, *self.billings, *self.aggregators):
            process.stop()

    def told(self) -> list[str]:
        """Tell every process in a line."""
        return [f"{process.told()}, {process.url}" for process in self.processes]

    def last_words(self) -> str:
        """Read the end of each process's output."""
        return "\n".join(f"{process.folder.name}: {process.last_words()}" for process in self.processes)
