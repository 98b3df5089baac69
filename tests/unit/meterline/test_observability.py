"""The board and the alerts against the metrics that exist, and the runbooks that they name."""

import json
import re
from pathlib import Path

import pytest
import yaml

from kernel.telemetry import CounterName, GaugeName, HistogramName

DOCS = Path(__file__).parents[3] / "docs"
RULES = yaml.safe_load((DOCS / "alerts/meterline.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
BOARD = json.loads((DOCS / "grafana/meterline.json").read_text())
TARGETS = [(panel["title"], target["expr"]) for panel in BOARD["panels"] for target in panel.get("targets", [])]
QUERIES = [(rule["alert"], rule["expr"]) for rule in ALERTS] + TARGETS
# What Prometheus adds to every series, and the one series that is its own.
OF_PROMETHEUS = {"job", "instance"}


def series() -> dict[str, set[str]]:
    """Spell every series that /metrics shows, with its labels."""
    found: dict[str, set[str]] = {"up": set()}
    histogram = ["_count", "_sum", "_bucket"]
    for names, suffixes in ((CounterName, ["_total"]), (GaugeName, [""]), (HistogramName, histogram)):
        for name in names:
            metric, _, labels = name.value.split("|")
            for suffix in suffixes:
                found[metric + suffix] = set(labels.split(",")) - {""} | ({"le"} if suffix == "_bucket" else set())
    return found


def asked(expression: str) -> tuple[set[str], set[str], dict[str, set[str]]]:
    """Take an expression apart: series, labels that aggregate, and by series the labels that select."""
    selected = {
        name: set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inner))
        for name, inner in re.findall(r"(\w+)\{([^}]*)\}", expression)
    }
    grouped = {label.strip() for labels in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in labels.split(",")}
    bare = re.sub(r"\{[^}]*\}|\bby\s*\([^)]*\)|\[[^\]]*\]", " ", expression)
    functions = set(re.findall(r"(\w+)\s*\(", bare)) | {"sum", "max", "min", "count"}
    names = {word for word in re.findall(r"[a-zA-Z_]\w*", bare) if word not in functions}
    return names, grouped, selected


@pytest.mark.parametrize(("where", "expression"), QUERIES)
def test_every_series_and_label_exists(where: str, expression: str) -> None:
    names, grouped, selected = asked(expression)
    known = series()
    assert names, where
    assert names - known.keys() == set(), f"{where} asks for what is not measured"
    labels = set.union(*(known[name] for name in names)) | OF_PROMETHEUS
    assert grouped - labels == set(), f"{where} groups by what is no label"
    for name, by in selected.items():
        assert by - known[name] - OF_PROMETHEUS == set(), f"{where} selects by what is no label"
    assert expression.count("(") == expression.count(")")


def test_the_check_finds_what_does_not_exist() -> None:
    names, grouped, selected = asked('sum by (colour) (rate(meterline_nothing_total{taste="sour"}[5m])) > 0')
    assert (names, grouped, selected) == (
        {"meterline_nothing_total"},
        {"colour"},
        {"meterline_nothing_total": {"taste"}},
    )
    assert "meterline_nothing_total" not in series()


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_and_what_to_do(rule: dict) -> None:
    headings = re.findall(r"^#{2,3} (.+)$", (DOCS / "operations.md").read_text(), flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert page == "docs/operations.md"
    assert anchor in anchors
    assert len(rule["annotations"]["summary"]) > 20
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    assert shown <= asked(rule["expr"])[1] | OF_PROMETHEUS


def test_every_section_of_alerts_is_somebodys_runbook() -> None:
    text = (DOCS / "operations.md").read_text()
    sections = re.findall(r"^### (.+)$", text, flags=re.MULTILINE)
    named = {rule["annotations"]["runbook"].partition("#")[2] for rule in ALERTS}
    assert {section.lower().replace(" ", "-") for section in sections} == named


def test_alerts_have_names_of_their_own() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS) > 10


def test_every_metric_is_on_the_board() -> None:
    shown = " ".join(expression for _, expression in TARGETS)
    metrics = [name.value.split("|")[0] for names in (CounterName, GaugeName, HistogramName) for name in names]
    assert [metric for metric in metrics if metric not in shown] == []


def test_panels_have_places_and_ids_of_their_own() -> None:
    panels = BOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    sources = [target["datasource"]["uid"] for panel in panels for target in panel.get("targets", [])]
    assert set(sources) == {"${source}"}
    assert BOARD["templating"]["list"][0]["name"] == "source"
