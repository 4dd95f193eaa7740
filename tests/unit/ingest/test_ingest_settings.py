"""The file of `arno ingest`: what it may say, and how its faults are named."""

from __future__ import annotations

import pytest
from arno.errors import ConfigurationError
from arno.ingest.settings import IngestSettings
from arno.ops.config import SettingsSources, load_settings

ROUTE = """
topics:
  - topic: photos
    results: photos.results
    dead_letters: photos.dead
    tasks:
      - OD
      - {task: REGION_TO_DESCRIPTION, input_from: "0"}
"""


def load(tmp_path, text: str, name: str = "streams.yaml", **variables: str) -> IngestSettings:
    file = tmp_path / name
    file.write_text(text)
    sources = SettingsSources(process="ingest", file=file, environment=variables)
    return load_settings(IngestSettings, sources)


def test_tasks_are_names_or_names_with_what_they_take(tmp_path):
    (route,) = load(tmp_path, ROUTE).topics
    assert [(spec.task.value, spec.input_from) for spec in route.specs()] == [
        ("OD", ""),
        ("REGION_TO_DESCRIPTION", "0"),
    ]


def test_toml_says_the_same(tmp_path):
    text = (
        '[[topics]]\ntopic = "photos"\nresults = "r"\ndead_letters = "d"\ntasks = ["OD"]\n'
        "[ingest]\ndrain_s = 3.0\n"
    )
    settings = load(tmp_path, text, "streams.toml")
    assert (settings.topics[0].topic, settings.drain_s) == ("photos", 3.0)


def test_variable_wins_over_the_file(tmp_path):
    settings = load(tmp_path, f"{ROUTE}\naddress: one:1", ARNO_ADDRESS="two:2")
    assert settings.address == "two:2"


SOURCE = "sources:\n  - {name: gate, source: gate.mp4, tasks: [OD], events: gate.jsonl"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ROUTE.replace("results: photos.results", ""), "topics[0].results: is needed"),
        (ROUTE.replace("results:", "answers:"), "topics[0].answers: unknown"),
        (ROUTE.replace("- OD", "- ODD"), "topics[0].tasks: task: unknown task; did you mean OD?"),
        (ROUTE.replace("- OD", "- OCR"), "topics[0].tasks: tasks[1].input_from"),
        (ROUTE.replace("photos.dead", "photos"), "must be three topics"),
        (ROUTE.replace("photos.results", "a b"), "topics[0].results: String should match"),
        (ROUTE + ROUTE.replace("topics:", ""), "topics: named more than once: photos"),
        (
            SOURCE.replace("gate.jsonl", "./gate.mp4}"),
            "gate.mp4: is a source, and would be written",
        ),
        (SOURCE + ", video: gate.mp4}", "gate.mp4: is a source, and would be written"),
        (SOURCE + ", lines: {door: [1, 2, 1, 2]}}", "the line begins where it ends"),
        ("topics: [", "streams.yaml: while parsing"),
        ("- 1", "must hold names and values; it holds a list"),
        ("addresses: x", "addresses: unknown; did you mean address?"),
    ],
)
def test_fault_of_the_file_is_named_with_its_place(tmp_path, text, said):
    with pytest.raises(ConfigurationError) as failed:
        load(tmp_path, text)
    assert said in failed.value.message
