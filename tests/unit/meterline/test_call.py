"""A command beside a running server: what it makes of each answer on the operator's socket, and of none."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import Fatal, MeterlineError, Misconfigured, NotReachable
from kernel.settings import Settings
from meterline.cli.call import call
from meterline.operator import bind
from meterline.operator_socket import SOCKET_NAME

CHUNKED = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n'


def answer(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Told\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


@asynccontextmanager
async def answering(folder: Path, content: bytes) -> AsyncIterator[Callable[[], Any]]:
    """Stand in for a server that answers every request with `content` and hangs up; yields what it was asked."""
    asked: list[tuple[str, Any]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length:")[1].split()[0])
        asked.append((head.splitlines()[0], json.loads(await reader.readexactly(length))))
        writer.write(content)
        writer.close()

    folder.mkdir(exist_ok=True)
    async with await asyncio.start_unix_server(serve, sock=bind(folder)):
        yield lambda: asked


@pytest.mark.parametrize("content", [CHUNKED, answer(200, b'{"a":1}')])
@pytest.mark.parametrize("name", ["data", "d" * 120])
async def test_an_operation_is_asked_for_and_answered(tmp_path: Path, content: bytes, name: str) -> None:
    async with answering(tmp_path / name, content) as asked:
        assert await call(Settings(data_dir=tmp_path / name), "audit", {"late": True}) == {"a": 1}
        assert asked() == [("POST /operator/audit HTTP/1.1", {"late": True})]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (answer(400, b'{"message":"no such thing"}'), Misconfigured, "no such thing"),
        (answer(404, b'{"message":"no operation"}'), Misconfigured, "no operation"),
        (answer(503, b'{"message":"the log is away"}'), NotReachable, "the log is away"),
        (answer(500, b'{"message":"KeyError"}'), Fatal, "KeyError"),
        (answer(500, b""), Fatal, "500"),
        (b"", NotReachable, "went away during audit"),
        (CHUNKED[:-12], NotReachable, "went away during audit"),
        (b"no HTTP\r\n\r\n", NotReachable, "went away during audit"),
    ],
)
async def test_what_is_no_success_is_an_error_by_its_remedy(
    tmp_path: Path, content: bytes, error: type[MeterlineError], words: str
) -> None:
    async with answering(tmp_path, content):
        with pytest.raises(error, match=words):
            await call(Settings(data_dir=tmp_path), "audit", {})


async def test_what_a_killed_server_left_behind_is_no_server(tmp_path: Path) -> None:
    """The command then opens the stores itself, and says what it finds there: here that nothing was ever made."""
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(tmp_path / SOCKET_NAME))
    left.close()
    settings = Settings(data_dir=tmp_path, log_url="memory://", live_url="memory://", log_level="error")
    assert (await call(settings, "org_list", {}))["organizations"] == []
