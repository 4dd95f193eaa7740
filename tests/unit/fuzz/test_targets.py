"""A slice of `make fuzz`: bytes are read or refused by name, and each target finds faults."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz.mutations import mutated
from fuzz.reading import Report, content_of, try_one
from fuzz.seeds import image_seeds
from fuzz.supervised import read_supervised
from fuzz.targets import PLANTED, TARGETS, Target

FIRST = 1_000_000
SHORT = {"configs": 40}
"""Inputs for each target; transformers takes a tenth of a second for a configuration."""

names = pytest.mark.parametrize("name", TARGETS)

# Starlette leaves the part of a broken form that it had kept in memory to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


def a_slice(name: str) -> range:
    return range(FIRST, FIRST + SHORT.get(name, 200))


@names
def test_mutated_inputs_are_read_or_refused_by_name(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report, target = Report(), TARGETS[name]
    for number in (*range(-len(target.seeds()), 0), *a_slice(name)):
        try_one(target, number, report, tmp_path)
    assert report.faults == []
    assert report.read_count > 0
    assert report.refused_count > 20


@names
def test_seeds_reach_behind_the_first_check(name: str) -> None:
    target, report = TARGETS[name], Report()
    for number in range(-len(target.seeds()), 0):
        try_one(target, number, report, Path())
    assert report.read_count > 0


@names
def test_planted_fault_behind_the_parser_is_found_and_its_bytes_are_kept(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report, sound = Report(), TARGETS[name]

    def broken(content: bytes) -> None:
        sound.read(content)
        if content not in sound.seeds():
            raise ZeroDivisionError("planted")

    target = replace(sound, read=broken)
    for number in range(FIRST, FIRST + 4000):
        try_one(target, number, report, tmp_path)
        if report.faults:
            break
    [fault] = report.faults
    assert "planted" in fault
    [kept] = tmp_path.iterdir()
    assert str(kept) in fault
    number = int(kept.name.rpartition("-")[2])
    assert kept.read_bytes() == content_of(target, number)


def test_end_of_the_process_is_a_fault_with_its_bytes(tmp_path: Path) -> None:
    done = read_supervised(PLANTED["dies"], 0, 2000, tmp_path)
    [fault] = done.report.faults
    assert "ends the process (-6)" in fault
    [kept] = tmp_path.iterdir()
    assert len(kept.read_bytes()) % 64 == 3


def test_input_that_is_kept_in_the_corpus_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.targets._CORPUS", tmp_path)
    (tmp_path / "once").mkdir()
    (tmp_path / "once" / "fault").write_bytes(b"what was a fault")
    seen: list[bytes] = []
    target = Target("once", lambda: (b"seed",), seen.append)
    for number in (-2, -1):
        try_one(target, number, Report(), tmp_path)
    assert seen == [b"what was a fault", b"seed"]


def test_mutation_of_a_number_is_always_the_same() -> None:
    first = [mutated(image_seeds(), n) for n in range(50)]
    assert first == [mutated(image_seeds(), n) for n in range(50)]
    assert len(set(first)) > 45
