"""The flags by which verbs that ask a gateway name it and say what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from arno.cli.connecting import connection_options
from arno.cli.finite_range import FiniteRange
from arno.client import DEFAULT_ADDRESS, TaskRequest
from arno.errors import InvalidFieldError
from arno.vocabulary import CATALOGUE, Box, ExtraInput, Task, check_inputs
from arno.vocabulary.spec import task_of

Command = TypeVar("Command", bound=Callable[..., Any])

_TEXT: Final = frozenset({ExtraInput.TEXT, ExtraInput.TEXT_OR_CLASSES, ExtraInput.PROMPT})
_BOX_SIDES: Final = 4


@dataclass(frozen=True, slots=True)
class TaskFlags:
    """What the command line says about the tasks.

    Attributes:
        tasks: Names; NAME@OTHER takes its input from the answer of an earlier task.
        text: For every task that takes text.
        region: "x0,y0,x1,y1" for every task that takes a region.
        classes: "a,b" for every task that takes classes, in place of the text.
        beams: Width of the beam search; None is the server's default.
        max_tokens: Limit on each answer; None is the server's default.
        constrained: Whether every answer is held to its task's form and to the classes.
    """

    tasks: tuple[str, ...]
    text: str = ""
    region: str = ""
    classes: str = ""
    beams: int | None = None
    max_tokens: int | None = None
    constrained: bool = False

    def requests(self) -> list[TaskRequest]:
        """Return the tasks, each with the inputs that it takes.

        Raises:
            InvalidFieldError: A name is unknown, an input is missing, or no task takes it.
        """
        made: list[TaskRequest] = []
        ids: dict[Task, str] = {}
        for position, written in enumerate(self.tasks or ("OD",)):
            name, _, source = written.partition("@")
            task = task_of(name)
            task_id = task.lower() if task not in ids else f"{task.lower()}-{position}"
            made.append(self._request(task, task_id, self._source(source, ids)))
            ids[task] = task_id
        self._refuse_unused(made)
        return made

    def _request(self, task: Task, task_id: str, input_from: str) -> TaskRequest:
        extra = CATALOGUE[task].extra_input
        takes = not input_from
        classes = _classes(self.classes) if extra is ExtraInput.TEXT_OR_CLASSES and takes else ()
        request = TaskRequest(
            task,
            id=task_id,
            text=self.text if extra in _TEXT and takes and not classes else "",
            region=_region(self.region) if extra is ExtraInput.REGION and takes else None,
            classes=classes,
            input_from=input_from,
            num_beams=self.beams,
            max_new_tokens=self.max_tokens,
            constrained=self.constrained,
        )
        if takes:
            check_inputs(task, text=request.text, classes=request.classes, region=request.region)
        return request

    def _source(self, written: str, ids: dict[Task, str]) -> str:
        if not written:
            return ""
        task = task_of(written)
        if task not in ids:
            problem = f"@{task}: no earlier --task {task} to take the input from"
            raise InvalidFieldError(field="task", problem=problem)
        return ids[task]

    def _refuse_unused(self, made: list[TaskRequest]) -> None:
        named = ", ".join(str(request.task) for request in made)
        for flag, value, used in (
            ("--text", self.text, any(request.text for request in made)),
            ("--region", self.region, any(request.region for request in made)),
            ("--classes", self.classes, any(request.classes for request in made)),
        ):
            if value and not used:
                problem = f"none of the tasks takes it: {named}"
                raise InvalidFieldError(field=flag, problem=problem, sent=value)


def address_options(command: Command) -> Command:
    """Add what `connection_options` adds, and --timeout."""
    command = click.option(
        "--timeout",
        "timeout_s",
        type=FiniteRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        metavar="S",
        help="How long to wait for an answer, in seconds.",
    )(command)
    return connection_options(default=DEFAULT_ADDRESS)(command)


def task_options(command: Command) -> Command:
    """Add --task and what tasks take; the command gets them as the fields of `TaskFlags`."""
    names = ", ".join(Task)
    for option in (
        click.option(
            "--constrained",
            is_flag=True,
            help="Hold answers to the form of their task, and labels to --classes.",
        ),
        click.option("--max-tokens", type=click.IntRange(2), metavar="N", help="Longest answer."),
        click.option(
            "--beams",
            type=click.IntRange(1, 8),
            metavar="N",
            help="Width of the beam search; 1 is greedy and fastest.  [default: the server's, 3]",
        ),
        click.option("--classes", default="", metavar="A,B", help="Names to look for."),
        click.option(
            "--region",
            default="",
            metavar="X0,Y0,X1,Y1",
            help="The box that REGION_TO_* tasks ask about, in pixels.",
        ),
        click.option("--text", default="", help="The caption, phrase or prompt of tasks with one."),
        click.option(
            "--task",
            "tasks",
            multiple=True,
            metavar="NAME",
            help="What to do; may be repeated, the image is encoded once. NAME@OTHER takes its "
            f"input from an earlier task's answer.  [default: OD]  One of: {names}.",
        ),
    ):
        command = option(command)
    return command


def _region(written: str) -> Box | None:
    if not written:
        return None
    try:
        sides = [float(part) for part in written.split(",")]
    except ValueError:
        sides = []
    if len(sides) != _BOX_SIDES:
        problem = "must be four numbers with commas between"
        raise InvalidFieldError(
            field="--region", problem=problem, limit="x0,y0,x1,y1", sent=written
        )
    return Box(*sides)


def _classes(written: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in written.split(",") if part.strip())
