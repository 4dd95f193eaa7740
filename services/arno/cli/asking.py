"""The flags that describe tasks, and those of every verb that calls a gateway."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from arno.cli.connecting import SECTION, connection_options
from arno.cli.parameter_types import FiniteRange
from arno.client import DEFAULT_ADDRESS, TaskRequest
from arno.errors import InvalidFieldError
from arno.ops.help_sections import InSection
from arno.vocabulary import CATALOGUE, Box, ExtraInput, Task, check_inputs
from arno.vocabulary.candidates import check_candidates
from arno.vocabulary.spec import task_of

Command = TypeVar("Command", bound=Callable[..., Any])

_TEXT: Final = frozenset({ExtraInput.TEXT, ExtraInput.TEXT_OR_CLASSES, ExtraInput.PROMPT})
_BOX_SIDES: Final = 4
_FLAG_OF_FIELD: Final = {
    "task": "--task",
    "text": "--text",
    "region": "--region",
    "classes": "--classes",
    "candidates": "--candidate",
}


@dataclass(frozen=True, slots=True)
class TaskFlags:
    """The flags that describe tasks, as they were written.

    Attributes:
        tasks: Names; NAME@OTHER takes its input from the answer of an earlier task.
        text: Text of every task that takes text.
        region: "x0,y0,x1,y1" of every task that takes a region, in pixels.
        classes: "a,b" of every task that takes classes, in place of the text.
        beams: Width of the beam search; None uses the server's default.
        max_tokens: Longest answer in tokens; None uses the server's default.
        constrained: Whether answers are restricted to the grammar of their task and the classes.
        min_score: Regions whose score is below are left out; None leaves none out.
        candidates: Answers to score instead of writing one; for a single task.
    """

    tasks: tuple[str, ...]
    text: str = ""
    region: str = ""
    classes: str = ""
    beams: int | None = None
    max_tokens: int | None = None
    constrained: bool = False
    min_score: float | None = None
    candidates: tuple[str, ...] = ()

    def requests(self) -> list[TaskRequest]:
        """Return the tasks, each with the inputs that it takes.

        Raises:
            InvalidFieldError: A name is unknown, an input is missing, or no task takes an input.
        """
        with _named_by_flags():
            made = self._made()
        self._refuse_unused(made)
        if self.candidates and len(made) > 1:
            problem = "candidates are answers to one task"
            raise InvalidFieldError(
                field="--candidate", problem=problem, limit="one --task", sent=f"{len(made)} tasks"
            )
        return made

    def _made(self) -> list[TaskRequest]:
        made: list[TaskRequest] = []
        ids: dict[Task, str] = {}
        for position, written in enumerate(self.tasks or ("OD",)):
            name, _, source = written.partition("@")
            task = task_of(name)
            task_id = task.lower() if task not in ids else f"{task.lower()}-{position}"
            made.append(self._request(task, task_id, self._source(source, ids)))
            ids[task] = task_id
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
            min_score=self.min_score,
            candidates=self.candidates,
        )
        check_candidates(request)
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


@contextlib.contextmanager
def _named_by_flags() -> Iterator[None]:
    """Name the flag in errors of the vocabulary, which name the field of a request."""
    try:
        yield
    except InvalidFieldError as error:
        flag = _FLAG_OF_FIELD.get(error.field)
        if flag is None:
            raise
        raise error.renamed(flag) from error


def address_options(command: Command) -> Command:
    """Add the flags of `connection_options`, and --timeout."""
    command = click.option(
        "--timeout",
        "timeout_s",
        cls=InSection,
        section=SECTION,
        type=FiniteRange(min=0, min_open=True),
        default=60.0,
        show_default=True,
        metavar="S",
        help="Time limit of a call, in seconds.",
    )(command)
    return connection_options(default=DEFAULT_ADDRESS)(command)


def task_options(command: Command) -> Command:
    """Add --task and the inputs of tasks; the command gets them as the fields of `TaskFlags`."""
    names = ", ".join(Task)
    task_option = partial(click.option, cls=InSection, section="Tasks")
    for option in (
        task_option(
            "--constrained",
            is_flag=True,
            help="Restrict answers to the grammar of their task, and labels to --classes.",
        ),
        task_option(
            "--min-score",
            type=FiniteRange(min=0, max=1),
            metavar="S",
            help="Leave out regions whose score is below, 0 to 1.  [default: none]",
        ),
        task_option(
            "--max-tokens", type=click.IntRange(2), metavar="N", help="Longest answer, in tokens."
        ),
        task_option(
            "--beams",
            type=click.IntRange(1, 8),
            metavar="N",
            help="Width of the beam search; 1 is greedy and fastest.  [default: the server's, 3]",
        ),
        task_option(
            "--candidate",
            "candidates",
            multiple=True,
            metavar="ANSWER",
            help="Answer that the model is to score, instead of writing one; may be repeated.",
        ),
        task_option("--classes", default="", metavar="A,B", help="Class names to detect."),
        task_option(
            "--region",
            default="",
            metavar="X0,Y0,X1,Y1",
            help="Box for the REGION_TO_* tasks, in pixels.",
        ),
        task_option(
            "--text", default="", help="Caption, phrase or prompt for the tasks that take one."
        ),
        task_option(
            "--task",
            "tasks",
            multiple=True,
            metavar="NAME",
            shell_complete=complete_task,
            help="Task to run; may be repeated, the image is encoded once. NAME@OTHER takes its "
            f"input from the answer of an earlier task.  [default: OD]  One of: {names}.",
        ),
    ):
        command = option(command)
    return command


def many_images_options(command: Command) -> Command:
    """Add the flags of the verbs that ask a gateway, or a model of their own, about many images."""
    for option in (
        click.option(
            "--failures-max",
            type=click.IntRange(0),
            metavar="N",
            help="Stop once more than N have failed.",
        ),
        click.option(
            "--model",
            metavar="NAME",
            help="Answer in this process, without a gateway: tiny, a folder, or a hub id; needs "
            "the extra `worker`.",
        ),
        click.option(
            "--fps",
            type=FiniteRange(min=0, min_open=True),
            metavar="N",
            help="Of a video: frames a second.  [default: all]",
        ),
        click.option(
            "--in-flight",
            type=click.IntRange(1, 1024),
            default=32,
            show_default=True,
            metavar="N",
            help="Jobs of the gateway open at once, each with its image in memory.",
        ),
    ):
        command = option(command)
    return command


def complete_task(
    context: click.Context, parameter: click.Parameter, written: str
) -> list[CompletionItem]:
    """Return the names of tasks that a shell may complete a word to, also behind an @."""
    before, at, begun = written.rpartition("@")
    return [
        CompletionItem(f"{before}{at}{task}") for task in Task if task.startswith(begun.upper())
    ]


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
