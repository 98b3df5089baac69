"""The operator's socket: the operations of `meterline.operation` over HTTP on `<data-dir>/operator.sock`, mode 0600.

These routes exist nowhere else; who can open the socket is who runs the server. Source: DESIGN 7.
"""

import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from kernel.errors import MeterlineError, Misconfigured, Rejected
from kernel.telemetry import logger
from meterline.operator_socket import PREFIX, SOCKET_NAME, SOCKET_PATH_BYTES_MAX, socket_path

if TYPE_CHECKING:
    from litestar.types import Message, Receive, Scope, Send

_log = logger("operator")

Operation = Callable[[Any, dict[str, Any]], Awaitable[dict[str, Any]]]


def bind(data_dir: Path) -> socket.socket:
    """Bind the socket, readable and writable by its owner alone; an old one is replaced (the caller holds the lock).

    A path that is too long for a socket is bound through the folder's descriptor.
    """
    path = socket_path(data_dir)
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        long = len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX
        bound.bind(f"/proc/self/fd/{folder}/{SOCKET_NAME}" if long else str(path))
    finally:
        os.close(folder)
        os.umask(before)
    return bound


class OperatorFront:
    """POST /operator/{name} with a JSON object; answers a JSON object, or an error with a message and a kind."""

    def __init__(self, app: Any, operations: Mapping[str, Operation]) -> None:
        self._app = app
        self._operations = operations

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one operation."""
        if cast("str", scope["type"]) != "http":
            return
        operation = self._operations.get(scope["path"].removeprefix(PREFIX))
        if operation is None:
            await _answer(send, 404, {"kind": "wrong usage", "message": f"there is no operation at {scope['path']}"})
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += cast("bytes", message.get("body", b""))
            more = bool(message.get("more_body", False))
        try:
            params = msgspec.json.decode(bytes(body) or b"{}", type=dict[str, Any])
            result = await operation(self._app, params)
        except (Rejected, Misconfigured, msgspec.DecodeError, ValueError) as error:
            await _answer(send, 400, {"kind": "wrong usage", "message": str(error)})
        except MeterlineError as error:
            await _answer(send, 503, {"kind": type(error).__name__, "message": str(error)})
        except Exception as error:  # noqa: BLE001 - the edge: logged with its origin and told to the operator
            _log.error("operation failed", path=scope["path"], exc_info=error)
            await _answer(send, 500, {"kind": "bug", "message": f"{type(error).__name__}: {error}"})
        else:
            await _answer(send, 200, result)


async def _answer(send: "Send", status: int, body: Mapping[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send(cast("Message", {"type": "http.response.start", "status": status, "headers": headers}))
    await send(cast("Message", {"type": "http.response.body", "body": msgspec.json.encode(body)}))
