"""Files are read again once they have changed, and a file that cannot be used changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from arno.ops.watched_file import WatchedFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "value"
    path.write_text("1")
    return path


@pytest.fixture
def watched(path: Path) -> WatchedFile[int]:
    return WatchedFile([path], lambda: int(path.read_text()))


def replace(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def test_unchanged_file_is_read_once(path: Path) -> None:
    reads: list[str] = []
    watched = WatchedFile([path], lambda: reads.append(path.read_text()))
    assert not watched.refresh()
    assert reads == ["1"]


def test_replaced_file_is_read_again(path: Path, watched: WatchedFile[int]) -> None:
    replace(path, "2")
    assert watched.refresh()
    assert watched.value == 2
    assert not watched.refresh()


@pytest.mark.parametrize(
    "spoil", [lambda path: replace(path, "no number"), Path.unlink], ids=["broken", "removed"]
)
def test_file_that_cannot_be_used_leaves_the_value_and_raises_each_time(
    path: Path, watched: WatchedFile[int], spoil: Callable[[Path], object]
) -> None:
    spoil(path)
    for _ in range(2):
        with pytest.raises((ValueError, OSError)):
            watched.refresh()
    assert watched.value == 1
    replace(path, "3")
    assert watched.refresh()
    assert watched.value == 3


def test_file_that_is_written_while_it_is_read_is_read_again_at_the_next_call(path: Path) -> None:
    pending = ["2", "3"]

    def read() -> int:
        found = int(path.read_text())
        if found > 1 and pending:
            replace(path, pending.pop())
        return found

    watched = WatchedFile([path], read)
    replace(path, pending.pop(0))
    assert not watched.refresh()
    assert watched.value == 1
    assert watched.refresh()
    assert watched.value == 3


def test_files_that_belong_together_are_read_once_either_has_changed(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_text("1")
    watched = WatchedFile(paths, lambda: [path.read_text() for path in paths])
    replace(paths[1], "2")
    assert watched.refresh()
    assert watched.value == ["1", "2"]
