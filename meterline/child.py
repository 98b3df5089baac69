"""What a program needs that starts others: ports, times, an end in order, and what its children have used."""

import contextlib
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Final

from kernel.clock import SystemClock

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
