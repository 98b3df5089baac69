"""A server in a process of its own, for demo, bench and load test: started, waited for, killed, ended, and measured.

Invariant: leaving the context ends the process, whatever happened; its embedded servers die with it.
"""

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kernel.clock import SystemClock
from kernel.errors import Fatal
from kernel.settings import Settings

START_SECONDS: Final = 60
STOP_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.02
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def monotonic_seconds() -> float:
    """Tell a time that only rises, for durations that people read."""
    return SystemClock().monotonic_ms() / 1000


def free_port() -> int:
    """Find a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def leave_in_order() -> None:
    """Let SIGTERM end this process the way an exception does, so that what it started is ended; main thread only."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)


class ServerChild:
    """`meterline serve` on a random port; the data folder and the port stay over kills and starts."""

    def __init__(self, data_dir: Path, *, api_key: str | None = None) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.api_key = api_key or "ck_sandbox_" + secrets.token_hex(16)
        self.url = f"http://127.0.0.1:{self.port}"
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """Tell the settings for commands beside it."""
        return Settings(data_dir=self.data_dir)

    def told(self) -> list[str]:
        """Tell it in a line."""
        return [f"pid {self.pid} at {self.url}, data in {self.data_dir}"]

    @property
    def pid(self) -> int:
        """Tell the process's id; it must run."""
        assert self._process is not None, "the server runs"
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start and wait until it can take events; returns the seconds that took. Raises Fatal with its last words."""
        began = monotonic_seconds()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "server.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [
                    *(sys.executable, "-c", "from meterline.cli import main; main()", "serve"),
                    *("--port", str(self.port), "--data-dir", str(self.data_dir), "--api-key", self.api_key),
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
            )
        while not self._ready():
            if self._process.poll() is not None or monotonic_seconds() - began > START_SECONDS:
                raise Fatal(f"the server did not start:\n{self.last_words()}")
            time.sleep(_LOOK_SECONDS)
        return monotonic_seconds() - began

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        except http.client.HTTPException:
            return False
        finally:
            connection.close()

    def last_words(self) -> str:
        """Read the end of its log."""
        with contextlib.suppress(OSError):
            return (self.data_dir / "server.log").read_text(errors="replace")[-2_000:]
        return ""

    def kill(self) -> None:
        """End it with SIGKILL, without a word."""
        assert self._process is not None, "the server runs"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.kills += 1

    def stop(self) -> None:
        """End it in order; after STOP_SECONDS by force."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """Tell how much processor time a process has used; 0 when it is gone. Linux."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """List the processes that a process started, whatever thread of it did."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(child) for child in (task / "children").read_text().split()]
    return found
