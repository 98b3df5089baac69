import json

import pytest
import structlog

from kernel.telemetry import CounterName, GaugeName, HistogramName, Telemetry, configure_logs, logger

NAMES = [*CounterName, *GaugeName, *HistogramName]


def labels_of(name) -> dict[str, str]:
    return {label: "x" for label in name.value.split("|")[2].split(",") if label}


@pytest.mark.parametrize("name", NAMES)
def test_every_name_renders_with_its_help(name):
    metric, text, _ = name.value.split("|")
    assert metric.startswith("meterline_")
    assert text in Telemetry().render().decode()


@pytest.mark.parametrize("name", CounterName)
def test_counters_rise(name):
    telemetry = Telemetry()
    telemetry.count(name, **labels_of(name))
    telemetry.count(name, 2, **labels_of(name))
    assert telemetry.registry.get_sample_value(name.value.split("|")[0] + "_total", labels_of(name)) == 3


@pytest.mark.parametrize("name", GaugeName)
def test_gauges_are_set(name):
    telemetry = Telemetry()
    telemetry.set(name, 5, **labels_of(name))
    telemetry.set(name, 4, **labels_of(name))
    assert telemetry.registry.get_sample_value(name.value.split("|")[0], labels_of(name)) == 4


@pytest.mark.parametrize("name", HistogramName)
def test_histograms_observe(name):
    telemetry = Telemetry()
    telemetry.observe(name, 0.003)
    assert telemetry.registry.get_sample_value(name.value.split("|")[0] + "_count") == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_label_is_without_bound(name):
    assert not set(labels_of(name)) & {"customer", "organization", "feature", "event"}


def test_two_processes_worth_of_metrics_do_not_meet():
    one, other = Telemetry(), Telemetry()
    one.count(CounterName.EVENTS_SUNK)
    assert other.registry.get_sample_value("meterline_events_sunk_total") == 0


def test_logs_are_json_lines_from_the_level_up(capsys):
    try:
        configure_logs("warning")
        log = logger("the test")
        log.info("not this")
        log.warning("this", lane=3)
    finally:
        structlog.reset_defaults()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    said = json.loads(lines[0])
    assert (said["event"], said["owner"], said["lane"], said["level"]) == ("this", "the test", 3, "warning")
