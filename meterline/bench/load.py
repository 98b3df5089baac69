"""The load generator: a process of its own that speaks just enough HTTP/1.1, with requests encoded beforehand.

Reads one JSON `Plan` on standard input and prints one JSON `Load`. Each connection sends the next request when its
answer is there; latencies are from the first byte sent to the last byte read.
"""

import asyncio
import sys
import time
from collections import Counter
from contextlib import suppress
from typing import Final, cast

import msgspec
import uvloop

MARK: Final = b"@@@@@@@@@@"  # where each request's own number goes, ten digits
_END_SECONDS: Final = 5
_HEAD_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length:"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: `requests` are templates taken in turn; `good` must stand in an answer for it to count."""

    port: int
    connections: int
    warm_seconds: float
    seconds: float
    requests: list[bytes]
    good: bytes
    first: int = 0


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What came back within the measured time; latencies in milliseconds."""

    answers: int
    good: int
    seconds: float
    p50_ms: float
    p99_ms: float
    statuses: dict[str, int]
    sample: str
    cpu_seconds: float


class Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self, generator: "Generator") -> None:
        self._generator = generator
        self._buffer = bytearray()
        self._need = -1
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports do not inherit from asyncio's
        self._next()

    def _next(self) -> None:
        assert self._transport is not None, "connected"
        request = self._generator.next_request()
        if request is None:
            self._transport.close()
            return
        self._buffer.clear()
        self._need = -1
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer, and send the next request when it is whole."""
        self._buffer += data
        if self._need < 0:
            end = self._buffer.find(_HEAD_END)
            if end < 0:
                return
            head = bytes(self._buffer[:end]).lower()
            at = head.find(_LENGTH)
            length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._need = end + len(_HEAD_END) + length
        if len(self._buffer) >= self._need:
            self._generator.answered(time.perf_counter() - self._sent, bytes(self._buffer))
            self._next()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell that the connection is gone."""
        self._generator.lost()


class Generator:
    """Hands out requests and counts answers."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._number = plan.first
        self._latencies: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._good = 0
        self._sample = ""
        self._open = 0
        self._measuring = self._ended = False
        self.done = asyncio.Event()

    def next_request(self) -> bytes | None:
        """Encode the next request; None when time is up."""
        if self._ended:
            return None
        self._number += 1
        template = self._plan.requests[self._number % len(self._plan.requests)]
        return template.replace(MARK, b"%010d" % self._number)

    def answered(self, seconds: float, answer: bytes) -> None:
        """Count one answer."""
        if not self._measuring:
            return
        self._latencies.append(seconds)
        self._statuses[answer[9:12].decode()] += 1
        if self._plan.good in answer:
            self._good += 1
        elif not self._sample:
            self._sample = answer.partition(_HEAD_END)[2][:300].decode(errors="replace")

    def lost(self) -> None:
        """Count a connection that is gone."""
        self._open -= 1
        if self._open == 0:
            self.done.set()

    async def run(self) -> Load:
        """Warm up, measure, end."""
        loop = asyncio.get_running_loop()
        self._open = self._plan.connections
        for _ in range(self._plan.connections):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._plan.port)
        await asyncio.sleep(self._plan.warm_seconds)
        self._measuring = True
        began, cpu = time.perf_counter(), time.process_time()
        print("measuring", flush=True)
        await asyncio.sleep(self._plan.seconds)
        self._measuring = False
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        self._ended = True
        print(msgspec.json.encode(self._load(seconds, used)).decode(), flush=True)
        with suppress(TimeoutError):  # who reads our result sees what was not answered
            await asyncio.wait_for(self.done.wait(), _END_SECONDS)
        return self._load(seconds, used)

    def _load(self, seconds: float, used: float) -> Load:
        ordered = sorted(self._latencies)
        return Load(
            answers=len(ordered),
            good=self._good,
            seconds=seconds,
            p50_ms=_rank(ordered, 0.5),
            p99_ms=_rank(ordered, 0.99),
            statuses=dict(self._statuses),
            sample=self._sample,
            cpu_seconds=used,
        )


def _rank(ordered: list[float], share: float) -> float:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000, 3) if ordered else 0.0


def request(method: str, path: str, api_key: str, body: bytes | None = None) -> bytes:
    """Encode one HTTP/1.1 request; the mark in path or body keeps its length when it is replaced."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {api_key}\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + (body or b"")


def main() -> None:
    """Read the plan, run it, print what came back."""
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=Plan)

    async def run() -> None:
        await Generator(plan).run()

    uvloop.run(run())
