"""Ask every question of the data, keep the replies, and compute the figures."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from arno.errors import ArnoError, InvalidRequestError
from arno.training.evaluation.answering import Answerer, DecodingChoice, JudgedModel
from arno.training.evaluation.cases import Case
from arno.training.evaluation.figures import Nouns, TaskFigures, figures_of
from arno.training.evaluation.questions import Question, QuestionSet
from arno.training.evaluation.replies import Replies, RunIdentity
from arno.vocabulary import Answer, Task


@dataclass(frozen=True, slots=True)
class Judged:
    """A task's cases with its figures."""

    cases: tuple[Case, ...]
    figures: TaskFigures


@dataclass(frozen=True, slots=True)
class Failure:
    """A question without an answer, and the error in its place."""

    question: Question
    error: ArnoError


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of a run.

    Attributes:
        model: The model that answered.
        tasks: Cases and figures by task, in the order of `Task`.
        unasked: Questions that could not be asked, because of an unreadable image or a refusal by
            the server. No figure counts them.
        failed: Questions on which the model failed; they count as empty answers.
        ends: Number of answers by finish reason.
        earlier_count: Number of replies that an earlier run left in the folder.
        asked_count: Number of replies of this run.
        seconds: Time that asking took in this run.
    """

    model: JudgedModel
    tasks: Mapping[Task, Judged]
    unasked: tuple[Failure, ...]
    failed: tuple[Failure, ...]
    ends: Mapping[str, int]
    earlier_count: int
    asked_count: int
    seconds: float


def evaluate(
    answerer: Answerer,
    asked: QuestionSet,
    *,
    decoding: DecodingChoice,
    nouns: Nouns,
    folder: Path | None = None,
    on_progress: Callable[[int], None] = lambda done_count: None,
) -> Evaluation:
    """Ask the questions that have no reply yet, and compute all figures.

    Args:
        answerer: The model that is asked.
        asked: The questions.
        decoding: How the answerer decodes.
        nouns: Names of objects to look for in captions; may be empty.
        folder: Folder for replies, from which a killed run is resumed; None keeps none.
        on_progress: Called after each question with the number of questions done.

    Raises:
        ArnoError: The model no longer answers; replies that came are kept.
        ConfigurationError: The folder holds another run.
    """
    model = answerer.model
    identity = RunIdentity(model.fingerprint, asked.digest, decoding)
    began_s = time.monotonic()
    with Replies(identity, folder) as replies:
        left = [one for one in asked.questions if one.question_id not in replies.outcomes]
        done_count = len(asked.questions) - len(left)
        on_progress(done_count)
        for number, reply in enumerate(answerer.ask(left), start=done_count + 1):
            replies.add(reply)
            on_progress(number)
        outcomes = replies.outcomes
        failures = [
            Failure(question, outcome)
            for question in asked.questions
            if isinstance(outcome := outcomes[question.question_id], ArnoError)
        ]
        return Evaluation(
            model=model,
            tasks=_judge(asked.questions, outcomes, nouns),
            unasked=tuple(one for one in failures if isinstance(one.error, InvalidRequestError)),
            failed=tuple(one for one in failures if not isinstance(one.error, InvalidRequestError)),
            ends=_ends(asked.questions, outcomes),
            earlier_count=done_count,
            asked_count=len(left),
            seconds=time.monotonic() - began_s,
        )


def _judge(
    questions: Sequence[Question], outcomes: Mapping[str, Answer | ArnoError], nouns: Nouns
) -> dict[Task, Judged]:
    by_task: dict[Task, list[Case]] = {}
    for question in questions:
        outcome = outcomes[question.question_id]
        if not isinstance(outcome, InvalidRequestError):
            said = outcome.value if isinstance(outcome, Answer) else None
            by_task.setdefault(question.spec.task, []).append(Case(question, said))
    return {
        task: Judged(tuple(by_task[task]), figures_of(task, by_task[task], nouns))
        for task in Task
        if task in by_task
    }


def _ends(
    questions: Sequence[Question], outcomes: Mapping[str, Answer | ArnoError]
) -> dict[str, int]:
    answers = (outcomes[question.question_id] for question in questions)
    return dict(
        Counter(str(one.finish_reason) for one in answers if isinstance(one, Answer)).most_common()
    )
