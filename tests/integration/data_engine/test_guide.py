"""The commands of docs/data-engine.md, one after the other, as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from arno.cli.main import root
from arno.dataset import Dataset
from click.testing import CliRunner

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data-engine.md"
BLOCK = re.compile(r"```sh\n(.*?)```", re.S)


@pytest.mark.slow
@pytest.mark.model
def test_every_command_of_the_guide_does_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    lines = [line for block in BLOCK.findall(PAGE.read_text()) for line in block.splitlines()]
    assert len(lines) >= 12
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "arno"
        ended = CliRunner().invoke(root, words, standalone_mode=False)
        if ended.exception is not None:
            raise AssertionError(line) from ended.exception
        assert not ended.return_value, f"{line}: {ended.output}"
    assert len(Dataset(tmp_path / "labels")) == 12
    assert "FLD-5B" in (tmp_path / "card" / "README.md").read_text()
    assert "data:image/jpeg;base64," in (tmp_path / "merged.html").read_text()
    assert 1 <= len(Dataset(tmp_path / "corrected")) <= 4
    assert (tmp_path / "refined" / "best" / "train" / "model" / "config.json").is_file()
    assert (tmp_path / "coco" / "instances.json").is_file()
