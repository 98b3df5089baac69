"""Telemetry: the metric names as a type, one registry, and structured logs.

Owns every metric's name, help and labels, so that a dashboard can be read off this module. A metric of a customer or
an organization is never a label: their number has no bound.
"""

import logging
import sys
from enum import StrEnum
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_LATENCY_SECONDS: Final = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096)


class CounterName(StrEnum):
    """Counters: value = `name|help|labels`."""

    EVENTS_ANSWERED = "meterline_events_answered|Usage events answered, by what was said|verdict"
    EVENTS_FOLDED = "meterline_events_folded|Events folded, by verdict|verdict"
    EVENTS_SUNK = "meterline_events_sunk|Rows written to RAW|"
    DEAD_LETTERS = "meterline_dead_letters|Events on which the fold raised|"
    APPENDS_UNKNOWN = "meterline_appends_unknown|Appends that ended without an answer|"
    FOLD_REPEATS = "meterline_fold_repeats|Slices folded again, by reason|reason"
    KEY_LOOKUPS = "meterline_key_lookups|Keys beyond the exact days looked up in RAW, by whether it had one|found"
    REFUSALS_DROPPED = "meterline_refusals_dropped|Refusals counted but not kept|"
    CLOSE_STOPPED = "meterline_close_stopped|Closes stopped because LIVE and RAW differ, closes and steps that raised|"
    INVOICES_WRITTEN = "meterline_invoices_written|Invoices that closes wrote|"
    REBUILDS = "meterline_rebuilds|Lanes rebuilt|"


class GaugeName(StrEnum):
    """Gauges: value = `name|help|labels`."""

    LANE_BACKLOG = "meterline_lane_backlog_records|Records appended and not folded|lane"
    LANE_UNSUNK = "meterline_lane_unsunk_records|Records folded and not sunk|lane"
    LANE_STOPPED = "meterline_lane_stopped|1 while a lane is stopped and an operator has to act|lane"
    LANES_OWNED = "meterline_lanes_owned|Lanes that this process folds|"
    LANE_EVENTS = (
        "meterline_lane_events|Events of this epoch by where they are: appended, each verdict, in flight|lane,place"
    )
    CONSERVATION_DIFFERENCE = (
        "meterline_conservation_difference_events|Events on one side of an identity alone|lane,identity"
    )
    BOOKS_BEHIND = "meterline_books_behind_records|Records appended that the books have not read|lane"
    DEAD_LETTERS_OPEN = (
        "meterline_dead_letters_open|Dead letters of the last 35 days that no replay counts (to 10,000)|"
    )
    IN_FLIGHT = "meterline_in_flight_requests|Usage requests under way|"


class HistogramName(StrEnum):
    """Histograms of seconds: value = `name|help|labels`."""

    VERDICT_SECONDS = "meterline_verdict_seconds|From reading a usage request to its answer|"
    FOLD_WRITE_SECONDS = "meterline_fold_write_seconds|One atomic write of the fold|"
    SINK_INSERT_SECONDS = "meterline_sink_insert_seconds|One insert into RAW|"
    LOOP_STALL_SECONDS = "meterline_loop_stall_seconds|How late the event loop woke a sleeper|"


class Telemetry:
    """One process's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters = {name: Counter(*_parts(name), registry=self.registry) for name in CounterName}
        self._gauges = {name: Gauge(*_parts(name), registry=self.registry) for name in GaugeName}
        self._histograms = {
            name: Histogram(*_parts(name), registry=self.registry, buckets=_LATENCY_SECONDS) for name in HistogramName
        }

    def count(self, name: CounterName, by: float = 1, **labels: str) -> None:
        """Raise a counter."""
        metric = self._counters[name]
        (metric.labels(**labels) if labels else metric).inc(by)

    def set(self, name: GaugeName, value: float, **labels: str) -> None:
        """Set a gauge."""
        metric = self._gauges[name]
        (metric.labels(**labels) if labels else metric).set(value)

    def observe(self, name: HistogramName, seconds: float) -> None:
        """Record a duration."""
        self._histograms[name].observe(seconds)

    def render(self) -> bytes:
        """Render everything in Prometheus' text format."""
        return generate_latest(self.registry)


def _parts(name: StrEnum) -> tuple[str, str, list[str]]:
    metric, text, labels = name.value.split("|")
    return metric, text, [label for label in labels.split(",") if label]


def configure_logs(level: str) -> None:
    """Send structured logs as JSON lines to standard error, from `level` up."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def logger(owner: str) -> structlog.typing.FilteringBoundLogger:
    """Make the logger of a module or worker."""
    log: structlog.typing.FilteringBoundLogger = structlog.get_logger(owner=owner)
    return log
