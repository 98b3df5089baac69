"""A server process: started, waited for, frozen, killed, started again on the same data, and ended by its id.

Invariants: leaving the context ends the process, whatever happened; it dies with the thread that started it, so start
it from one that lives as long as the server should (the main one). All calls block.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kernel.clock import SystemClock
from kernel.engine.child_process import die_with_parent
from kernel.errors import Fatal
from kernel.settings import environment_of_children

_LOOK_SECONDS: Final = 0.02
_WORDS: Final = 2_000


class ServerProcess:
    """One server over `folder`. A subclass says `command`, and tells in `answers` whether it takes requests."""

    product = ""
    start_seconds = 60.0
    stop_seconds = 20.0
    stop_signal = signal.SIGTERM
    user: int | None = None  # the id to run as; None: ours
    cwd: Path | None = None

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = ""
        self.kills = 0
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Tell the program and its arguments; the same at every start."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        """Tell variables to add to ours."""
        return {}

    def answers(self) -> bool:
        """Tell whether the server takes requests, and learn its `version`."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        """Tell the process's id; it was started."""
        assert self._process is not None, "the server was started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Tell whether it runs now."""
        return self._process is not None and self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Tell how it ended (negative: by that signal); None while it runs."""
        return None if self._process is None else self._process.poll()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start and wait until it answers; returns the seconds that took. Raises Fatal with its last words."""
        began = _seconds()
        self.spawn()
        self.wait_ready(self.start_seconds)
        return _seconds() - began

    def spawn(self) -> None:
        """Start without waiting."""
        assert not self.runs, "it runs already"
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own arguments
                list(self.command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cwd,
                env={**environment_of_children(), **self.environment()},
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on
                preexec_fn=die_with_parent(self.user),  # noqa: PLW1509 - prctl must run in the child; it takes no lock
            )

    def wait_ready(self, seconds: float) -> None:
        """Wait until it answers. Raises Fatal with its last words when it ends or takes longer."""
        assert self._process is not None, "spawn() comes first"
        until = _seconds() + seconds
        while not self.answers():
            if self._process.poll() is not None:
                raise Fatal(f"{self.product} ended with {self._process.returncode}:\n{self.last_words()}")
            if _seconds() > until:
                raise Fatal(f"{self.product} did not answer in {seconds:.0f} s:\n{self.last_words()}")
            time.sleep(_LOOK_SECONDS)

    def freeze(self) -> None:
        """Make it hang until `thaw`; on return no thread of it runs."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        """Let it go on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it with SIGKILL, without a word."""
        assert self._process is not None, "the server was started"
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self.kills += 1

    def stop(self) -> None:
        """End it in order; after `stop_seconds` by force. A second time it does nothing."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self.thaw()
        process.send_signal(self.stop_signal)
        try:
            process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def log_file(self) -> Path:
        """Tell where its output goes."""
        return self.folder / "server.log"

    def last_words(self) -> str:
        """Read the end of its output."""
        with contextlib.suppress(OSError):
            return self.log_file.read_text(errors="replace")[-_WORDS:]
        return ""

    def told(self) -> str:
        """Tell product, version and process id in one line."""
        return f"{self.product} {self.version}, pid {self.pid}"


def _seconds() -> float:
    return SystemClock().monotonic_ms() / 1000
