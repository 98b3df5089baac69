"""Limits made narrow in some seeds, so that a few dozen events reach what in production takes millions."""

import random
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

NARROW = {
    "aggregator.worker.sink.UNSUNK_EVENTS_MAX": (2, 8),
    "aggregator.worker.sink.FOLD_READ_RECORDS_MAX": (1, 3),
    "aggregator.worker.sink.FOLD_SLICE_EVENTS": (1,),
    "aggregator.worker.sink.SINK_ROWS_MAX": (1, 4),
    "aggregator.worker.sink.TRIM_EVERY_MS": (500,),
    "aggregator.worker.lane.FOLD_READ_RECORDS_MAX": (1, 3),
    "aggregator.worker.lane.FOLD_SLICE_EVENTS": (1,),
    "aggregator.worker.lane.ACCOUNTS_CACHED_MAX": (1,),
    "aggregator.worker.lane.REBUILD_STALE_MS": (1_000, 2_000),
    "aggregator.worker.lane_queue.OUTCOMES_MAX": (1, 10),
    "aggregator.worker.rebuild.FILL_MAX": (1, 3),
    "aggregator.lane_record.FOLD_WRITE_EVENTS_MAX": (1, 3),
    "ingest.gateway.admission.GROUP_EVENTS_MAX": (1,),
    "billing.worker.closer.BATCH_CUSTOMERS": (1,),
    "billing.worker.closer._PAGE": (1,),
    "billing.worker.relay._PAGE": (1, 2),
    "billing.worker.relay._BATCH": (1,),
}


@contextmanager
def narrowed(chance: random.Random):
    """Make some limits narrow: each with the same chance, which is a seed's."""
    share = chance.choice((0, 0.2, 0.5))
    stale = "aggregator.worker.lane.REBUILD_STALE_MS"  # nothing else tells whether two rebuild at once
    with ExitStack() as stack:
        for name, values in NARROW.items():
            if chance.random() < (0.8 if name == stale else share):
                stack.enter_context(patch(name, chance.choice(values)))
        yield
