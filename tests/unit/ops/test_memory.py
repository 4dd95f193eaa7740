"""The memory that is left is what machine and container both leave."""

from __future__ import annotations

from pathlib import Path

import pytest
from arno.ops.memory import available_bytes

GIB = 1024**3


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
