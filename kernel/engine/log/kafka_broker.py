"""Connections to the brokers of a Kafka cluster, and what the log says to them, in the driver's protocol types.

Owns when a connection may be used again: only after every reply to what it carried was read; each other end costs the
connection. Nothing here sends anything a second time.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from kernel.errors import Misconfigured, Unavailable

# Another broker is asked after this: a broker of the same network answers within milliseconds.
_TURN_WAIT_MS: Final = 500
# Every call has a limit of its own; the driver's must never come first.
_DRIVER_WAIT_MS: Final = 3_600_000
_PORT: Final = 9092


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int


class Partition(NamedTuple):
    """Where one partition lives: its leader (None: none now) and how many replicas it is meant to have."""

    leader: Address | None
    replicas: int


class Cluster(NamedTuple):
    """What the cluster tells of itself and of one topic, by partition; None: there is no such topic."""

    brokers: dict[int, Address]
    controller: Address | None
    partitions: dict[int, Partition] | None


def addresses(servers: str) -> list[Address]:
    """Read `host:port,host:port`; a port that is left out is 9092. Raises Misconfigured."""
    found = []
    for server in servers.split(","):
        host, _, port = server.strip().rpartition(":") if ":" in server else (server.strip(), "", str(_PORT))
        if not host or "@" in host or not port.isdecimal():
            raise Misconfigured(
                f"METERLINE_LOG_URL has {server!r} for a broker: set it to kafka://host:port,host:port"
                " (brokers that ask for a name and password are not supported)"
            )
        found.append(Address(host, int(port)))
    return found


class Brokers:
    """The pool. One call has a connection for itself, so a call that waits holds nobody up."""

    def __init__(self, bootstrap: Sequence[Address]) -> None:
        self._bootstrap = list(bootstrap)
        self._known: list[Address] = []
        self._idle: defaultdict[Address, list[AIOKafkaConnection]] = defaultdict(list)
        self._closing: set[asyncio.Future[None]] = set()
        self._under_way: set[asyncio.Timeout] = set()
        self._drained = asyncio.Event()
        self._closed = False

    @asynccontextmanager
    async def within(self, wait_ms: float) -> AsyncIterator[None]:
        """Bound what is done inside. Raises Unavailable after `wait_ms`, and as soon as the pool is closed."""
        if self._closed:
            raise Unavailable("the log is closed")
        try:
            async with asyncio.timeout(wait_ms / 1000) as limit:
                self._under_way.add(limit)
                try:
                    yield
                finally:
                    self._under_way.discard(limit)
                    if not self._under_way:
                        self._drained.set()
        except TimeoutError as error:
            raise Unavailable("the log was closed" if self._closed else f"no answer within {wait_ms:.0f} ms") from error

    async def ask(self, address: Address, *requests: Any) -> list[Any]:
        """Send requests in one go and return their replies. Raises Unavailable for every other end."""
        try:
            connection = await self._take(address)
        except (KafkaError, OSError, EOFError, TimeoutError) as error:
            raise Unavailable(f"{address.host}:{address.port} is away: {_words(error)}") from error
        clean = False
        try:
            replies = list(await asyncio.gather(*[connection.send(request) for request in requests]))
            clean = True
        except (KafkaError, OSError, EOFError, TimeoutError) as error:
            raise Unavailable(f"{address.host}:{address.port} does not answer: {_words(error)}") from error
        else:
            return replies
        finally:
            if clean and not self._closed:
                self._idle[address].append(connection)
            else:
                self._abort(connection)
                self._drop_idle(address)  # the others lead to the same broker, which may be gone

    async def cluster(self, topic: str) -> Cluster:
        """Look at the cluster and one topic, through any broker; a look never makes the topic.

        Raises Misconfigured, Unavailable.
        """
        (reply,) = await self.anywhere(MetadataRequest([topic], allow_auto_topic_creation=False))
        brokers = {node: Address(host, port) for node, host, port, *_ in reply.brokers}
        self._known = list(brokers.values())
        ((error, _, _, rows),) = reply.topics
        if error in _FORBIDDEN:
            raise Misconfigured(f"the cluster does not show topic {topic}: allow us to describe it (error {error})")
        partitions = {row[1]: Partition(brokers.get(row[2]), len(row[3])) for row in rows}
        return Cluster(brokers, brokers.get(reply.controller_id), None if error == UNKNOWN_TOPIC else partitions)

    async def anywhere(self, *requests: Any) -> list[Any]:
        """Ask the first broker that answers. Raises Unavailable when none does."""
        *others, last = dict.fromkeys([*self._known, *self._bootstrap])
        for address in others:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_TURN_WAIT_MS / 1000):
                    return await self.ask(address, *requests)
        return await self.ask(last, *requests)

    async def close(self) -> None:
        """Close every connection; calls under way end as Unavailable."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(now)
        if self._under_way:
            self._drained.clear()
            await self._drained.wait()
        for address in list(self._idle):
            self._drop_idle(address)
        if self._closing:
            await asyncio.wait(self._closing)

    async def _take(self, address: Address) -> AIOKafkaConnection:
        while self._idle[address]:
            connection = self._idle[address].pop()
            if connection.connected():
                return connection
            self._abort(connection)
        return await create_conn(*address, client_id="meterline", request_timeout_ms=_DRIVER_WAIT_MS)

    def _drop_idle(self, address: Address) -> None:
        for connection in self._idle.pop(address, ()):
            self._abort(connection)

    def _abort(self, connection: AIOKafkaConnection) -> None:
        if connection._writer is not None:  # noqa: SLF001 - its close() would first send what is still buffered
            connection._writer.transport.abort()  # noqa: SLF001
        closing = connection.close()
        if closing is not None and not closing.done():
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)


# Error codes of the protocol that the log tells apart.
OUT_OF_RANGE: Final = 1
UNKNOWN_TOPIC: Final = 3
EXISTS: Final = 36
_FORBIDDEN: Final = frozenset({17, 29, 31})
# The partition's leader moved, is not there yet or has too few replicas: asking (or, with the same sequence,
# appending) again is right.
PASSING: Final = frozenset({UNKNOWN_TOPIC, 5, 6, 7, 8, 9, 13, 14, 15, 16, 19, 20, 41, 56, 74, 75, 76, 78})


def rows(reply: Any) -> Iterator[Any]:
    """Yield the rows of all partitions in a reply about topics."""
    for _, partitions, *_ in reply.topics:
        yield from partitions


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
