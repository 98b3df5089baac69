"""Connections to a Valkey or Redis server, as the log and the live adapter share them.

Owns when a connection may be used again: only after every reply to what it carried was read. Nothing here ever sends a
command twice, except when the server said that it does not know the script, which means that it did not run. Needs a
server of version 7 or later (scripts with flags).
"""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha1
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote
from weakref import WeakKeyDictionary

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection, UnixDomainSocketConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from kernel.engine.valkey_channel import hear
from kernel.errors import Misconfigured, Unavailable

# A server on the same machine or network connects within a millisecond; half a second is a server that is not there.
CONNECT_WAIT_MS: Final = 500
# The longest script (one record's worth of events) takes some milliseconds; two seconds are a server that hangs.
ANSWER_WAIT_MS: Final = 2_000

# Stands, among the first parts of a command, for the id of the run of the server that answers it: a server that was
# started again, or another that took its place, has another one. A connection never outlives the run of its server.
RUN: Final = b"{run}"
_RUN_WITHIN: Final = 8

Argument = str | bytes | int
Command = tuple[Argument, ...]


class Script:
    """A Lua file of a package, called by its digest; `#include NAME` lines are replaced by that file."""

    def __init__(self, package: str, name: str) -> None:
        lines = _text(package, name).splitlines()
        self.body: Final = "\n".join(
            _text(package, line.split()[-1]) if line.startswith("--#include ") else line for line in lines
        )
        self.sha: Final = sha1(self.body.encode(), usedforsecurity=False).hexdigest()
        self._verb: Final = "EVALSHA_RO" if "no-writes" in lines[0] else "EVALSHA"

    def call(self, keys: Sequence[str], *arguments: Argument) -> Command:
        """Make the command that runs it."""
        return (self._verb, self.sha, len(keys), *keys, *arguments)


def _text(package: str, name: str) -> str:
    return (files(package) / name).read_text()


def unix_url(socket: str) -> str:
    """Spell the URL of a unix socket."""
    return f"unix://{quote(socket)}"


def connector(url: str) -> Callable[[], AbstractConnection]:
    """Make a maker of connections without any retries. Raises Misconfigured for a URL that cannot be read."""
    try:
        options: dict[str, Any] = dict(parse_url(url))
    except ValueError as error:
        raise Misconfigured(f"{url!r} is not a server: set redis://host:port/db ({error})") from error
    kind = options.pop("connection_class", UnixDomainSocketConnection if url.startswith("unix:") else Connection)
    options |= {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": None,
        "socket_connect_timeout": CONNECT_WAIT_MS / 1000,
        "protocol": 2,
        "driver_info": None,
    }
    return lambda: kind(**options)


