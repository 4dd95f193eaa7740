"""The README's figures are those of the files that the measuring programs wrote."""

from __future__ import annotations

import pytest

from benchmarks.readme import README, RESULTS, speed, with_figures
from benchmarks.report import load_results


def results():
    return {result["name"]: result for result in load_results(RESULTS)}


def test_the_readme_has_the_figures_of_the_results() -> None:
    text = README.read_text()
    assert with_figures(text, results()) == text, "run: python -m benchmarks report"


def test_other_results_change_it() -> None:
    text, other = README.read_text(), results()
    arno = other["tiny-mix"]["engines"]["arno"]
    other["tiny-mix"]["engines"]["arno"] = arno | {"throughput": 9.5 * arno["throughput"]}
    assert with_figures(text, other) != text


def test_what_was_not_measured_is_a_dash_beside_its_aim() -> None:
    row = next(line for line in speed({}).splitlines() if line.startswith("| three tasks"))
    assert row == "| three tasks on one image, over three images | - | >= 2.2 | - | >= 2.2 |"


def test_the_fastest_mode_is_named() -> None:
    other = results()
    arno = other["base-fastest"]["engines"]["arno-int8-compiled"]
    other["base-fastest"]["engines"]["arno-bfloat16"] = arno | {"throughput": 99.0}
    assert "The fastest mode of base is `arno-bfloat16`" in speed(other)


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="no part between"):
        with_figures("# A page", results())
