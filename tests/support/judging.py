"""What tests of an evaluation need: questions without files, and somebody who answers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from arno.errors import ArnoError
from arno.training.evaluation.answering import DecodingChoice, JudgedModel, Reply
from arno.training.evaluation.cases import Case
from arno.training.evaluation.questions import Question, QuestionSet
from arno.vocabulary import (
    Answer,
    AnswerValue,
    FinishReason,
    ImageSize,
    Task,
    TaskSpec,
    TextAnswer,
)
from PIL import Image

SIZE = ImageSize(100, 80)
GREEDY = DecodingChoice(num_beams=1)
MODEL = JudgedModel("scripted", "f" * 64, "float32", "nowhere")


def question(
    task: Task, *truths: AnswerValue, name: str = "q", image: str = "i", **asked: object
) -> Question:
    """A question about a picture of one colour."""
    size = (SIZE.width_px, SIZE.height_px)
    spec = TaskSpec(task, **asked)  # type: ignore[arg-type]
    return Question(name, image, lambda: Image.new("RGB", size, "olive"), SIZE, spec, truths)


def captions(count: int) -> QuestionSet:
    """Questions of two to an image, each answered by its own number."""
    return QuestionSet(
        tuple(
            question(Task.CAPTION, TextAnswer(f"number {n}"), name=f"q{n}", image=f"i{n // 2}")
            for n in range(count)
        ),
        digest="d",
    )


def case(task: Task, said: AnswerValue | None, *truths: AnswerValue, **asked: object) -> Case:
    """A question with what a model said to it."""
    return Case(question(task, *truths, **asked), said)  # type: ignore[arg-type]


def answered(value: AnswerValue, reason: FinishReason = FinishReason.STOP) -> Answer:
    """An answer as an engine gives it."""
    return Answer(value, 0.5, reason, "raw", 7)


class ScriptedAnswerer:
    """Says the truth, unless the script says something else; remembers what it was asked."""

    def __init__(
        self,
        script: Callable[[Question], Answer | ArnoError] | None = None,
        model: JudgedModel = MODEL,
    ) -> None:
        """Take what to say to a question."""
        self._script = script or (lambda asked: answered(asked.truths[0]))
        self.model = model
        self.asked: list[str] = []

    def ask(self, questions: Sequence[Question]) -> Iterator[Reply]:
        """Answer in turn; a script that raises ends it, as a server that goes away does."""
        for one in questions:
            self.asked.append(one.question_id)
            yield Reply(one.question_id, self._script(one))
