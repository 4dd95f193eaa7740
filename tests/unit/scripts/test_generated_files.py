"""What a generator writes, and what its ``--check`` says."""

from __future__ import annotations

import sys
from pathlib import Path

import generated_files
import pytest
from generated_files import write_or_check


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(generated_files, "ROOT", tmp_path)
    monkeypatch.setattr(sys, "argv", ["generate"])
    return tmp_path / "folder" / "file.txt"


def test_files_are_written_with_their_folders(path):
    assert write_or_check("Generate.", lambda: {path: "new"}, "things") == 0
    assert path.read_text() == "new"


def test_check_changes_nothing_and_names_file_and_target(path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    assert write_or_check("Generate.", lambda: {path: "new"}, "things") == 1
    assert not path.exists()
    said = "folder/file.txt: differs from its source; run `make things`\n"
    assert capsys.readouterr().err == said


def test_check_passes_where_nothing_differs(path, monkeypatch, capsys):
    path.parent.mkdir()
    path.write_text("old")
    monkeypatch.setattr(sys, "argv", ["generate", "--check"])
    assert write_or_check("Generate.", lambda: {path: "old"}, "things") == 0
    assert capsys.readouterr().err == ""
