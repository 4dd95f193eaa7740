"""The prepared runs on a GPU keep to their time, and to what they learnt before something broke."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("torch")

from benchmarks.gpu_parts import _PARTS
from benchmarks.gpu_runs import LIMIT_S, RUNS, Part, run_parts


@pytest.mark.parametrize("run", RUNS)
def test_a_run_takes_less_than_ten_minutes_and_begins_with_the_machine(run: int) -> None:
    parts = RUNS[run]
    assert sum(part.seconds_max for part in parts) <= LIMIT_S
    assert parts[0].words[1] == "machine"
    measured = [part.words[1] for part in parts if part.words[0] == "benchmarks.gpu_parts"]
    assert {name.partition(":")[0] for name in measured} <= {*_PARTS, "serve"}


def test_a_part_that_hangs_or_fails_leaves_the_others_their_time(tmp_path) -> None:
    parts = (
        Part(30.0, ("json.tool", "--help")),
        Part(0.01, ("http.server", "0")),
        Part(30.0, ("json.tool", "no-such-file")),
    )
    assert run_parts(parts, tmp_path) == ["0", "no-such-file"]
    limit = "after 0.01 s, which is its limit"
    kept = [json.loads(line) for line in (tmp_path / "gpu-parts.jsonl").read_text().splitlines()]
    assert [line["ended"] for line in kept] == ["well", limit, "with 2"]