class Connections:
    """A pool. One call has a connection for itself, so a call that blocks holds nobody up but callers beyond `most`."""

    def __init__(self, url: str, scripts: Sequence[Script] = (), *, most: int) -> None:
        self._connect = connector(url)
        self._scripts = scripts
        self._room = asyncio.Semaphore(most)
        self._idle: list[AbstractConnection] = []
        self._runs: WeakKeyDictionary[AbstractConnection, bytes] = WeakKeyDictionary()
        self._under_way: set[asyncio.Timeout] = set()
        self._drained = asyncio.Event()
        self._hearing: set[AbstractConnection] = set()
        self._closed = False

    async def ask(self, *commands: Command, wait_ms: int = ANSWER_WAIT_MS) -> list[Any]:
        """Send commands in one packet and return their replies (an error reply as a value), within `wait_ms`.

        Raises Unavailable for every other end; the connection is discarded then, so nothing is ever sent again.
        """
        if self._closed:
            raise Unavailable("the connections are closed")
        try:
            async with asyncio.timeout(wait_ms / 1000) as limit:
                self._under_way.add(limit)
                try:
                    async with self._room:
                        return await self._asked(commands)
                finally:
                    self._under_way.discard(limit)
                    if not self._under_way:
                        self._drained.set()
        except TimeoutError as error:
            raise Unavailable(f"no answer within {wait_ms} ms") from error
        except (RedisError, OSError) as error:
            raise Unavailable(str(error) or type(error).__name__) from error

    async def one(self, command: Command, *, wait_ms: int = ANSWER_WAIT_MS) -> Any:
        """Send one command and return its reply. Raises Unavailable, for an error reply too."""
        return checked(await self.ask(command, wait_ms=wait_ms))[0]

    async def attempt(self, *commands: Command) -> list[Any]:
        """Ask as `ask` does; where it would raise, Unavailable stands in place of each reply that is missing."""
        try:
            return await self.ask(*commands)
        except Unavailable as error:
            return [error] * len(commands)

    async def each(self, command: Command) -> list[Any]:
        """Ask one command of every server there is, this one, and return their replies. Raises as `ask`."""
        return await self.ask(command)

    async def hear(
        self, channels: Sequence[str], told: Callable[[bytes, bytes], None], listening: Callable[[], None]
    ) -> None:
        """Tell what is published on shard channels, until cancelled (see `valkey_channel`). Raises Unavailable."""
        if self._closed:
            raise Unavailable("the connections are closed")
        connection = self._connect()
        self._hearing.add(connection)
        try:
            await hear(connection, channels, told, listening)
        finally:
            self._hearing.discard(connection)

    async def close(self) -> None:
        """Close every connection; calls under way and who hears end as Unavailable."""
        self._closed = True
        for connection in list(self._hearing):
            await connection.disconnect(nowait=True)
        now = asyncio.get_running_loop().time()
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(now)
        if self._under_way:
            self._drained.clear()
            await self._drained.wait()
        await self._forget()

    async def _asked(self, commands: Sequence[Command]) -> list[Any]:
        connection = await self._take()
        clean = False
        try:
            if any(RUN in command[:_RUN_WITHIN] for command in commands):
                run = await self._run_of(connection)
                commands = [tuple(run if part is RUN else part for part in command) for command in commands]
            replies = await _exchange(connection, commands)
            unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:
                await _exchange(connection, [("SCRIPT", "LOAD", script.body) for script in self._scripts])
                again = await _exchange(connection, [commands[place] for place in unknown])
                for place, reply in zip(unknown, again, strict=True):
                    replies[place] = reply
            clean = True
        except RedisError:
            await self._forget()  # the others of the pool lead to the same server that is gone
            raise
        else:
            return replies
        finally:
            if clean and not self._closed:
                self._idle.append(connection)
            else:
                await connection.disconnect(nowait=True)

    async def _run_of(self, connection: AbstractConnection) -> bytes:
        """Tell the run of the server at the other end; asked once a connection."""
        known = self._runs.get(connection)
        if known is None:
            (told,) = checked(await _exchange(connection, [("INFO", "server")]))
            fields: dict[bytes, bytes] = dict(line.split(b":", 1) for line in told.splitlines() if b":" in line)
            known = self._runs[connection] = fields[b"run_id"]
        return known

    async def _take(self) -> AbstractConnection:
        while self._idle:
            connection = self._idle.pop()
            if not _at_end(connection):
                return connection
            await connection.disconnect(nowait=True)
        return self._connect()

    async def _forget(self) -> None:
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)


def _at_end(connection: AbstractConnection) -> bool:
    reader = connection._reader  # noqa: SLF001 - the driver has no cheap question for "has the server hung up?"
    return reader is None or reader.at_eof()


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type] # its stub says: one element
    await connection.send_packed_command(packed)
    return [await _reply(connection) for _ in commands]


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def checked(replies: list[Any]) -> list[Any]:
    """Return the replies, or raise Unavailable for the first error among them."""
    for reply in replies:
        if isinstance(reply, Unavailable):
            raise reply
        if isinstance(reply, ResponseError):
            raise Unavailable(f"the server refused: {reply}")
    return replies
