"""Connections to a Valkey or Redis cluster: one pool a node, and a map that tells which node serves a slot.

Owns where a command goes: to the node of its key's slot; one without a key to the node of the tag `{0}`. A command is
sent again only when a node said MOVED, so that it did not run. ASK and TRYAGAIN are not followed: while a slot moves
key by key, neither node has all keys of a lane, and a script would take for absent what lies on the other. Such a lane
is Unavailable until its slot has moved (Valkey 9 moves a slot at once, `CLUSTER MIGRATESLOTS`: no pause then).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError

from kernel.engine.valkey_client import ANSWER_WAIT_MS, Command, Connections, Script, checked
from kernel.errors import Misconfigured, Unavailable

# Every node answers from memory which slot lies where; all are asked at once, so one that hangs holds nobody up.
_MAP_WAIT_MS: Final = 500
# While a node stays away the map is asked for no more often than this.
_MAP_AGAIN_MS: Final = 200
# A slot that moves is told by its old node; a second word comes only when it moves on meanwhile.
_MOVES_MAX: Final = 4

_SCHEME: Final = "+cluster"
_KEYLESS: Final = ("TIME", "PING", "INFO")
_TAG_OF_KEYLESS: Final = "{0}"

Node = tuple[str, int]


def is_cluster(url: str) -> bool:
    """Tell whether a URL names a cluster: `redis+cluster://user:password@host:port,host:port`."""
    return urlsplit(url).scheme.endswith(_SCHEME)


def node_urls(url: str) -> dict[Node, str]:
    """Spell the URL of each node that a cluster's URL names. Raises Misconfigured."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    urls = {}
    for host in hosts.split(","):
        one = urlsplit(urlunsplit((parts.scheme.removesuffix(_SCHEME), user + at + host, "", parts.query, "")))
        try:
            node = (one.hostname or "", one.port or 6379)
        except ValueError as error:
            raise Misconfigured(f"{host!r} is no node of a cluster: set host:port ({error})") from error
        if not node[0]:
            raise Misconfigured(f"{url!r} names no node: set redis+cluster://host:port,host:port")
        urls[node] = one.geturl()
    return urls


