"""Running an operation: beside a running embedded server over its socket, else on the stores themselves.

Invariants: exactly one process has an embedded store open; a command that finds it held by another one says by which
(exit 3). On the distributed engine a command is one more process beside the others.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any, Final

import httptools
import msgspec

from kernel.errors import Fatal, Misconfigured, NotReachable
from kernel.settings import Settings
from meterline.operator_socket import PREFIX, SOCKET_NAME, SOCKET_PATH_BYTES_MAX, socket_path
from meterline.role import Role

_CONNECT_S: Final = 5.0
_READ_BYTES: Final = 65_536
_OK: Final = 200
_WRONG_USAGE: Final = 400
_NO_OPERATION: Final = 404
_AWAY: Final = 503


async def call(settings: Settings, name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Run an operation and return its result. Raises NotReachable, Misconfigured and Fatal."""
    if settings.embedded and (answer := await _over_socket(settings, name, params)) is not None:
        return answer
    from meterline.app import opened  # noqa: PLC0415 - opens the whole engine; most commands never need it
    from meterline.operation import OPERATIONS  # noqa: PLC0415 - as above

    make = settings.embedded or name == "migrate"
    # What makes the tables comes before what ends an epoch of older rules.
    async with opened(settings, Role.OPERATOR, make=make, ending=name == "migrate") as app:
        return await OPERATIONS[name](app, params)


async def _over_socket(settings: Settings, name: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Ask the running server; None when none answers."""
    if not socket_path(settings.data_dir).exists():
        return None
    async with _path(settings) as path:
        try:
            async with asyncio.timeout(_CONNECT_S):
                reader, writer = await asyncio.open_unix_connection(path)
        except TimeoutError as error:
            raise NotReachable(f"the server does not take a connection for {name}") from error
        except OSError:
            return None  # what a killed server left behind
    try:
        status, answered = await _post(reader, writer, PREFIX + name, msgspec.json.encode(params))
    except (OSError, EOFError, httptools.HttpParserError) as error:
        raise NotReachable(f"the server went away during {name}: {error or type(error).__name__}") from error
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    body: dict[str, Any] = msgspec.json.decode(answered or b"{}")
    if status == _OK:
        return body
    message = str(body.get("message", status))
    if status in (_WRONG_USAGE, _NO_OPERATION):
        raise Misconfigured(message)
    if status == _AWAY:
        raise NotReachable(message)
    raise Fatal(message)


class _Answer:
    """What the parser hears of an answer."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.whole = False

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.whole = True


async def _post(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, content: bytes
) -> tuple[int, bytes]:
    """Send JSON and wait for the answer, however long it takes; returns its status and body.

    By hand, because a client's library takes longer to load than most operations take. Raises OSError, EOFError and
    HttpParserError when the server goes away.
    """
    head = f"POST {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(head.encode() + content)
    await writer.drain()
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    while not answer.whole:
        if not (part := await reader.read(_READ_BYTES)):
            raise EOFError
        parser.feed_data(part)
    return parser.get_status_code(), bytes(answer.body)


@contextlib.asynccontextmanager
async def _path(settings: Settings) -> AsyncIterator[str]:
    """Spell the socket's path; one that is too long for a socket goes through the folder's descriptor."""
    path = socket_path(settings.data_dir)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        long = len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}" if long else str(path)
    finally:
        os.close(folder)
