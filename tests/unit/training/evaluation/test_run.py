"""A run asks what was not asked yet, and measures everything that was said."""

from __future__ import annotations

import pytest
from arno.errors import ConfigurationError, EngineError, InvalidImageError, UnavailableError
from arno.training.evaluation.answering import JudgedModel
from arno.training.evaluation.run import evaluate
from arno.vocabulary import FinishReason, Task, TextAnswer
from support.judging import GREEDY, ScriptedAnswerer, answered, captions


def run(answerer, asked, folder=None, **options):
    return evaluate(answerer, asked, decoding=GREEDY, nouns={}, folder=folder, **options)


def dies_after(count: int):
    """A script of a server that goes away for good."""
    left = iter(range(count))

    def script(question):
        if next(left, None) is None:
            raise UnavailableError("gone")
        return answered(question.truths[0])

    return script


def test_run_that_broke_off_asks_only_what_is_missing_and_ends_with_the_same_figures(tmp_path):
    def mistaken(question):
        name = question.question_id
        return answered(TextAnswer("wrong" if name == "q3" else f"number {name[1:]}"))

    asked = captions(9)
    whole = run(ScriptedAnswerer(mistaken), asked)
    with pytest.raises(UnavailableError):
        run(ScriptedAnswerer(dies_after(4)), asked, tmp_path)
    # The first four are as they were said; the fifth began and got no answer.
    (tmp_path / "predictions.jsonl").write_text(
        (tmp_path / "predictions.jsonl").read_text().replace("number 3", "wrong")
    )
    second = ScriptedAnswerer(mistaken)
    resumed = run(second, asked, tmp_path)
    assert second.asked == ["q4", "q5", "q6", "q7", "q8"]
    assert (resumed.earlier_count, resumed.asked_count) == (4, 5)
    assert resumed.tasks == whole.tasks
    assert whole.tasks[Task.CAPTION].figures.values["exact"] == pytest.approx(8 / 9)


def test_run_that_is_complete_asks_nothing(tmp_path):
    first = run(ScriptedAnswerer(), captions(3), tmp_path)
    again = ScriptedAnswerer()
    once_more = run(again, captions(3), tmp_path)
    assert once_more.tasks[Task.CAPTION].figures == first.tasks[Task.CAPTION].figures
    assert again.asked == []


def test_question_that_the_model_failed_at_counts_as_nothing_said(tmp_path):
    def script(question):
        return EngineError("broke") if question.question_id == "q1" else answered(TextAnswer("x"))

    result = run(ScriptedAnswerer(script), captions(3))
    assert [one.question.question_id for one in result.failed] == ["q1"]
    assert [one.text for one in result.tasks[Task.CAPTION].cases] == ["x", "", "x"]


def test_question_that_could_not_be_put_is_in_no_figure():
    def script(question):
        if question.question_id == "q1":
            return InvalidImageError(field="image", problem="broken")
        return answered(question.truths[0])

    result = run(ScriptedAnswerer(script), captions(3))
    assert [one.question.question_id for one in result.unasked] == ["q1"]
    assert not result.failed
    assert len(result.tasks[Task.CAPTION].cases) == 2
    assert result.tasks[Task.CAPTION].figures.values["exact"] == 1


def test_ends_are_counted_by_their_reason():
    def script(question):
        cut = question.question_id == "q2"
        reason = FinishReason.LENGTH if cut else FinishReason.STOP
        return answered(question.truths[0], reason)

    assert run(ScriptedAnswerer(script), captions(4)).ends == {"STOP": 3, "LENGTH": 1}


def test_progress_counts_questions_of_the_earlier_run_too(tmp_path):
    with pytest.raises(UnavailableError):
        run(ScriptedAnswerer(dies_after(2)), captions(4), tmp_path)
    told: list[int] = []
    run(ScriptedAnswerer(), captions(4), tmp_path, on_progress=told.append)
    assert told == [2, 3, 4]


def test_folder_of_another_model_is_refused_before_anything_is_asked(tmp_path):
    run(ScriptedAnswerer(), captions(2), tmp_path)
    other = ScriptedAnswerer(model=JudgedModel("other", "0" * 64, "float32", "nowhere"))
    with pytest.raises(ConfigurationError, match="another model"):
        run(other, captions(2), tmp_path)
    assert other.asked == []
