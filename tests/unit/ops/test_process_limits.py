"""What machine, container and hard limits leave to a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from arno.ops.process_limits import available_bytes, available_cpus, share_interpreter

ALLOWED = len(os.sched_getaffinity(0))
GIB = 1024**3


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


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    return path


def cgroup(folder: Path, limit: str, used: int) -> Path:
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    return folder


def test_a_machine_without_a_container_says_what_it_has(meminfo, tmp_path):
    assert available_bytes(meminfo, tmp_path) == 8 * GIB


@pytest.mark.parametrize(
    ("limit", "used", "left"),
    [("max", GIB, 8 * GIB), (str(4 * GIB), GIB, 3 * GIB), (str(GIB), 2 * GIB, 0)],
)
def test_a_container_leaves_less(meminfo, tmp_path, limit, used, left):
    assert available_bytes(meminfo, cgroup(tmp_path, limit, used)) == left


def test_without_either_it_still_says_something(tmp_path):
    assert available_bytes(tmp_path / "nothing", tmp_path) > 0


def test_soft_limit_is_raised_to_what_is_wanted_or_to_the_hard_one_and_never_lowered():
    # In a process of its own: a hard limit that was lowered stays so.
    code = """
import resource
from arno.ops.process_limits import raise_open_files_max
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 500))
for wanted_count in (300, 1000, 10):
    found = raise_open_files_max(wanted_count)
    print(found, resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["300 (300, 500)", "500 (500, 500)", "500 (500, 500)"]
