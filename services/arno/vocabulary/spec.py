"""Describe one task of a request, as a client asks for it and a worker takes it."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from arno.errors import InvalidFieldError
from arno.vocabulary.regions import Box, Region
from arno.vocabulary.task import Task

_BOX_SIDES: Final = 4

Candidate: TypeAlias = str | tuple[Region, ...]
"""An answer for the model to judge: a text as it would write it, or labelled regions."""

CandidateLike: TypeAlias = str | Sequence[Region]


@dataclass(frozen=True, slots=True, init=False)
class TaskSpec:
    """One task to run on an image. None and empty stand for the server's default or for nothing.

    Its constructor is lenient: a task by its name in any case, a region as four numbers, classes as
    any sequence. The fields hold the strict form.

    Attributes:
        task: What is asked.
        text: The caption, phrase or prompt of a task that takes one.
        region: The box asked about, in pixels of the image as a viewer shows it.
        classes: Names to look for, in place of the text.
        id: Names the task in the answer and in `input_from`; empty: its index.
        input_from: The id of an earlier task of the request whose answer is this one's input.
        fan_out_max: How many regions of that answer are followed, best first, 1..64.
        num_beams: Width of the beam search, 1..8; 1 is greedy and fastest.
        max_new_tokens: Limit on the answer, its end token included.
        constrained: Hold the answer to the form of its task, and its labels to `classes`.
        min_score: Regions whose score is below are left out, and counted, 0..1.
        candidates: Answers that the model is to judge instead of writing one: texts as it would
            write them, or regions of which label and shape count.
    """

    task: Task
    text: str
    region: Box | None
    classes: tuple[str, ...]
    id: str
    input_from: str
    fan_out_max: int | None
    num_beams: int | None
    max_new_tokens: int | None
    constrained: bool
    min_score: float | None
    # Left out of the text, which identifies questions in digests that are older than the field.
    candidates: tuple[Candidate, ...] = field(repr=False)

    def __init__(  # noqa: PLR0913, PLR0917 - one parameter a field, as a dataclass has it
        self,
        task: Task | str,
        text: str = "",
        region: Box | Sequence[float] | None = None,
        classes: Sequence[str] = (),
        id: str = "",
        input_from: str = "",
        fan_out_max: int | None = None,
        num_beams: int | None = None,
        max_new_tokens: int | None = None,
        constrained: bool = False,
        min_score: float | None = None,
        candidates: Sequence[CandidateLike] = (),
    ) -> None:
        """Take what the attributes say.

        Raises:
            InvalidFieldError: The task's name is unknown, the region is not four numbers, or the
                classes or the candidates are one text.
        """
        for name, given, what in (
            ("classes", classes, "names"),
            ("candidates", candidates, "answers"),
        ):
            if isinstance(given, str):
                # Its letters would each be one of them.
                problem = f"must be a list of {what}, not one text"
                raise InvalidFieldError(field=name, problem=problem, sent=given)
        values = {
            "task": task_of(task),
            "text": text,
            "region": _box(region),
            "classes": tuple(classes),
            "id": id,
            "input_from": input_from,
            "fan_out_max": fan_out_max,
            "num_beams": num_beams,
            "max_new_tokens": max_new_tokens,
            "constrained": constrained,
            "min_score": min_score,
            "candidates": tuple(one if isinstance(one, str) else tuple(one) for one in candidates),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


TaskLike: TypeAlias = Task | str | TaskSpec
"""A task, its name, or a spec that says more."""


def spec_of(task: TaskLike) -> TaskSpec:
    """Return the spec of a task in any form.

    Raises:
        InvalidFieldError: No task has the name, or it is none of these forms.
    """
    given: object = task  # callers without a type checker give lists, too
    match given:
        case TaskSpec():
            return given
        case str():
            return TaskSpec(given)
    problem = "each task is an argument of its own"
    limit, sent = "a name, a Task, a TaskRequest", type(task).__name__
    raise InvalidFieldError(field="tasks", problem=problem, limit=limit, sent=sent)


def scoring_spec(task: TaskLike, candidates: Sequence[CandidateLike]) -> TaskSpec:
    """Return the spec that has a task's given answers scored.

    Raises:
        InvalidFieldError: No task has the name, or there is no candidate.
    """
    if not candidates:
        raise InvalidFieldError(field="candidates", problem="there is none", limit="1 or more")
    return replace(spec_of(task), candidates=_strict(candidates))


def task_of(name: Task | str) -> Task:
    """Return the task of a name, whatever its case and separators.

    Raises:
        InvalidFieldError: No task has the name; the message suggests the nearest.
    """
    if isinstance(name, Task):
        return name
    wanted = name.strip().upper().replace("-", "_").replace(" ", "_").strip("<>")
    if wanted in set(Task):
        return Task(wanted)
    close = difflib.get_close_matches(wanted, list(Task), n=1)
    problem = f"unknown task; did you mean {close[0]}?" if close else "unknown task"
    raise InvalidFieldError(field="task", problem=problem, limit=", ".join(Task), sent=name)


def _box(region: Box | Sequence[float] | None) -> Box | None:
    if region is None or isinstance(region, Box):
        return region
    if len(region) != _BOX_SIDES:
        problem = "a region is four numbers: x0, y0, x1, y1"
        raise InvalidFieldError(field="region", problem=problem, sent=str(list(region)))
    x0, y0, x1, y1 = region
    return Box(x0, y0, x1, y1)


def _strict(candidates: Sequence[CandidateLike]) -> tuple[Candidate, ...]:
    return tuple(one if isinstance(one, str) else tuple(one) for one in candidates)
