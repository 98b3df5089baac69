"""The floors: the least that a server in Python could do for the same request, on the same loop and parser.

It reads the body and answers; with `valkey` it also asks an embedded Valkey for one key. A process of its own with the
arguments PORT and, maybe, `valkey`; it prints a line when it listens.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import redis.asyncio
import uvicorn
import uvloop

from kernel.engine.valkey_child import ValkeyChild

_BODY: Final = b'{"ok":true}'
_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode())],
}
KEY: Final = "floor"
_MEMORY_BYTES: Final = 64 * 1024 * 1024


class Floor:
    """A bare ASGI application."""

    def __init__(self, valkey: "redis.asyncio.Redis | None") -> None:
        self._valkey = valkey

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the whole body, ask Valkey if there is one, answer."""
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body", False):
            pass
        if self._valkey is not None:
            await self._valkey.get(KEY)
        await send(_START)
        await send({"type": "http.response.body", "body": _BODY})


class _Told(uvicorn.Server):
    """A uvicorn that says when it listens."""

    async def startup(self, sockets: Any = None) -> None:
        """Start, and print a line."""
        await super().startup(sockets)
        print("listening", flush=True)


async def _serve(port: int, valkey: "redis.asyncio.Redis | None") -> None:
    config = uvicorn.Config(
        Floor(valkey),
        port=port,
        http="httptools",
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
    )
    await _Told(config).serve()


async def serve(port: int, *, needs_valkey: bool) -> None:
    """Serve the floor until the process is ended."""
    if not needs_valkey:
        await _serve(port, None)
        return
    with tempfile.TemporaryDirectory(prefix="meterline-floor-") as folder:
        child = await ValkeyChild.start(Path(folder), "live", memory_bytes=_MEMORY_BYTES, fsync="everysec")
        client = redis.asyncio.Redis.from_url(child.url)
        try:
            await client.set(KEY, b"1")
            await _serve(port, client)
        finally:
            await client.aclose()
            await child.stop()


def main() -> None:
    """Serve on the port that the command line names."""
    uvloop.run(serve(int(sys.argv[1]), needs_valkey="valkey" in sys.argv[2:]))
