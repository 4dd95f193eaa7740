"""A container's quota bounds the threads, not the machine's cores."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from arno.ops.cpus import available_cpus, share_interpreter

ALLOWED = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max 100000\n", ALLOWED),
        ("100000 100000\n", 1),
        ("25000 100000\n", 1),
        ("99900000 100000\n", ALLOWED),
        ("nonsense\n", ALLOWED),
    ],
)
def test_the_smaller_of_affinity_and_quota_counts(tmp_path: Path, content, expected):
    path = tmp_path / "cpu.max"
    path.write_text(content)
    assert available_cpus(path) == expected


def test_without_a_container_the_affinity_counts(tmp_path: Path):
    assert available_cpus(tmp_path / "absent") == ALLOWED


def test_thread_that_waits_for_the_interpreter_gets_it_soon(monkeypatch: pytest.MonkeyPatch):
    intervals_s: list[float] = []
    monkeypatch.setattr(sys, "setswitchinterval", intervals_s.append)
    share_interpreter()
    assert intervals_s == [pytest.approx(0.0005)]
