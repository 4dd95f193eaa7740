"""`arno annotate` in a process of its own: killed three times, every image once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from arno.dataset import Dataset
from PIL import Image
from support.eventually import eventually

IMAGES = 60
MODULE = """
import time

def find(image):
    time.sleep(0.02)
    return [{"box": (0, 0, 5, 5), "kind": "category", "text": str(image.width)}]
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "photos").mkdir()
    for at in range(IMAGES):
        Image.new("RGB", (10 + at, 8)).save(tmp_path / "photos" / f"{at:03d}.png")
    return tmp_path


def words(*more: str) -> list[str]:
    base = [
        "annotate",
        "photos",
        "--out",
        "out",
        "--no-florence",
        "--annotator",
        "python:mine:find",
    ]
    return [
        sys.executable,
        "-m",
        "arno.cli",
        *base,
        "--format",
        "jsonl",
        "--shard-records",
        "7",
        *more,
    ]


def lines(place: Path) -> int:
    files = [*(place / "out").glob("*.jsonl")] if (place / "out").exists() else []
    return sum(path.read_bytes().count(b"\n") for path in files)


def test_run_killed_three_times_annotates_every_image_once(place):
    for kills in range(1, 4):
        process = subprocess.Popen(words(), cwd=place, stderr=subprocess.DEVNULL)
        eventually(
            lambda kills=kills: lines(place) >= 10 * kills, what="records are written", timeout_s=60
        )
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    ended = subprocess.run(words(), cwd=place, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    records = list(Dataset(place / "out"))
    assert [one.image_id for one in records] == [f"{at:03d}.png" for at in range(IMAGES)]
    assert [one.regions[0].text for one in records] == [str(10 + at) for at in range(IMAGES)]


@pytest.mark.parametrize(
    ("annotator", "sentence"),
    [
        ("python:mine:nothing", "cannot be imported"),
        ("python:absent:find", "cannot be imported"),
        ("sorcerer:x", "unknown; allowed: detector:FOLDER"),
        ("detector:photos", "no detector of transformers"),
        ("chat:http://127.0.0.1/v1", "needs a model"),
    ],
)
def test_unknown_annotator_is_refused_in_a_sentence(place, annotator, sentence):
    ended = subprocess.run(
        words("--annotator", annotator), cwd=place, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
