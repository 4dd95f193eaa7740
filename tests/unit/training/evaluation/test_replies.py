"""Replies outlive the process that got them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from arno.errors import ConfigurationError, EngineError
from arno.training.evaluation.answering import DecodingChoice, Reply
from arno.training.evaluation.replies import Replies, RunIdentity
from arno.vocabulary import (
    DetectionAnswer,
    GroundedPhrase,
    GroundingAnswer,
    OcrAnswer,
    Point,
    Polygon,
    QuadBox,
    Region,
    SegmentationAnswer,
    TextAnswer,
)
from support.builders import box
from support.judging import GREEDY, answered

RUN = RunIdentity("model", "data", GREEDY)


def keep(folder: Path, *replies: Reply, run: RunIdentity = RUN) -> dict[str, object]:
    """Add replies to a folder; return what is in it then."""
    with Replies(run, folder) as kept:
        for reply in replies:
            kept.add(reply)
        return dict(kept.outcomes)


def text(name: str) -> Reply:
    return Reply(name, answered(TextAnswer(f"says {name}")))


OUTLINE = (Polygon((Point(0, 0), Point(5, 0), Point(0, 5.25))),)
QUAD = QuadBox((Point(0, 0), Point(9, 0), Point(9, 3), Point(0, 3)))


@pytest.mark.parametrize(
    "value",
    [
        TextAnswer("naïve, with a\nline"),
        DetectionAnswer((box("cat", 1, 2, 3.5, 4.25),)),
        GroundingAnswer((GroundedPhrase("a cat", (box("a cat", 1, 2, 3, 4),)),)),
        SegmentationAnswer((Region("", OUTLINE),)),
        OcrAnswer((Region("EXIT", QUAD),)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_reply_is_read_as_it_was_kept(tmp_path, value):
    kept = keep(tmp_path, Reply("q", answered(value)))
    assert kept == keep(tmp_path)
    assert kept["q"].value == value


def test_question_of_a_file_whose_name_is_no_utf_8_is_kept(tmp_path):
    name = "caf\udce9.jsonl:1"
    assert keep(tmp_path, Reply(name, answered(TextAnswer("x")))) == keep(tmp_path)
    assert keep(tmp_path).keys() == {name}


def test_reply_outlives_a_process_that_does_not_close(tmp_path):
    replies = Replies(RUN, tmp_path)
    replies.add(text("a"))
    assert keep(tmp_path).keys() == {"a"}
    replies.close()


def test_line_that_a_kill_cut_off_is_dropped_and_written_anew(tmp_path):
    long = Reply("b", answered(TextAnswer("long " * 50)))
    keep(tmp_path, text("a"), long)
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(path.read_bytes()[:-10])
    assert keep(tmp_path).keys() == {"a"}
    # Shorter than what was cut off: nothing of that is left behind it.
    assert keep(tmp_path, text("b"))["b"].value == TextAnswer("says b")
    assert [json.loads(line)["question"] for line in path.read_text().splitlines()] == ["a", "b"]


def test_error_is_written_down_and_asked_again(tmp_path):
    fault = EngineError("broke")
    assert keep(tmp_path, Reply("q", fault)) == {"q": fault}
    line = json.loads((tmp_path / "predictions.jsonl").read_text())
    assert line["error"] == {"reason": "ENGINE_FAILED", "message": "broke"}
    assert keep(tmp_path) == {}
    assert keep(tmp_path, text("q")).keys() == {"q"}


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (RunIdentity("other", "data", GREEDY), "another model"),
        (RunIdentity("model", "other", GREEDY), "another data"),
        (RunIdentity("model", "data", DecodingChoice(num_beams=3)), "another decoding"),
    ],
)
def test_folder_of_another_run_is_refused_by_what_differs(tmp_path, other, named):
    keep(tmp_path, text("a"))
    with pytest.raises(ConfigurationError, match=f"--out: .* {named}"):
        keep(tmp_path, run=other)
    assert keep(tmp_path).keys() == {"a"}


@pytest.mark.parametrize(
    "line", ["no json", "[]", '{"question": "q", "answer": {"texd": {}}}', '{"answer": {}}']
)
def test_line_that_is_no_reply_is_named(tmp_path, line):
    keep(tmp_path, text("a"))
    with (tmp_path / "predictions.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ConfigurationError, match=r"predictions\.jsonl:2: no reply"):
        keep(tmp_path)


def test_run_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"run\.json"):
        keep(tmp_path)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Replies(RUN, None) as replies:
        replies.add(text("a"))
    assert replies.outcomes.keys() == {"a"}
    assert list(tmp_path.iterdir()) == []
