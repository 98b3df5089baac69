"""LIVE on Valkey or Redis: hashes by lane, moved and compared by scripts that know bytes and counters only.

Owns the keys of DESIGN 3.3: `{l}h` header, `{l}t` snapshots, `{l}a` accounts, `{l}k:g:s` key entries of generation g
and sub-hash s, `{l}f:g:s` their key filter (ADR 7), `{l}o` outcomes, `{l}c` the catalog's version, and `{0}members`;
outcomes are published on the shard channels `{l}v:GATEWAY`. `{l}` is the lane's slot tag, so one script serves the
whole lane and touches no other slot.
On a cluster each lane has its node's time, and what is compared with `seen` is told by the same node; clocks of nodes
apart shift `lagMs` and the check of a gateway's clock by as much, never a verdict.
Counters are compared as text and passed on as given: Lua's doubles never touch them, and never an amount.
Source: DESIGN 3.3 to 3.5.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from redis.exceptions import ResponseError

from kernel.engine.live.base import (
    REBUILDING,
    AccountState,
    Condensed,
    FoldWrite,
    KeyWrite,
    Known,
    LaneHeader,
    LaneView,
    Look,
    Moved,
    Written,
)
from kernel.engine.live.header import header_fields, read_header, rebuilding_header
from kernel.engine.valkey_client import RUN, Argument, Connections, Script, checked
from kernel.engine.valkey_cluster import ClusterConnections, is_cluster
from kernel.errors import Misconfigured
from kernel.limits import CATALOG_SEEN_MS_MAX, CONDENSE_ENTRIES

_SCRIPTS: Final = {
    name: Script("kernel.engine.live", f"{name}.lua")
    for name in (
        "view",
        "look",
        "write",
        "sank",
        "condense",
        "oldest",
        "outcomes",
        "begin_rebuild",
        "fill",
        "finish_rebuild",
        "catalog",
        "raise_catalog",
        "beat",
    )
}
_MEMBERS: Final = "{0}members"
_BELIEVE: Final = (RUN, CATALOG_SEEN_MS_MAX)
_DIGEST_BYTES: Final = 16
_HEAD_BYTES: Final = 7
_PRINT_BYTES: Final = 4  # as common.lua has it
# The gateway's group commit, the fold's lanes and feature access share them; a script takes the server's one thread, so
# more connections would only queue there.
_CONNECTIONS: Final = 64
_SCAN_COUNT: Final = 1_000


class ValkeyLive:
    """LIVE of `lanes` lanes, with `subs` sub-hashes a generation: a power of two that is fixed with the deployment."""

    def __init__(
        self, url: str, *, lanes: int, subs: int = 1, after_close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        assert 0 < subs <= 1 << 16 and subs & (subs - 1) == 0, "the number of sub-hashes is a power of two"  # noqa: PT018 - one law
        self._runs: dict[int, bytes] = dict.fromkeys(
            range(lanes), b""
        )  # by lane, the server's as this process knows it
        self._subs = subs
        self._cluster = is_cluster(url)
        self._connections = (ClusterConnections if self._cluster else Connections)(
            url, tuple(_SCRIPTS.values()), most=_CONNECTIONS
        )
        self._after_close = after_close

    @classmethod
    async def open(
        cls, url: str, *, lanes: int, subs: int = 1, after_close: Callable[[], Awaitable[None]] | None = None
    ) -> Self:
        """Open LIVE at `url` once the server is seen to evict nothing. Raises Misconfigured, Unavailable."""
        live = cls(url, lanes=lanes, subs=subs, after_close=after_close)
        try:
            await live._check()
            await live._raise(None)
        except BaseException:
            await live._connections.close()
            raise
        return live

    async def view(self, lane: int, customers: Sequence[bytes]) -> LaneView:
        """Read header, catalog and accounts. Source: the port."""
        keys = [_key(lane, "h"), _key(lane, "t"), _key(lane, "a"), _key(lane, "c")]
        now, catalog, header, snapshots, accounts = await self._run("view", keys, *_BELIEVE, *customers)
        return LaneView(
            now_ms=_time_ms(now),
            catalog=_number(catalog),
            header=read_header(_pairs(header)),
            accounts=[
                AccountState(snapshot=snapshot, account=account)
                for snapshot, account in zip(snapshots, accounts, strict=True)
            ],
        )

    async def look(self, digests: Mapping[int, Sequence[bytes]], generations: Sequence[int]) -> Look:
        """Find key entries in one round trip; without digests lane 0 tells time and catalog. Source: the port."""
        newest_first = _newest_first(generations)
        grouped = {lane: self._by_sub(asked) for lane, asked in digests.items()}
        commands = [
            _SCRIPTS["look"].call(
                [_key(lane, "h"), _key(lane, "c")], *_BELIEVE, newest_first, *_joined(groups, digests.get(lane, ()))
            )
            for lane, groups in (grouped or {0: {}}).items()
        ]
        found = checked(await self._connections.ask(*commands))
        ready: dict[int, bool] = {}
        entries: dict[int, list[bytes | None]] = {}
        maybe: dict[int, frozenset[int]] = {}
        for (lane, groups), (_, _, is_ready, *hits) in zip(grouped.items(), found, strict=False):
            ready[lane] = bool(is_ready)
            entries[lane] = [None] * len(digests[lane])
            places = [place for group in groups.values() for place in group]
            held = set()
            for index, entry in zip(hits[::2], hits[1::2], strict=True):
                if entry:
                    entries[lane][places[index - 1]] = entry
                else:
                    held.add(places[index - 1])
            maybe[lane] = frozenset(held)
        catalog = max((int(reply[1]) for reply in found if reply[1] is not None), default=None)
        return Look(now_ms=_time_ms(found[0][0]), catalog=catalog, ready=ready, entries=entries, maybe=maybe)

    async def write(self, lane: int, change: FoldWrite) -> Written | Moved | Known:
        """Write a fold's result in one round trip. Source: the port."""
        expected = change.expected
        groups = self._by_sub(change.fresh)
        code, *reply = await self._run(
            "write",
            [_key(lane, "h")],
            *(expected.epoch, expected.token, expected.rules, expected.next),
            *(change.next, change.clock_ms, change.seen_ms),
            *(_newest_first(change.generations), len(groups), *_joined(groups, change.fresh)),
            *(self._subs, _newest_first(change.drop_generations)),
            *self._hashes(change.keys, {"t": change.snapshots, "a": change.accounts, "o": change.outcomes}),
            *_published(change),
        )
        if code == 1:
            return Written(now_ms=_time_ms(reply[0]))
        if code == 0:
            return Moved(header=read_header(_pairs(reply[0])))
        entries, maybe = reply
        return Known(entries=_pairs(entries), maybe=frozenset(maybe))

    async def listen(
        self,
        gateway: str,
        lanes: Sequence[int],
        told: Callable[[int, int, int, bytes], None],
        listening: Callable[[], None],
    ) -> None:
        """Be told what writes publish, on a connection of its own. Source: the port."""
        lane_of = {_key(lane, f"v:{gateway}").encode(): lane for lane in lanes}

        def heard(channel: bytes, message: bytes) -> None:
            told(lane_of[channel], message[0], int.from_bytes(message[1:_HEAD_BYTES], "big"), message[_HEAD_BYTES:])

        await self._connections.hear([channel.decode() for channel in lane_of], heard, listening)

    async def beat(self, member: str, *, lasts_ms: int) -> list[str]:
        """Enter a member and list who is there. Source: the port."""
        names: list[bytes] = await self._run("beat", [_MEMBERS], member, lasts_ms)
        return [name.decode() for name in sorted(names)]

    async def outcomes(self, lane: int, offsets: Sequence[int], *, epoch: int) -> list[bytes | None]:
        """Read outcomes. Source: the port."""
        if not offsets:
            return []
        found: list[bytes | None] = await self._run("outcomes", [_key(lane, "h"), _key(lane, "o")], epoch, *offsets)
        return found or [None] * len(offsets)

    async def oldest_outcome(self, lane: int) -> int | None:
        """Tell the lowest offset with an outcome. Source: the port."""
        return _number(await self._run("oldest", [_key(lane, "o")]))

    async def sank(self, lane: int, *, token: bytes, begun: int, sunk: int, drop: Sequence[int]) -> bool:
        """Raise `sunk` and drop outcomes. Source: the port."""
        return bool(await self._run("sank", [_key(lane, "h"), _key(lane, "o")], token, begun, sunk, *drop))

    async def condense(
        self, lane: int, *, token: bytes, generation: int, keep: bytes, mark: int, cursor: bytes, rebuilding: bool
    ) -> Condensed | None:
        """Move entries of one sub-hash into its filter; the cursor names both. Source: the port."""
        sub, _, place = (cursor or b"0:0").partition(b":")
        claim = (int(rebuilding), token, mark, mark + 1)
        what = (generation, sub, place, CONDENSE_ENTRIES, keep)
        reply = await self._run("condense", [_key(lane, "h")], *claim, *what)
        if reply is None:
            return None
        place, moved = reply
        if place == b"0":
            following = int(sub) + 1
            return Condensed(moved=moved, cursor=b"%d:0" % following if following < self._subs else b"")
        return Condensed(moved=moved, cursor=sub + b":" + place)

    async def begin_rebuild(self, lane: int, *, token: bytes, expected_token: bytes | None) -> bool:
        """Empty the lane and set `rebuilding`. Source: the port."""
        expects = (b"", 0) if expected_token is None else (expected_token, 1)
        fields = _flat(header_fields(rebuilding_header(token)))
        return bool(await self._run("begin_rebuild", [_key(lane, "h")], *expects, *fields))

    async def fill(
        self,
        lane: int,
        *,
        token: bytes,
        step: int,
        keys: Sequence[KeyWrite],
        snapshots: Mapping[bytes, bytes],
        accounts: Mapping[bytes, bytes],
    ) -> bool:
        """Write a part of a rebuild. Source: the port."""
        hashes = self._hashes(keys, {"t": snapshots, "a": accounts})
        return bool(await self._run("fill", [_key(lane, "h")], token, step, step + 1, *hashes))

    async def finish_rebuild(self, lane: int, *, step: int, header: LaneHeader) -> bool:
        """Write the header last. Source: the port."""
        fields = _flat(header_fields(header))
        return bool(await self._run("finish_rebuild", [_key(lane, "h")], header.token, step, *fields))

    async def rebuild_step(self, lane: int) -> tuple[bytes, int] | None:
        """Tell token and counter of a rebuild. Source: the port."""
        state, token, step = await self._connections.one(("HMGET", _key(lane, "h"), "state", "token", "step"))
        return (token, int(step)) if state == REBUILDING.encode() else None

    async def catalog(self) -> int | None:
        """Read the catalog's version of lane 0: it is enough, since a raise reaches every lane. Source: the port."""
        return _number(await self._run("catalog", [_key(0, "c")], *_BELIEVE))

    async def raise_catalog(self, version: int) -> bool:
        """Raise the catalog's version in every lane. Source: the port."""
        return await self._raise(version)

    async def dump(self, lane: int) -> dict[str, dict[bytes, bytes]]:
        """Read everything but outcomes. Source: the port."""
        header = await self._hash(_key(lane, "h"))
        for own in (b"step", b"filtered"):  # the scripts' own, not the header's
            header.pop(own, None)
        found = {
            "header": header,
            "accounts": await self._hash(_key(lane, "a")),
            "snapshots": await self._hash(_key(lane, "t")),
        }
        names = [name.decode() for name in await self._connections.one(("KEYS", _key(lane, "k:*")))]
        for generation in sorted({int(name.split(":")[1]) for name in names}):
            entries: dict[bytes, bytes] = {}
            for sub in range(self._subs):
                entries |= await self._hash(_key(lane, f"k:{generation}:{sub}"))
            found[f"keys:{generation}"] = entries
        for name in [name.decode() for name in await self._connections.one(("KEYS", _key(lane, "f:*")))]:
            prints = sum(len(held) for field, held in (await self._hash(name)).items() if field != b"buckets")
            filtered = found.setdefault(f"filter:{name.split(':')[1]}", {b"keys": b"0"})
            filtered[b"keys"] = b"%d" % (int(filtered[b"keys"]) + prints // _PRINT_BYTES)
        return found

    async def now_ms(self) -> int:
        """Tell the server's time. Source: the port."""
        return _time_ms(await self._connections.one(("TIME",)))

    async def close(self) -> None:
        """Release connections, and the server where it is ours. Source: the port."""
        await self._connections.close()
        if self._after_close is not None:
            await self._after_close()

    async def _check(self) -> None:
        for reply in await self._connections.each(("CONFIG", "GET", "maxmemory-policy", "cluster-enabled")):
            if isinstance(reply, ResponseError):
                raise Misconfigured(f"LIVE's server does not tell its settings: allow CONFIG GET ({reply})")
            told = _pairs(reply)
            policy = told[b"maxmemory-policy"].decode()
            if policy != "noeviction":
                raise Misconfigured(f"LIVE's server has maxmemory-policy {policy}: set it to noeviction")
            if told.get(b"cluster-enabled") == b"yes" and not self._cluster:
                raise Misconfigured("LIVE's server is a node of a cluster: set METERLINE_LIVE_URL to redis+cluster://…")

    async def _raise(self, version: int | None) -> bool:
        """Raise every lane (None: only learn the servers' runs); tells whether each noted that SQL was compared."""
        script, known = _SCRIPTS["raise_catalog"], dict(self._runs)
        told = "" if version is None else version
        raises = (script.call([_key(lane, "c")], RUN, run, told) for lane, run in known.items())
        replies = await self._connections.attempt(*raises)
        self._runs |= {lane: run for lane, run in zip(known, replies, strict=True) if isinstance(run, bytes)}
        return checked(replies) == list(known.values())

    async def _run(self, name: str, keys: Sequence[str], *arguments: Argument) -> Any:
        return await self._connections.one(_SCRIPTS[name].call(keys, *arguments))

    async def _hash(self, key: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            cursor, flat = await self._connections.one(("HSCAN", key, cursor, "COUNT", _SCAN_COUNT))
            found |= _pairs(flat)
            if cursor == b"0":
                return found

    def _sub(self, digest: bytes) -> int:
        return int.from_bytes(digest[-2:], "big") & (self._subs - 1)

    def _by_sub(self, digests: Sequence[bytes]) -> dict[int, Sequence[int]]:
        """Group the places of `digests` by sub-hash."""
        if self._subs == 1:
            return {0: range(len(digests))} if digests else {}
        groups: dict[int, list[int]] = {}
        for place, digest in enumerate(digests):
            groups.setdefault(self._sub(digest), []).append(place)
        return {**groups}

    def _hashes(self, keys: Sequence[KeyWrite], others: Mapping[str, Mapping[Any, bytes]]) -> list[Argument]:
        """Spell what `write_hashes` of common.lua reads."""
        mask = self._subs - 1
        groups: dict[int, list[Argument]] = {}
        for key in keys:
            group = key.generation << 16 | (mask and int.from_bytes(key.digest[-2:], "big") & mask)
            values = groups.get(group)
            if values is None:
                values = groups[group] = []
            values += (key.digest, key.entry)
        hashes = {f"k:{group >> 16}:{group & mask}": values for group, values in groups.items()}
        hashes |= {name: _flat(values) for name, values in others.items() if values}
        spelled: list[Argument] = [len(hashes)]
        for name, values in hashes.items():
            spelled += (name, len(values))
            spelled += values
        return spelled


def _key(lane: int, name: str) -> str:
    return f"{{{lane}}}{name}"


def _published(change: FoldWrite) -> list[Argument]:
    """Spell what write.lua publishes: the message is epoch (1 byte), offset (6 bytes) and the outcomes."""
    told = {offset: gateway for offset, gateway in change.publish.items() if offset in change.outcomes}
    epoch = change.expected.epoch.to_bytes(1, "big")
    heads = ((gateway, offset, epoch + offset.to_bytes(_HEAD_BYTES - 1, "big")) for offset, gateway in told.items())
    return [len(told), *(part for head in heads for part in head)]


def _newest_first(generations: Sequence[int]) -> str:
    return ",".join(map(str, sorted(generations, reverse=True)))


def _joined(groups: Mapping[int, Sequence[int]], digests: Sequence[bytes]) -> Iterable[Argument]:
    for sub, places in groups.items():
        joined = b"".join([digests[place] for place in places])
        assert len(joined) == len(places) * _DIGEST_BYTES, "a digest has 16 bytes"
        yield sub
        yield joined


def _flat(values: Mapping[Any, bytes]) -> list[Argument]:
    return [part for pair in values.items() for part in pair]


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _number(reply: bytes | None) -> int | None:
    return None if reply is None else int(reply)


def _time_ms(reply: Sequence[bytes]) -> int:
    return int(reply[0]) * 1000 + int(reply[1]) // 1000
