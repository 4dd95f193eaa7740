from dataclasses import replace
from pathlib import Path

from benchmarks.journal import Journal
from benchmarks.suites import SUITES

FIRST, SECOND = SUITES["dry"][:2]


def test_a_run_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "made" / "run.json"
    Journal(path).note(FIRST)
    again = Journal(path)
    assert again.holds(FIRST)
    assert not again.holds(SECOND)


def test_what_is_defined_anew_is_measured_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.json")
    journal.note(FIRST)
    assert not journal.holds(replace(FIRST, dtype="float16"))


def test_a_run_that_has_ended_is_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.json")
    journal.note(FIRST)
    journal.close()
    journal.close()
    assert not journal.holds(FIRST)
    assert not Journal(tmp_path / "run.json").holds(FIRST)


def test_names_of_results_are_unique_and_those_of_their_plans() -> None:
    for suite in SUITES.values():
        names = [each.name for each in suite]
        assert len(set(names)) == len(names)
        for each in suite:
            plan = getattr(each.work, "plan", each.work)
            assert getattr(plan, "name", each.name) == each.name
