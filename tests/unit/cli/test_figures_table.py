"""People see a line a figure, the main one of each task first."""

from __future__ import annotations

import io

from arno.cli.eval.figures_table import print_figures
from arno.errors import EngineError
from arno.training.evaluation.questions import QuestionSet
from arno.training.evaluation.run import Evaluation, evaluate
from arno.vocabulary import DetectionAnswer, FinishReason, Task, TextAnswer
from rich.console import Console
from support.builders import box
from support.judging import GREEDY, ScriptedAnswerer, answered, captions, question


def printed(evaluation: Evaluation) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_figures(console, evaluation, "[a]/folder/with-a/long-name/photos.jsonl")
    return console.file.getvalue()


def test_main_figure_of_a_task_stands_beside_its_name():
    found = DetectionAnswer((box("cat", 0, 0, 40, 40),))
    asked = QuestionSet((question(Task.OD, found),), "d")
    lines = printed(evaluate(ScriptedAnswerer(), asked, decoding=GREEDY, nouns={})).splitlines()
    assert lines[0].startswith("scripted ffffffffffff float32 on [a]/folder/")
    assert lines[0].endswith("photos.jsonl")
    (main,) = (line for line in lines if " OD " in line)
    assert [word.strip() for word in main.strip("│").split("│")] == ["OD", "1", "mAP@0.5", "1.000"]


def test_footer_tells_what_was_cut_off_and_what_failed():
    def script(asked):
        if asked.question_id == "q1":
            return EngineError("broke")
        return answered(TextAnswer("x"), FinishReason.LENGTH)

    evaluation = evaluate(ScriptedAnswerer(script), captions(3), decoding=GREEDY, nouns={})
    footer = printed(evaluation).splitlines()[-1]
    assert footer.startswith("3 questions in 0 s")
    assert "2 ended by LENGTH" in footer
    assert "1 failed" in footer