class ClusterConnections:
    """The pools of all nodes, with the questions of `Connections`. `most` is the connections to each node."""

    def __init__(self, url: str, scripts: Sequence[Script] = (), *, most: int) -> None:
        urls = node_urls(url)
        self._url = urlsplit(next(iter(urls.values())))
        self._seeds = frozenset(urls)
        self._scripts = scripts
        self._most = most
        self._nodes = {node: Connections(each, scripts, most=most) for node, each in urls.items()}
        self._slots: list[Node | None] = []
        self._stale = True
        self._mapped_at: float | None = None
        self._mapping = asyncio.Lock()

    async def ask(self, *commands: Command, wait_ms: int = ANSWER_WAIT_MS) -> list[Any]:
        """Send commands, those of one node in one packet and all nodes at once; replies in the order of the commands.

        An error reply is a value. Raises Unavailable when a node did not answer within `wait_ms`; what went to others
        has run.
        """
        replies = await self.attempt(*commands, wait_ms=wait_ms)
        for reply in replies:
            if isinstance(reply, Unavailable):
                raise reply
        return replies

    async def attempt(self, *commands: Command, wait_ms: int = ANSWER_WAIT_MS) -> list[Any]:
        """Ask as `ask` does; Unavailable stands in place of each reply that is missing."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_ms / 1000
        try:
            await self._map_if_stale()
            nodes = [self._node(_slot(command)) for command in commands]
        except Unavailable as error:
            return [error] * len(commands)
        replies: list[Any] = [None] * len(commands)
        open_places: Sequence[int] = range(len(commands))
        for _ in range(_MOVES_MAX):
            left_ms = max(1, int((until - loop.time()) * 1000))
            await self._ask_nodes(commands, nodes, open_places, replies, left_ms)
            open_places = [place for place in open_places if isinstance(replies[place], MovedError)]
            if not open_places:
                break
            for place in open_places:
                nodes[place] = self._moved(nodes[place], replies[place])
        if any(isinstance(reply, Unavailable | AskError | ClusterDownError) for reply in replies):
            self._stale = True
        return replies

    async def one(self, command: Command, *, wait_ms: int = ANSWER_WAIT_MS) -> Any:
        """Send one command and return its reply. Raises Unavailable, for an error reply too."""
        return checked(await self.ask(command, wait_ms=wait_ms))[0]

    async def each(self, command: Command) -> list[Any]:
        """Ask one command of every node that serves slots and return their replies. Raises Unavailable."""
        self._stale = True
        await self._map_if_stale()
        nodes = {node for node in self._slots if node is not None}
        return [(await self._pool(node).ask(command))[0] for node in sorted(nodes)]

    async def hear(
        self, channels: Sequence[str], told: Callable[[bytes, bytes], None], listening: Callable[[], None]
    ) -> None:
        """Tell what is published on shard channels, on a connection to each node that serves some, until cancelled.

        Raises Unavailable when one is lost or a channel's slot moves: then listen again, which follows it.
        """
        await self._map_if_stale()
        groups: dict[Node, list[str]] = {}
        for channel in channels:
            groups.setdefault(self._node(key_slot(channel.encode())), []).append(channel)
        missing = len(groups)

        def listens() -> None:
            nonlocal missing
            missing -= 1
            if not missing:
                listening()

        hearing = [asyncio.ensure_future(self._pool(node).hear(group, told, listens)) for node, group in groups.items()]
        try:
            done, _ = await asyncio.wait(hearing, return_when=asyncio.FIRST_COMPLETED)
            self._stale, self._mapped_at = True, None  # whoever listens again wants the map as it is now
            for lost in done:
                lost.result()
        finally:
            for one in hearing:
                one.cancel()
            await asyncio.gather(*hearing, return_exceptions=True)

    async def close(self) -> None:
        """Close every connection; calls under way and who hears end as Unavailable."""
        for connections in self._nodes.values():
            await connections.close()

    async def _ask_nodes(
        self,
        commands: Sequence[Command],
        nodes: Sequence[Node],
        places: Sequence[int],
        replies: list[Any],
        wait_ms: int,
    ) -> None:
        """Ask what stands at `places` of each node at once, and put the replies there."""
        groups: dict[Node, list[int]] = {}
        for place in places:
            groups.setdefault(nodes[place], []).append(place)

        async def asked(node: Node, own: Sequence[int]) -> None:
            try:
                answers: Sequence[Any] = await self._pool(node).ask(*(commands[at] for at in own), wait_ms=wait_ms)
            except Unavailable as error:
                answers = [error] * len(own)
            for at, answer in zip(own, answers, strict=True):
                replies[at] = answer

        if len(groups) == 1:  # nearly always: no task then
            ((node, own),) = groups.items()
            await asked(node, own)
        else:
            await asyncio.gather(*(asked(node, own) for node, own in groups.items()))

    def _node(self, slot: int) -> Node:
        node = self._slots[slot]
        if node is None:
            self._stale = True
            raise Unavailable(f"no node of the cluster serves slot {slot}")
        return node

    def _moved(self, asked: Node, reply: MovedError) -> Node:
        """Take in where a slot has gone; the map is asked for before the next command, since more may have moved."""
        self._stale = True
        node = (reply.host or asked[0], reply.port)
        self._slots[reply.slot_id] = node
        return node

    def _pool(self, node: Node) -> Connections:
        pool = self._nodes.get(node)
        if pool is None:
            user, at, _ = self._url.netloc.rpartition("@")
            host = f"[{node[0]}]" if ":" in node[0] else node[0]
            url = urlunsplit(self._url._replace(netloc=f"{user}{at}{host}:{node[1]}"))
            pool = self._nodes[node] = Connections(url, self._scripts, most=self._most)
        return pool

    async def _map_if_stale(self) -> None:
        """Learn which node serves which slot, if that may have changed. Raises Unavailable while it was never known."""
        if self._slots and not self._stale:
            return
        async with self._mapping:
            now = asyncio.get_running_loop().time()
            recent = self._mapped_at is not None and now - self._mapped_at < _MAP_AGAIN_MS / 1000
            if self._slots and (not self._stale or recent):
                return
            try:
                found = await self._ask_map()
            except Unavailable:
                if not self._slots:
                    raise
            else:
                self._stale = False
                self._slots = found
                await self._drop_nodes({node for node in found if node is not None})
            self._mapped_at = asyncio.get_running_loop().time()

    async def _ask_map(self) -> list[Node | None]:
        """Ask all nodes and take the first answer: one that is behind is corrected by the first MOVED."""
        asked = {
            asyncio.ensure_future(pool.one(("CLUSTER", "SLOTS"), wait_ms=_MAP_WAIT_MS)): node
            for node, pool in self._nodes.items()
        }
        lost = Unavailable("no node of the cluster answers")
        try:
            for first in asyncio.as_completed(asked):
                try:
                    await first
                except Unavailable as error:
                    lost = error
                    continue
                return next(_map(task.result(), node[0]) for task, node in asked.items() if _answered(task))
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        raise lost

    async def _drop_nodes(self, serving: set[Node]) -> None:
        """Let go of nodes that serve nothing, but for those that the URL names."""
        for node in self._nodes.keys() - serving - self._seeds:
            await self._nodes.pop(node).close()
        for node in serving:
            self._pool(node)


def _answered(task: "asyncio.Future[Any]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _map(reply: Sequence[Any], asked_host: str) -> list[Node | None]:
    """Read `CLUSTER SLOTS`: ranges with their master; a host that a node does not know of itself is the one asked."""
    slots: list[Node | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for first, last, master, *_ in reply:
        host = master[0].decode() if master[0] else ""
        node = (host if host not in {"", "?"} else asked_host, int(master[1]))
        slots[first : last + 1] = [node] * (last + 1 - first)
    return slots


def _slot(command: Command) -> int:
    """Tell the slot of a command's first key; all its keys have one tag."""
    verb = command[0]
    if verb in _KEYLESS:
        key: Any = _TAG_OF_KEYLESS
    else:
        key = command[3] if verb in {"EVALSHA", "EVALSHA_RO"} else command[1]
    slot: int = key_slot(key if isinstance(key, bytes) else str(key).encode())
    return slot
