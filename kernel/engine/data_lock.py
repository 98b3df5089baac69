"""The lock of a folder: one process at a time opens the data in it.

Owns the file `lock`, held with flock for as long as its process lives, so that a killed holder leaves nothing behind;
the text in it is the holder's pid. Source: DESIGN 7.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from kernel.errors import NotReachable

LOCK_NAME = "lock"


class DataLock:
    """An exclusive hold on a folder; not held until `hold`."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def hold(self, data_dir: Path, name: str = LOCK_NAME) -> Self:
        """Take `<data_dir>/<name>`, made where missing. Raises NotReachable, which names the holder's pid."""
        assert self._descriptor is None, "a lock is held once"
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode().strip()
            os.close(descriptor)
            raise NotReachable(f"{data_dir} is held by process {holder or '(starting)'}: stop it first") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        self._descriptor = descriptor
        return self

    def release(self) -> None:
        """Let go; does nothing when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
