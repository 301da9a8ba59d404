"""The dashboards are in the form in which Grafana provisions them, and ask for what there is."""

from __future__ import annotations

import re

import pytest
import yaml
from prometheus_client import REGISTRY

from agent import metrics
from tests.alert_cases import rules
from tests.observed.dashboards import GRAFANA, asked, dashboards

ALL = dashboards()
PANELS = [(name, panel) for name, board in ALL.items() for panel in board["panels"]]
NOT_OURS = {"process_resident_memory_bytes", "up"}
GRID = 24


def names():
    """The names of all series that the product exports."""
    exported = {sample.name for metric in REGISTRY.collect() for sample in metric.samples}
    for metric in REGISTRY.collect():
        ending = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        exported |= {f"{metric.name}{end}" for end in ending.get(metric.type, [""])}
    told = {one.name for one in vars(metrics).values() if isinstance(one, metrics.Told)}
    return exported | told | {rule["record"] for rule in rules() if "record" in rule}


def selected(expression):
    bare = re.sub(r'"[^"]*"', '""', expression)
    return set(re.findall(r"\b(?:voice[_:]|livekit_|process_)[\w:]+|\bup\b", bare))


def test_the_shipped_dashboards_are_those_that_were_asked_for():
    assert {"API Response Time", "Active Rooms & Participants"} <= {
        board["title"] for board in ALL.values()
    }
    assert len({board["uid"] for board in ALL.values()}) == len(ALL) >= 8


@pytest.mark.parametrize("name", ALL)
def test_a_dashboard_is_in_provisioning_form(name):
    board = ALL[name]
    assert "id" not in board, "Grafana gives ids; dashboards are known by their uid"
    assert not board.keys() & {"__inputs", "__requires", "dashboard"}, "an export, to be imported"
    assert board["uid"] == name.removesuffix(".json")
    assert len(board["uid"]) <= 40
    assert board["schemaVersion"] >= 36
    (variable,) = board["templating"]["list"]
    assert (variable["name"], variable["type"], variable["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("name", "panel"), PANELS, ids=lambda one: str(one)[:40])
def test_a_panel_has_its_place_a_unit_and_the_chosen_source(name, panel):
    place = panel["gridPos"]
    assert 0 <= place["x"] < place["x"] + place["w"] <= GRID
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]) > 0


@pytest.mark.parametrize("name", ALL)
def test_panels_do_not_lie_on_each_other(name):
    taken = [
        (x, y)
        for panel in ALL[name]["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(taken)) == len(taken)


def test_panels_and_rules_ask_for_metrics_that_there_are():
    wanted = {name for one in asked() for name in selected(one.expression)}
    wanted |= {name for rule in rules() for name in selected(rule["expr"])}
    assert wanted <= names() | NOT_OURS


def test_the_data_source_and_the_folder_are_provisioned():
    sources = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())
    assert [source["type"] for source in sources["datasources"]] == ["prometheus"]
    assert sources["datasources"][0]["jsonData"]["timeInterval"] == "15s", "as Prometheus scrapes"
    folders = yaml.safe_load((GRAFANA / "provisioning/dashboards/voice.yml").read_text())
    assert [provider["type"] for provider in folders["providers"]] == ["file"]
