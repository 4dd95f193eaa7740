"""The chart uses every value that it offers, and offers every value that it uses.

``make check`` compares the chart with what is generated, ``make k8s-check`` with the overlays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import arno
import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "deploy/helm/arno"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
TEMPLATES = [path.read_text() for path in sorted((CHART / "templates").iterdir())]


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_value_is_used_and_every_used_value_is_offered() -> None:
    used = set(re.findall(r"\.Values\.([a-zA-Z.]+)", "".join(TEMPLATES)))
    assert used == set(leaves(VALUES))


def test_every_overlay_is_a_profile_and_the_default_is_one() -> None:
    overlays = {path.name for path in (ROOT / "k8s/overlays").iterdir()}
    found = set(re.findall(r'eq \.Values\.profile "([\w-]+)"', "".join(TEMPLATES)))
    assert found == overlays
    assert VALUES["profile"] in overlays


def test_the_chart_has_the_version_of_its_images() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == arno.__version__


def test_helm_refuses_values_that_the_chart_does_not_offer() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert set(schema["properties"]) == {*VALUES, "global"}
    assert schema["additionalProperties"] is False
    for name, value in VALUES.items():
        if isinstance(value, dict) and value:
            assert set(schema["properties"][name]["properties"]) == set(value)
            assert schema["properties"][name]["additionalProperties"] is False
    overlays = {path.name for path in (ROOT / "k8s/overlays").iterdir()}
    assert set(schema["properties"]["profile"]["enum"]) == overlays
