"""The figures of the code's structure, and the floor of a file's size."""

from __future__ import annotations

import ast
from pathlib import Path

import check_sizes
import measure_structure as measure
import pytest
import sources


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the smaller file of a repository of two; the other one imports it."""
    for module in (sources, check_sizes):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    package = tmp_path / "services" / "arno"
    package.mkdir(parents=True)
    (package / "large.py").write_text("from arno.small import one\n" + "one()\n" * 100)
    small = package / "small.py"
    small.write_text('"""A function."""\ndef one(): ...\n')
    return small


def test_glue_is_imports_constructors_and_fields() -> None:
    code = """
import os
from json import (
    dumps,
)

@dataclass(frozen=True)
class Pair:
    left: int
    right: int

    def total(self):
        return self.left + self.right

class Part:
    def __init__(self, pair):
        self.pair = pair

    def use(self):
        return dumps(self.pair.total()), os.getpid()
"""
    # 1 and 3 of imports, 5 of the dataclass with the empty line before its method, 2 of __init__.
    assert measure.glue_lines(ast.parse(code)) == 4 + 5 + 2


def test_an_enum_or_a_conversion_that_two_files_define_is_listed() -> None:
    once = ast.parse("class Lane(StrEnum): ...\ndef lane_to_wire(lane): ...")
    again = ast.parse("class Lane(enum.Enum): ...\ndef _lane_to_wire(lane): ...\nclass Other: ...")
    both = {Path("a.py"): once, Path("b.py"): again}
    assert measure.defined_twice(both, measure.enum_names) == ["Lane"]
    assert measure.defined_twice(both, measure.conversion_names) == ["lane_to_wire"]
    assert measure.defined_twice({Path("a.py"): once}, measure.enum_names) == []


def test_classes_that_are_a_job_are_told_from_those_that_only_have_it_in_their_name() -> None:
    code = "class Job: ...\nclass _TakenJob: ...\nclass JobSnapshot: ...\nclass JobTable: ...\n"
    assert measure.job_classes([ast.parse(code)]) == ["Job", "JobSnapshot", "_TakenJob"]


def test_a_small_file_with_one_importer_needs_a_reason(small: Path) -> None:
    (problem,) = check_sizes.too_small()
    assert problem.startswith("services/arno/small.py: below 60 lines and imported only by")
    small.write_text('"""A function.\n\nStands alone: it runs by itself.\n"""\ndef one(): ...\n')
    assert check_sizes.too_small() == []


def test_a_small_file_with_two_importers_needs_no_reason(small: Path) -> None:
    (small.parent / "other.py").write_text("from arno.small import one\n")
    assert check_sizes.too_small() == []


def test_the_core_is_the_package_without_the_wings() -> None:
    names = ("gateway/main.py", "web/app.py", "errors.py", "ingest/deep/bridge.py")
    paths = [measure.ROOT / measure.PACKAGE / "arno" / name for name in names]
    assert measure.core_of(paths) == [paths[0], paths[2]]
