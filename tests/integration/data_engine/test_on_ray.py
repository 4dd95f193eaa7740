"""Data sets that Ray makes are those of one process, byte for byte: run by `make ray-check`."""

from __future__ import annotations

import subprocess
import sys

import pytest
from arno.data_engine.blocks import Workers
from support.worked_parts import break_a_record, differing, make, write_sources, written

pytest.importorskip("ray")  # the extra `ray`, which is no part of `dev`


@pytest.mark.timeout(600)
def test_ray_writes_the_bytes_of_one_process(tmp_path):
    sources = write_sources(tmp_path / "sources")
    by_one_process = make(tmp_path / "y", sources, Workers())
    root = tmp_path / "x"

    def dataset(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arno.cli", "dataset", *map(str, words)]
        command += ["--engine", "ray"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    merged, kept = root / "merged", root / "kept"
    for words in (
        ("merge", *(source.folder for source in sources), "--out", merged),
        ("filter", merged, "--out", kept, "--no-text-rules"),
        ("stats", kept, "--no-texts", "--out", root / "card"),
        ("export", kept, "--as", "jsonl", "--out", root / "samples"),
    ):
        done = dataset(*words)
        assert done.returncode == 0, done.stderr
    assert differing(written(root), by_one_process) == []
    broken = break_a_record(tmp_path).folder
    refused = dataset("filter", broken, "--out", tmp_path / "none", "--no-text-rules")
    assert refused.returncode != 0
    assert "part-000000.jsonl:700" in refused.stderr
    assert "Traceback" not in refused.stderr
