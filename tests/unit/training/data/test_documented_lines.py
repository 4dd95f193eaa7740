"""The lines that docs/training.md shows are data."""

from __future__ import annotations

import re
from pathlib import Path

from arno.training.data import open_data
from arno.vocabulary import Task
from PIL import Image

PAGE = Path(__file__).resolve().parents[4] / "docs" / "training.md"


def test_every_line_of_the_page_is_a_sample_and_every_task_has_one(tmp_path):
    blocks = re.findall(r"```jsonl\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "page.jsonl").write_text("".join(blocks))
    Image.new("RGB", (320, 240)).save(tmp_path / "a.jpg")
    samples = list(open_data(str(tmp_path / "page.jsonl")))
    assert {sample.spec.task for sample in samples} == set(Task)
