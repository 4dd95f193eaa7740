"""Metrics, their page, the alert rules and the dashboard speak of the same things."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from support.metrics import declared_metrics

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = {
    path.stem: json.loads(path.read_text())
    for path in sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
}
PANELS = [panel for board in DASHBOARDS.values() for panel in board["panels"]]
UNSEEN = {
    "process_max_fds",
    "process_open_fds",
    "process_virtual_memory_bytes",
    "python_gc_collections_total",
    "python_gc_objects_collected_total",
    "python_gc_objects_uncollectable_total",
}
"""Metrics that are in no panel and in no rule, since they explain a leak and tell none."""
RULES = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
NAMES = {metric.name for metric in declared_metrics()}
RECORDS = {
    rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule
}
HISTOGRAMS = {metric.name for metric in declared_metrics() if metric.kind == "histogram"}


def expressions() -> list[str]:
    targets = [target["expr"] for panel in PANELS for target in panel["targets"]]
    rules = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    return [expression.replace("$__rate_interval", "1m") for expression in targets + rules]


def base_name(series: str) -> str:
    stem = re.sub(r"_(bucket|count|sum)$", "", series)
    return stem if stem in HISTOGRAMS else series


def test_the_page_lists_every_metric_and_no_other() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    listed = dict(
        re.findall(r"^\| `((?:arno|process|python)_\w+)` \| (\w+) \|", page, flags=re.MULTILINE)
    )
    assert listed == {metric.name: metric.kind for metric in declared_metrics()}


def test_names_carry_their_process_and_counters_end_in_total() -> None:
    for metric in declared_metrics():
        assert re.match(
            r"(arno_(gateway|worker|ingest|notify|web|train)_[a-z_]+|arno_build_info|(process|python)_[a-z_]+)$",
            metric.name,
        )
        assert metric.name.endswith("_total") == (metric.kind == "counter")


@pytest.mark.parametrize("expression", expressions())
def test_every_expression_parses_and_uses_metrics_that_exist(expression: str) -> None:
    promql_parser.parse(expression)
    used = {base_name(name) for name in re.findall(r"\b(?:arno|process)_\w+", expression)}
    recorded = set(re.findall(r"\barno:[\w:]+", expression))
    assert used or recorded or "up{" in expression
    assert used <= NAMES
    assert recorded <= RECORDS


def test_every_server_metric_is_in_a_panel_or_a_rule() -> None:
    used = {base_name(name) for text in expressions() for name in re.findall(r"\w+", text)}
    servers = {name for name in NAMES if not name.startswith("arno_train_")}
    assert servers - used == UNSEEN


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_their_own_id_a_unit_and_a_question(name: str) -> None:
    panels: list[dict[str, Any]] = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"].endswith(("?", "."))
        assert panel["datasource"]["uid"] == "${datasource}"


def test_the_config_map_holds_every_dashboard() -> None:
    component = yaml.safe_load((ROOT / "deploy/grafana/kustomization.yaml").read_text())
    files = component["configMapGenerator"][0]["files"]
    assert {Path(file).stem for file in files} == set(DASHBOARDS)
