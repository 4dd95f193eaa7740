"""Write Grafana's dashboards from ``deploy/grafana/panels.yml``; ``--check`` compares.

A dashboard's JSON is mostly layout that says nothing; the source holds what each panel asks, and
short forms of what every query repeats.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import yaml
from generated_files import write_or_check
from sources import ROOT

SOURCE: Final = ROOT / "deploy/grafana/panels.yml"
FOLDER: Final = ROOT / "deploy/grafana/dashboards"
_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_PERCENTILE: Final = re.compile(r"p(\d+) (\w+?)(\{[^}]*\})? by (\w+)")


def generated() -> dict[Path, str]:
    """Return the text of each dashboard."""
    source = yaml.safe_load(SOURCE.read_text())
    return {
        FOLDER / f"{board['name']}.json": json.dumps(dashboard(board), indent=2) + "\n"
        for board in source["dashboards"]
    }


def dashboard(board: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it: two panels a row."""
    variable = {
        "name": "datasource",
        "type": "datasource",
        "query": "prometheus",
        "label": "Prometheus",
    }
    return {
        "uid": f"arno-{board['name']}",
        "title": board["title"],
        "tags": ["arno"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [variable]},
        "annotations": {"list": []},
        "panels": [panel(number, one) for number, one in enumerate(board["panels"])],
    }


def panel(number: int, given: dict[str, Any]) -> dict[str, Any]:
    """Return the panel at a place."""
    return {
        "id": number + 1,
        "title": given["title"],
        "description": given["question"],
        "type": "timeseries",
        "datasource": _DATASOURCE,
        "gridPos": {"x": 12 * (number % 2), "y": 8 * (number // 2), "w": 12, "h": 8},
        "fieldConfig": {"defaults": {"unit": given["unit"], "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + n), "expr": query(expr), "legendFormat": legend}
            for n, (expr, legend) in enumerate(given["queries"].items())
        ],
    }


def query(short: str) -> str:
    """Return a query in PromQL; see the head of the source for its short forms."""
    found = _PERCENTILE.fullmatch(short)
    if found is None:
        return short.replace("[r]", "[$__rate_interval]")
    share, name, labels, by = int(found[1]) / 100, found[2], found[3] or "", found[4]
    rate = f"rate({name}_bucket{labels}[$__rate_interval])"
    return f"histogram_quantile({share:g}, sum by ({by}, le) ({rate}))"


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, generated, "dashboards"))
