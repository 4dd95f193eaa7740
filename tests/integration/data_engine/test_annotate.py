"""`arno annotate` in a process of its own: killed three times, every image once."""

from __future__ import annotations

import signal
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


FLAGS = ("--out", "out", "--no-florence", "--annotator", "python:mine:find")
WORDS = ("annotate", "photos", *FLAGS, "--format", "jsonl", "--shard-records", "7")


def lines(place: Path) -> int:
    files = [*(place / "out").glob("*.jsonl")] if (place / "out").exists() else []
    return sum(path.read_bytes().count(b"\n") for path in files)


def test_run_killed_three_times_annotates_every_image_once(warm_arno, place):
    for kills in range(1, 4):
        process = warm_arno.start(*WORDS, folder=place)
        eventually(
            lambda kills=kills: lines(place) >= 10 * kills, what="records are written", timeout_s=60
        )
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    ended = warm_arno.start(*WORDS, folder=place).result()
    assert ended.exit_code == 0, ended.err
    records = list(Dataset(place / "out"))
    assert [one.image_id for one in records] == [f"{at:03d}.png" for at in range(IMAGES)]
    assert [one.regions[0].text for one in records] == [str(10 + at) for at in range(IMAGES)]


def test_absent_gateway_is_told_at_once_with_what_needs_none(warm_arno, place):
    words = ("annotate", "photos", "--out", "out", "--address", "127.0.0.1:9")
    ended = warm_arno.start(*words, folder=place).result()
    assert ended.exit_code == 1
    assert "no Arno gateway is ready at 127.0.0.1:9: start one with `arno up`, or" in ended.err
    assert "--model" in ended.err


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
def test_unknown_annotator_is_refused_in_a_sentence(warm_arno, place, annotator, sentence):
    ended = warm_arno.start(*WORDS, "--annotator", annotator, folder=place).result()
    assert ended.exit_code == 2
    assert sentence in ended.err
    assert "Traceback" not in ended.err
