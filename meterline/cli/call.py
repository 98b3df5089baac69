"""Running an operation: beside a running embedded server over its socket, else on the stores themselves.

Invariants: exactly one process has an embedded store open; a command that finds it held by another one says by which
(exit 3). On the distributed engine a command is one more process beside the others.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kernel.errors import Fatal, Misconfigured, NotReachable
from kernel.settings import Settings
from meterline.operator_socket import PREFIX, SOCKET_NAME, SOCKET_PATH_BYTES_MAX, socket_path
from meterline.role import Role

if TYPE_CHECKING:
    import httpx

_CONNECT_S: Final = 5.0
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
    import httpx  # noqa: PLC0415 - a third of a second, for who speaks to a server alone

    async with _client(settings) as client:
        try:
            response = await client.post(f"http://operator{PREFIX}{name}", content=msgspec.json.encode(params))
        except httpx.ConnectError:
            return None  # what a killed server left behind
        except httpx.TransportError as error:
            raise NotReachable(f"the server went away during {name}: {error or type(error).__name__}") from error
    body: dict[str, Any] = msgspec.json.decode(response.content or b"{}")
    if response.is_success:
        return body
    message = str(body.get("message", response.status_code))
    if response.status_code in (_WRONG_USAGE, _NO_OPERATION):
        raise Misconfigured(message)
    if response.status_code == _AWAY:
        raise NotReachable(message)
    raise Fatal(message)


@contextlib.asynccontextmanager
async def _client(settings: Settings) -> AsyncIterator["httpx.AsyncClient"]:
    """Open a client on the socket; a path that is too long for a socket goes through the folder's descriptor."""
    import httpx  # noqa: PLC0415 - as above

    path = socket_path(settings.data_dir)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        short = f"/proc/self/fd/{folder}/{SOCKET_NAME}" if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX else str(path)
        transport = httpx.AsyncHTTPTransport(uds=short)
        timeout = httpx.Timeout(None, connect=_CONNECT_S)
        async with httpx.AsyncClient(transport=transport, timeout=timeout) as client:
            yield client
    finally:
        os.close(folder)
