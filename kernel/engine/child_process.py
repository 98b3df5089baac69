"""Processes that this one starts: which one it is, and that it dies with its parent.

Owns what the kernel tells of a process. Linux. Source: DESIGN 7.
"""

import ctypes
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

_PR_SET_PDEATHSIG: Final = 1

_libc = ctypes.CDLL(None, use_errno=True)


class ProcessRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Who a process is: its id alone is used again by others, its id with its start (clock ticks since boot) is not."""

    pid: int
    started: int
    executable: str

    def lives(self) -> bool:
        """Tell whether this very process is still there."""
        if started_at(self.pid) != self.started:
            return False
        try:
            link = str(Path(f"/proc/{self.pid}/exe").readlink())
        except OSError:
            return False
        return link.removesuffix(" (deleted)") == self.executable


def started_at(pid: int) -> int | None:
    """Tell when a process started, in clock ticks since boot; None when it is not there or has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = text[text.rindex(")") + 2 :].split()
    return None if state in "ZX" else int(fields[18])


def die_with_parent(user: int | None = None) -> Callable[[], None]:
    """Make what a child runs before its program: the kernel kills it when the thread that started it ends.

    So start from a thread that lives as long as the child should: the main one. `user` is the id to become first,
    because becoming another one takes the bond away.
    """
    parent = os.getpid()

    def in_child() -> None:
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return in_child
