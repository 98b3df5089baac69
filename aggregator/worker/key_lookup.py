"""Keys that LIVE may have in a filter, looked up in RAW before the fold decides: one query for all of a write.

Invariant: the fold gets the entry that the key had when it came to the event, never one of the event itself or of a
later one, however often the log is folded. RAW away raises Unavailable, and the lane waits. Source: DESIGN 3.11; ADR 7.
"""

from collections.abc import Collection, Mapping, Sequence

from aggregator.lane_record import LaneRecord
from aggregator.store import UsageStore
from aggregator.store.key import AskedKey
from aggregator.worker.rebuild import key_writes
from kernel.telemetry import CounterName, Telemetry


async def looked_up(
    store: UsageStore,
    telemetry: Telemetry,
    epoch: int,
    lane: int,
    group: Sequence[LaneRecord],
    maybe: Collection[bytes],
    entries: Mapping[bytes, bytes],
) -> dict[bytes, bytes | None]:
    """Tell the ruling entries of `maybe` as of their first events in `group`; None for a key that has none.

    `entries` are older ones that LIVE has: they rule where RAW knows of none (a dead letter without a key).
    """
    asked = first_asked(group, maybe)
    rows = await store.ruling_rows(epoch, lane, asked)
    telemetry.count(CounterName.KEY_LOOKUPS, len(rows), found="yes")
    telemetry.count(CounterName.KEY_LOOKUPS, len(asked) - len(rows), found="no")
    found: dict[bytes, bytes | None] = {key.digest: entries.get(key.digest) for key in asked}
    for digest, row in rows.items():
        [left] = key_writes([row])
        found[digest] = left.entry
    return found


def first_asked(group: Sequence[LaneRecord], maybe: Collection[bytes]) -> list[AskedKey]:
    """Find, for every digest of `maybe`, the first event of the group that has it; later ones know what it left."""
    asked: dict[bytes, AskedKey] = {}
    for record in group:
        for index, event in enumerate(record.events):
            if event.digest in maybe and event.digest not in asked:
                asked[event.digest] = AskedKey(
                    organization=event.organization,
                    customer=event.customer,
                    digest=event.digest,
                    offset=record.offset,
                    index=index,
                )
    return list(asked.values())
