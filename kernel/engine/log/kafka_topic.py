"""The topic that carries a log, a partition a lane: made, checked for what loses records, asked at its leaders.

Invariants: nothing but `create` makes a topic; a topic is used only after its real settings were read from the brokers.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest

from kernel.engine.log.kafka_broker import EXISTS, PASSING, UNKNOWN_TOPIC, Address, Brokers, Cluster, rows
from kernel.errors import LogMissing, Misconfigured, Unavailable
from kernel.limits import RECORD_BYTES_MAX

# What one append to a partition carries at most: two full records, which is below every broker's own default of 1 MiB.
BATCH_BYTES_MAX: Final = 2 * RECORD_BYTES_MAX
# Fields around records: a batch's header and each record's own.
OVERHEAD_BYTES: Final = 1_024
# The time that an answer of the cluster may take; in it a partition finds a new leader. Source: `valkey_client`.
ANSWER_WAIT_MS: Final = 2_000
# A new leader is known to all brokers within some milliseconds.
AGAIN_MS: Final = 50
# A trimmed record leaves the disk with the last one of its segment.
_SEGMENT_BYTES: Final = 64 * 1024**2
TOPIC, _BROKER = 2, 4  # the protocol's names of what has settings
MAX_BYTES: Final = "max.message.bytes"
SEALED_BYTES: Final = "0"  # what a sealed topic takes at most

_SAFE: Final = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
}


class Rule(NamedTuple):
    """One rule about a setting: whether a value will do, and what to set in its place."""

    good: Callable[[str], bool]
    wanted: str


class Topic:
    """One topic of `lanes` partitions with at least `replicas` of each (1: one broker is meant)."""

    def __init__(
        self, brokers: Brokers, name: str, *, lanes: int, replicas: int, segment_bytes: int = _SEGMENT_BYTES
    ) -> None:
        self.name = name
        self.lanes = lanes
        self._brokers = brokers
        self._replicas = replicas
        self._segment_bytes = segment_bytes
        self._leaders: dict[int, Address] = {}

    async def look(self) -> Cluster:
        """Look at the topic as it is now, and learn its leaders; a cluster that just starts is waited for.

        Raises Unavailable.
        """
        cluster = await self._brokers.cluster(self.name)
        while not cluster.brokers:
            await asyncio.sleep(AGAIN_MS / 1000)
            cluster = await self._brokers.cluster(self.name)
        self._leaders = {lane: part.leader for lane, part in (cluster.partitions or {}).items() if part.leader}
        return cluster

    async def create(self) -> None:
        """Make the topic; one that exists stays as it is. Raises Misconfigured, Unavailable."""
        cluster = await self.look()
        if cluster.partitions is None:
            settings = {
                **_SAFE,
                "min.insync.replicas": str(min(2, self._replicas)),
                MAX_BYTES: str(BATCH_BYTES_MAX + OVERHEAD_BYTES),
                "segment.bytes": str(self._segment_bytes),
            }
            anywhere: list[Any] = []  # the cluster places the replicas
            made = (self.name, self.lanes, self._replicas, anywhere, list(settings.items()))
            request = CreateTopicsRequest([made], ANSWER_WAIT_MS, validate_only=False)
            (reply,) = await self._brokers.ask(cluster.controller or next(iter(cluster.brokers.values())), request)
            ((_, error, words),) = reply.topic_errors
            if error not in {0, EXISTS}:
                raise (Unavailable if error in PASSING else Misconfigured)(f"{self.name} cannot be made: {words}")
            while cluster.partitions is None:  # brokers hear of it one after the other
                await asyncio.sleep(AGAIN_MS / 1000)
                cluster = await self.look()
        await self._wait_for_leaders()
        await self.check()

    async def check(self) -> None:
        """Read the settings of the brokers and of the topic, if it is there.

        Raises Misconfigured with what to set when one would lose records, Unavailable.
        """
        cluster = await self.look()
        for node, address in cluster.brokers.items():
            found = await self._settings(address, _BROKER, str(node), ["auto.create.topics.enable"])
            compare(f"broker {node}", found, {"auto.create.topics.enable": _exactly("false")})
        if cluster.partitions is None:
            return
        if len(cluster.partitions) != self.lanes:
            raise Misconfigured(
                f"topic {self.name} has {len(cluster.partitions)} partitions, the deployment {self.lanes} lanes:"
                " set METERLINE_LOG_URL to the deployment's own log"
            )
        fewest = min(part.replicas for part in cluster.partitions.values())
        if fewest < self._replicas:
            raise Misconfigured(
                f"topic {self.name} has {fewest} replicas: raise them to {self._replicas},"
                " or set METERLINE_LOG_REPLICAS to 1 if one broker is meant"
            )
        rules = safe_settings(self._replicas)
        address = next(iter(cluster.brokers.values()))
        compare(f"topic {self.name}", await self._settings(address, TOPIC, self.name, list(rules)), rules)

    async def settings(self) -> dict[str, str]:
        """Read what we set on the topic. Raises LogMissing, Misconfigured, Unavailable."""
        cluster = await self.look()
        if cluster.partitions is None:
            raise LogMissing(f"topic {self.name} was never made")
        wanted = [*safe_settings(self._replicas), "segment.bytes"]
        return await self._settings(next(iter(cluster.brokers.values())), TOPIC, self.name, wanted)

    async def has(self, lane: int) -> None:
        """Return when the lane is known to be there. Raises LogMissing, Unavailable."""
        if lane not in self._leaders:
            await self._leader(lane)

    async def ask(self, lane: int, *requests: Any, code: int = 1) -> list[Any]:
        """Ask the leader of a lane and return the lane's row of each reply.

        Field `code` of a row is its error. While the leader moves or is away, it asks again, for `ANSWER_WAIT_MS`.
        Raises LogMissing, Unavailable; any other error is in the row.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + ANSWER_WAIT_MS / 1000
        while True:
            try:
                replies = await self._brokers.ask(await self._leader(lane), *requests)
                found = [next(row for row in rows(reply) if row[0] == lane) for reply in replies]
                error = next((row[code] for row in found if row[code] in PASSING), None)
                if error is None:
                    return found
                failure = Unavailable(f"lane {lane} has no leader now (error {error})")
            except Unavailable as away:
                failure = away
            except asyncio.CancelledError:  # whoever waited gave up: this may be a leader that is gone without a word
                self._leaders.pop(lane, None)
                raise
            self._leaders.pop(lane, None)
            if clock() > until:
                raise failure
            await asyncio.sleep(AGAIN_MS / 1000)

    async def leaders(self) -> dict[Address, list[int]]:
        """Tell which lanes each leader has now. Raises LogMissing, Unavailable."""
        await self._wait_for_leaders()
        found: dict[Address, list[int]] = {}
        for lane in range(self.lanes):
            found.setdefault(await self._leader(lane), []).append(lane)
        return found

    async def _leader(self, lane: int) -> Address:
        known = self._leaders.get(lane)
        if known is not None:
            return known
        cluster = await self.look()
        if lane not in (cluster.partitions or {}):
            raise LogMissing(f"lane {lane} of topic {self.name} was never made")
        found = self._leaders.get(lane)
        if found is None:
            raise Unavailable(f"lane {lane} has no leader now")
        return found

    async def _wait_for_leaders(self) -> None:
        while (cluster := await self.look()).partitions is not None:
            if all(part.leader for part in cluster.partitions.values()):
                return
            await asyncio.sleep(AGAIN_MS / 1000)

    async def _settings(self, address: Address, kind: int, name: str, wanted: list[str]) -> dict[str, str]:
        request = DescribeConfigsRequest([(kind, name, wanted)])
        (reply,) = await self._brokers.ask(address, request)
        ((error, words, _, _, entries),) = reply.resources
        if error in PASSING - {UNKNOWN_TOPIC}:
            raise Unavailable(f"the settings of {name} cannot be read now: {words}")
        if error:
            raise Misconfigured(f"the settings of {name} cannot be read: allow DescribeConfigs ({words})")
        return {entry[0]: entry[1] for entry in entries}


def _exactly(value: str) -> Rule:
    return Rule(lambda found: found.lower() == value.lower(), value)


def _at_least(value: int, *, or_else: str = "") -> Rule:
    return Rule(lambda found: found == or_else or (found.isdecimal() and int(found) >= value), f"{value} or more")


def safe_settings(replicas: int) -> dict[str, Rule]:
    """Tell the settings without which a topic of so many replicas loses records. A sealed one takes none."""
    return {
        **{name: _exactly(value) for name, value in _SAFE.items()},
        "min.insync.replicas": _at_least(min(2, replicas)),
        MAX_BYTES: _at_least(BATCH_BYTES_MAX + OVERHEAD_BYTES, or_else=SEALED_BYTES),
    }


def compare(whose: str, found: dict[str, str], rules: dict[str, Rule]) -> None:
    """Compare real settings with rules. Raises Misconfigured for the first that will not do, absent ones too."""
    for name, rule in rules.items():
        value = found.get(name)
        if value is None or not rule.good(value):
            raise Misconfigured(f"{whose} has {name} {value}: set it to {rule.wanted}")
