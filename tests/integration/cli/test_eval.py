"""`arno eval` as it is used: on a model of this process, killed and resumed, on broken data."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from arno.cli.main import root
from arno.engine.checkpoints.calibration import CALIBRATION_FILE, read_calibration
from arno.engine.checkpoints.folders import find_model, fingerprint
from arno.errors import ConfigurationError, InvalidFieldError, ModelError
from arno.vocabulary import Task
from click.testing import CliRunner, Result
from PIL import Image
from support.eventually import eventually

pytestmark = pytest.mark.model

WORLD = "world:seed=7,n=20,tasks=OD+CAPTION"
QUICK = ("--device", "cpu", "--beams", "1", "--max-tokens", "24")


def arno_eval(*words: object) -> Result:
    return CliRunner().invoke(root, ["eval", *map(str, words)], standalone_mode=False)


def report_of(*words: object) -> dict[str, Any]:
    done = arno_eval(*words, "--json")
    assert done.exception is None, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def line(file: str, **changes: object) -> str:
    return json.dumps({"file": file, "task": "CAPTION", "answer": "a cat", **changes})


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A data set of six lines, of which two are good."""
    Image.new("RGB", (64, 48), "red").save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    outside = [{"label": "cat", "box": [0, 0, 900, 10]}]
    lines = [
        line("a.png"),
        line("missing.png"),
        line("a.png", task="OD", answer=outside),
        "no json",
        line("cut.png"),
        line("a.png", task="OD", answer=[{"label": "cat", "box": [0, 0, 9, 9]}]),
    ]
    (tmp_path / "photos.jsonl").write_text("\n".join(lines))
    return tmp_path / "photos.jsonl"


def test_run_killed_and_called_again_asks_what_is_missing_and_ends_with_the_same_figures(
    warm_arno, tmp_path
):
    words = ("--data", WORLD, "--out", tmp_path / "killed", *QUICK)
    replies = tmp_path / "killed" / "predictions.jsonl"
    process = warm_arno.start("eval", *words)
    eventually(lambda: replies.exists() and b"\n" in replies.read_bytes(), timeout_s=90)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "report.json").exists()
    resumed = report_of(*words)
    whole = report_of("--data", WORLD, *QUICK)
    asked = resumed["questions"]
    assert asked["from_earlier_run"] > 0
    assert asked["asked"] > 0
    assert asked["from_earlier_run"] + asked["asked"] == whole["questions"]["asked"] == 40
    assert resumed["figures"] == whole["figures"]
    assert json.loads((tmp_path / "killed" / "report.json").read_text()) == resumed
    assert "data:image/jpeg" in (tmp_path / "killed" / "worst.html").read_text()


def test_broken_lines_are_named_and_left_out(photos):
    done = arno_eval("--data", photos, "--json", *QUICK)
    assert done.return_value == 0
    assert f"{photos}:2: file {photos.parent / 'missing.png'}: cannot be read" in done.stderr
    assert f"{photos}:3: answer.detection.regions[0]: not inside the image" in done.stderr
    assert f"{photos}:4: line: not JSON" in done.stderr
    assert "3 broken samples are left out" in done.stderr
    # Its header is whole, so that only who opens it finds out; said once, with its place once.
    assert done.stderr.count(f"{photos}:5") == 1
    document = json.loads(done.stdout)
    assert document["data"]["broken_samples"] == 3
    assert document["questions"]["not_asked"] == 1
    assert {task: one["questions"] for task, one in document["figures"].items()} == {
        "CAPTION": 1,
        "OD": 1,
    }


def test_table_is_printed_with_the_tasks_asked_for(photos):
    done = arno_eval("--data", photos, "--tasks", "od", *QUICK)
    assert "mAP@0.5" in done.stdout
    assert "CIDEr" not in done.stdout


def test_nothing_but_words_for_people_is_on_stderr(photos):
    photos.write_text(line("a.png"))
    assert arno_eval("--data", photos, *QUICK).stderr == ""


@pytest.mark.parametrize(
    ("words", "error", "problem"),
    [
        (("--data", "missing.jsonl"), InvalidFieldError, "missing.jsonl: cannot be read"),
        (("--data", "photos.txt"), InvalidFieldError, "not the name of data"),
        (("--tasks", "CAPTIO"), InvalidFieldError, "--tasks: unknown task; did you mean CAPTION"),
        (("--tasks", "OCR"), InvalidFieldError, "--data: holds no question"),
        (("--model", "tiny", "--address", "x:1"), ConfigurationError, "leave out --model"),
        (("--model", "no/such"), ModelError, "no/such"),
        (("--calibrate", "--address", "x:1"), ConfigurationError, "use --model"),
        (("--calibrate", *QUICK), InvalidFieldError, "holds too little to calibrate"),
    ],
)
def test_flag_that_cannot_be_used_says_why(photos, words, error, problem):
    done = arno_eval("--data", photos, *words)
    assert isinstance(done.exception, error)
    assert problem in done.exception.message


def test_folder_of_another_run_is_refused(photos, tmp_path):
    report_of("--data", photos, "--out", tmp_path / "out", *QUICK)
    again = arno_eval("--data", photos, "--out", tmp_path / "out", "--beams", "2")
    assert isinstance(again.exception, ConfigurationError)
    assert "holds the run of another decoding" in again.exception.message


def test_a_calibration_is_written_beside_the_model_and_used_by_it(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(find_model("tiny"), model, ignore=shutil.ignore_patterns(CALIBRATION_FILE))
    words = ("--model", model, "--data", "world:seed=7,n=50,tasks=OD", "--calibrate", *QUICK)
    done = arno_eval(*words)
    assert done.exception is None, done.stderr
    assert "OD: " in done.stderr
    assert f"written: {model / CALIBRATION_FILE}" in done.stderr
    calibration = read_calibration(model, fingerprint(model))
    assert set(calibration.maps) == {Task.OD}
    # A second fit starts from the same scores, not from calibrated ones.
    assert arno_eval(*words).exception is None
    assert read_calibration(model, fingerprint(model)) == calibration
