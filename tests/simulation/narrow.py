"""Limits made narrow in some seeds, so that a few dozen events reach what in production takes millions."""

import random
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

NARROW = {
    "aggregator.worker.sink.UNSUNK_EVENTS_MAX": (2, 8),
    "aggregator.worker.sink.FOLD_READ_RECORDS_MAX": (1, 3),
    "aggregator.worker.sink.FOLD_SLICE_EVENTS": (1,),
    "aggregator.worker.sink.SINK_ROWS_MAX": (1, 4),
    "aggregator.worker.sink._AGAIN_ROWS_MAX": (1, 3),
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

# Where old keys are kept in filters: what takes minutes passes within the seed, a step at a time.
CONDENSING = {
    "aggregator.worker.condenser.CONDENSE_EVERY_MS": (50, 300),
    "aggregator.worker.condenser.CONDENSE_PAUSE_MS": (1, 30),
    "kernel.engine.live.memory.CONDENSE_ENTRIES": (1, 2, 250),
    # Bytes of a digest that a filter keeps: with none of them it may hold any key, with one it holds some by mistake.
    "kernel.engine.live.memory._PRINT_BYTES": (0, 1, 8),
}


@contextmanager
def narrowed(chance: random.Random, *, condensing: bool):
    """Make some limits narrow: each with the same chance, which is a seed's; those of `condensing` always."""
    share = chance.choice((0, 0.2, 0.5))
    stale = "aggregator.worker.lane.REBUILD_STALE_MS"  # nothing else tells whether two rebuild at once
    with ExitStack() as stack:
        for name, values in NARROW.items():
            if chance.random() < (0.8 if name == stale else share):
                stack.enter_context(patch(name, chance.choice(values)))
        for name, values in CONDENSING.items() if condensing else ():
            stack.enter_context(patch(name, chance.choice(values)))
        yield
