"""Serving: one uvicorn for the API, one for the operator's socket, and an end that loses nothing.

On SIGTERM or SIGINT requests under way are answered, then the parts end in the order of `meterline.app`.
"""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from catalog.definition import NO_PAYMENTS, SANDBOX, SIMULATOR
from catalog.store.key import create_key, find_key
from catalog.store.organization import create_organization
from catalog.store.version import read_version
from kernel.errors import Misconfigured
from kernel.limits import KEEP_ALIVE_MS
from kernel.settings import Settings
from meterline.app import App, watch_loop
from meterline.epoch import opened_by_own_rules
from meterline.front import Front, nothing
from meterline.operator_socket import socket_path
from meterline.role import Role

_GRACE_SECONDS: Final = 5
_SWITCH_SECONDS: Final = 0.0005


class _Server(uvicorn.Server):
    """A uvicorn that leaves the signals to `serve`, which ends more than HTTP."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(settings: Settings, role: Role, host: str, port: int, api_key: str | None, payments: str) -> None:
    """Serve until SIGTERM or SIGINT; `api_key` makes a sandbox organization with that key when none has it.

    `payments` is that organization's mode. A role that takes no requests serves its health and metrics alone.
    """
    if payments not in (NO_PAYMENTS, SIMULATOR):
        raise Misconfigured(f"--payments is {payments!r}: set it to {NO_PAYMENTS} or {SIMULATOR}")
    listening = _listen(host, port)
    async with opened_by_own_rules(settings, role) as app:
        if api_key is not None and role.serves:
            await _ensure_sandbox(app, api_key, payments)
        main = _Server(_config(_surface(app) if role.serves else health(app)))
        servers, work = [main], [main.serve(sockets=[listening])]
        if settings.embedded:
            operator, bound = _operator(app)
            servers.append(operator)
            work.append(operator.serve(sockets=[bound]))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _end, *servers)
        gc.freeze()  # what is there stays for good: out of the garbage collector's sight
        _share_the_lock()
        stalls = asyncio.create_task(watch_loop(app.telemetry, app.clock))
        try:
            await asyncio.gather(*work)
        finally:
            stalls.cancel()
            if settings.embedded:
                socket_path(settings.data_dir).unlink(missing_ok=True)


def health(app: App) -> Front:
    """Wire the surface of a process that takes no requests."""
    return Front(hot={}, cool=nothing, telemetry=app.telemetry, ready=app.not_ready, clock=app.clock)


def _surface(app: App) -> Front:
    from meterline.surface import surface  # noqa: PLC0415 - all routes; who takes no requests needs none

    return surface(app)


def _operator(app: App) -> tuple[_Server, socket.socket]:
    from meterline.operation import OPERATIONS  # noqa: PLC0415 - the embedded engine's alone
    from meterline.operator import OperatorFront, bind  # noqa: PLC0415 - as above

    return _Server(_config(OperatorFront(app, OPERATIONS))), bind(app.settings.data_dir)


def _share_the_lock() -> None:
    """Let threads (SQLite's, chDB's) in sooner: at the default each of their steps waits 5 ms for a busy event loop."""
    sys.setswitchinterval(_SWITCH_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    """Bind first, so that a port in use stops the start before any store is opened."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Misconfigured(f"cannot listen on {host}:{port} ({error}): choose another --host or --port") from error
    return listening


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=KEEP_ALIVE_MS // 1_000,
    )


async def _ensure_sandbox(app: App, api_key: str, payments: str) -> None:
    """Make a sandbox organization with the key and the payments mode, unless the key is there."""
    now_ms = app.clock.now_ms()
    async with app.sql.transaction() as connection:
        if await find_key(connection, api_key) is not None:
            return
        organization = await create_organization(connection, "Sandbox", SANDBOX, now_ms, payments=payments)
        await create_key(connection, organization, name="default", now_ms=now_ms, secret=api_key)
        version = await read_version(connection)
    await app.catalog.published(version)


def _end(*servers: uvicorn.Server) -> None:
    for server in servers:
        server.should_exit = True
