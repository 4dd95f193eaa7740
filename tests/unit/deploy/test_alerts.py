"""Alerts lead to runbooks whose commands exist, and their tests feed what the code emits."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from arno.cli.main import root
from click.testing import CliRunner
from support.metrics import declared_metrics, fresh_series

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/prometheus"
RULES = [
    rule
    for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
PAGE = (ROOT / "docs/runbooks.md").read_text()
KINDS = {metric.name: metric.kind for metric in declared_metrics()}
FRESH = fresh_series()
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""


def series_of_tests() -> list[Any]:
    found = [
        pytest.param(series["series"], str(series["values"]), id=f"{test['name']}-{number}")
        for path in sorted((FOLDER / "tests").glob("*.yml"))
        for test in yaml.load(path.read_text(), Loader=yaml.BaseLoader)["tests"]  # noqa: S506 - all text
        for number, series in enumerate(test["input_series"])
    ]
    assert len(found) > 100
    return found


def name_and_labels(series: str) -> tuple[str, dict[str, str]]:
    labels = dict(re.findall(r'(\w+)="([^"]*)"', series))
    return series.partition("{")[0], {k: v for k, v in labels.items() if k not in SCRAPED}


def kind(name: str) -> str | None:
    return KINDS.get(name) or KINDS.get(re.sub(r"_(bucket|count|sum)$", "", name))


@pytest.mark.parametrize(("series", "values"), series_of_tests())
def test_series_of_alert_tests_begin_as_a_fresh_process_does(series: str, values: str) -> None:
    name, labels = name_and_labels(series)
    if name == "up":
        return
    assert kind(name) is not None, f"no process emits {name}"
    if kind(name) == "gauge":
        assert all(labels.keys() == known.keys() for known in FRESH.get(name, []))
        return
    shown_at_once = labels in FRESH.get(name, [])
    first = re.match(r"[\d_]+", values)
    assert first is not None
    # What a fresh process shows begins at 0; what it does not show is absent before it is counted.
    assert first[0] == ("0" if shown_at_once else "_")


def test_a_series_that_the_code_does_not_emit_is_found() -> None:
    wrong = 'arno_worker_dead_letters_total{reason="A_NEWER_REASON"}'
    with pytest.raises(AssertionError):
        test_series_of_alert_tests_begin_as_a_fresh_process_does(wrong, "0 0 1+0x40")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert", rule.get("record")))
def test_bounds_of_histograms_in_rules_are_bounds_in_the_code(rule: dict[str, str]) -> None:
    for selector in re.findall(r"arno_\w+_bucket\{[^}]*le=[^}]*\}", rule["expr"]):
        name, labels = name_and_labels(selector)
        assert any(labels.items() <= known.items() for known in FRESH[name])


def test_every_alert_has_a_runbook_section_and_every_section_an_alert() -> None:
    alerts = {rule["alert"] for rule in RULES if "alert" in rule}
    assert len(alerts) > 10
    assert set(re.findall(r"^## (\w+)", PAGE, flags=re.MULTILINE)) == alerts
    for rule in RULES:
        if "alert" in rule:
            address = rule["annotations"]["runbook_url"]
            assert re.fullmatch(r"https://\S+/docs/runbooks\.md#\w+", address)
            assert address.endswith(f"#{rule['alert'].lower()}")


def test_an_alert_sees_what_was_recorded_at_the_same_moment() -> None:
    # Groups have no order: an alert would see what another group recorded an evaluation before.
    (group,) = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    recorded: set[str] = set()
    for rule in group["rules"]:
        assert set(re.findall(r"\barno:[\w:]+", rule["expr"])) <= recorded
        recorded |= {rule["record"]} if "record" in rule else set()
    assert len(recorded) > 10


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`arno ([a-z][^`]+)`", PAGE))))
def test_commands_of_runbooks_exist_with_their_flags(line: str) -> None:
    words = shlex.split(line)
    verbs: list[str] = []
    for word in words:
        if not re.fullmatch("[a-z]+", word):
            break
        verbs.append(word)
    answer = CliRunner().invoke(root, [*verbs, "--help"])
    assert answer.exit_code == 0, answer.output
    assert all(word in answer.output for word in words if word.startswith("--"))


@pytest.mark.parametrize(
    "setting",
    sorted(set(re.findall(r"`([a-z]+(?:_[a-z]+)*_(?:s|bytes|max|min)|window)`", PAGE))),
)
def test_settings_in_runbooks_exist(setting: str) -> None:
    from arno.cli.servers import KNOWN_SETTINGS

    assert setting.removeprefix("_") in KNOWN_SETTINGS or setting in {"drain_s"}


@pytest.mark.parametrize("expression", sorted(set(re.findall(r"`([^`]*arno_\w+[^`]*)`", PAGE))))
def test_metrics_in_runbooks_exist(expression: str) -> None:
    for name in re.findall(r"arno_\w+", expression):
        assert kind(name) is not None
