"""Check the tasks of a request: ids, options, inputs, and which task follows which.

The gateway reads the tasks from the wire and adds the limits of its settings on sizes; an engine of
this process has none.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, TypeVar

from arno.errors import InvalidFieldError, LimitExceededError
from arno.vocabulary.candidates import check_candidates
from arno.vocabulary.cascade import FAN_OUT_LIMIT
from arno.vocabulary.catalogue import CATALOGUE, AnswerKind, ExtraInput
from arno.vocabulary.inputs import check_inputs, quoted
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.task import Task

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BEAMS_MAX: Final = 8
_NEW_TOKENS_MIN: Final = 2

ItemT = TypeVar("ItemT")


def check_specs(specs: Sequence[TaskSpec], *, field: str = "tasks") -> tuple[TaskSpec, ...]:
    """Return the tasks, checked in everything but their image, with their ids filled in.

    Args:
        specs: The tasks of one request.
        field: The name of the list in error messages.

    Raises:
        InvalidFieldError: Naming the first field at fault.
    """
    return read_specs(specs, lambda spec: spec, field=field)


def read_specs(
    items: Sequence[ItemT],
    read: Callable[[ItemT], TaskSpec],
    *,
    count_max: int | None = None,
    field: str = "tasks",
) -> tuple[TaskSpec, ...]:
    """Read the tasks of a request from another form, and check them as `check_specs` does.

    Args:
        items: The tasks as they were sent.
        read: Returns the task of an item, or raises InvalidFieldError naming a field of it.
        count_max: How many tasks a request may have; None for any number.
        field: The name of the list in error messages.

    Raises:
        InvalidFieldError: Naming the first field at fault.
        LimitExceededError: There are too many tasks.
    """
    limit = f"1 to {count_max}" if count_max is not None else "1 or more"
    if not items:
        raise InvalidFieldError(
            field=field, problem="name at least one task", limit=limit, sent="0"
        )
    if count_max is not None and len(items) > count_max:
        sent = str(len(items))
        raise LimitExceededError(field=field, problem="too many tasks", limit=limit, sent=sent)
    earlier: dict[str, Task] = {}
    specs = []
    for index, item in enumerate(items):
        with inside(f"{field}[{index}]"):
            spec = read(item)
            spec = replace(spec, id=_checked_id(spec.id or str(index), earlier))
            _check_options(spec)
            _check_source(spec, earlier)
        earlier[spec.id] = spec.task
        specs.append(spec)
    return tuple(specs)


@contextmanager
def inside(prefix: str) -> Iterator[None]:
    """Put the name of the enclosing message before the names of the fields that fail."""
    try:
        yield
    except InvalidFieldError as error:
        raise error.renamed(f"{prefix}.{error.field}") from None


def _checked_id(task_id: str, earlier: Mapping[str, Task]) -> str:
    if not _ID.fullmatch(task_id):
        raise InvalidFieldError(
            field="id", problem="not an id", limit=_ID.pattern, sent=quoted(task_id)
        )
    if task_id in earlier:
        problem = "another task has this id (the default id is the index)"
        raise InvalidFieldError(field="id", problem=problem, limit="unique", sent=task_id)
    return task_id


def _check_options(spec: TaskSpec) -> None:
    if spec.num_beams is not None and not 1 <= spec.num_beams <= _BEAMS_MAX:
        raise InvalidFieldError(
            field="options.num_beams",
            problem="out of range",
            limit=f"1 to {_BEAMS_MAX}",
            sent=str(spec.num_beams),
        )
    if spec.max_new_tokens is not None and spec.max_new_tokens < _NEW_TOKENS_MIN:
        raise InvalidFieldError(
            field="options.max_new_tokens",
            problem="out of range",
            limit=f"at least {_NEW_TOKENS_MIN}",
            sent=str(spec.max_new_tokens),
        )
    # Written so that NaN is refused too.
    if spec.min_score is not None and not 0.0 <= spec.min_score <= 1.0:
        raise InvalidFieldError(
            field="min_score", problem="out of range", limit="0 to 1", sent=str(spec.min_score)
        )


def _check_source(spec: TaskSpec, earlier: Mapping[str, Task]) -> None:
    check_candidates(spec)
    if spec.fan_out_max is not None:
        _check_fan_out(spec, spec.fan_out_max)
    if spec.input_from:
        _check_followed(spec, earlier)
        return
    check_inputs(spec.task, text=spec.text, classes=spec.classes, region=spec.region)


def _check_fan_out(spec: TaskSpec, fan_out_max: int) -> None:
    sent = str(fan_out_max)
    if not spec.input_from:
        problem = "only with input_from"
        raise InvalidFieldError(field="fan_out_max", problem=problem, limit="absent", sent=sent)
    if not 1 <= fan_out_max <= FAN_OUT_LIMIT:
        limit = f"1 to {FAN_OUT_LIMIT}"
        raise InvalidFieldError(field="fan_out_max", problem="out of range", limit=limit, sent=sent)


def _check_followed(spec: TaskSpec, earlier: Mapping[str, Task]) -> None:
    given = {"text": spec.text, "classes": spec.classes, "region": spec.region}
    for field, value in given.items():
        if value:
            problem = "must be empty where input_from is set"
            raise InvalidFieldError(field=field, problem=problem, limit="empty")
    followed = earlier.get(spec.input_from)
    if followed is None:
        raise InvalidFieldError(
            field="input_from",
            problem="names no earlier task of this request",
            limit=", ".join(earlier) or "none",
            sent=quoted(spec.input_from),
        )
    if not _feeds(followed, spec.task):
        wanted = CATALOGUE[spec.task].extra_input
        raise InvalidFieldError(
            field="input_from",
            problem=f"{spec.task} takes {_INPUT_WORDS[wanted]}, and {followed} answers otherwise",
            sent=quoted(spec.input_from),
        )


_INPUT_WORDS: Final[Mapping[ExtraInput, str]] = {
    ExtraInput.NONE: "no input",
    ExtraInput.TEXT: "a text",
    ExtraInput.TEXT_OR_CLASSES: "a text",
    ExtraInput.PROMPT: "a text",
    ExtraInput.REGION: "regions",
}


def _feeds(followed: Task, follower: Task) -> bool:
    """Say whether answers of one task can be the input of another."""
    wanted = CATALOGUE[follower].extra_input
    if wanted is ExtraInput.NONE:
        return False
    answers_text = CATALOGUE[followed].answer_kind is AnswerKind.TEXT
    if wanted is ExtraInput.REGION:
        # The answers to REGION_TO_* hold the region asked about, those to PROMPT may hold some.
        asks_region = CATALOGUE[followed].extra_input in {ExtraInput.REGION, ExtraInput.PROMPT}
        return not answers_text or asks_region
    return answers_text
