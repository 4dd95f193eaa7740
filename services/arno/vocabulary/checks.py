"""Check the tasks of a request: ids, options, inputs, and which task follows which.

The gateway adds the limits of its settings on sizes; an engine of this process has none.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from arno.errors import InvalidFieldError
from arno.vocabulary.candidates import check_candidates
from arno.vocabulary.cascade import FAN_OUT_LIMIT
from arno.vocabulary.catalogue import CATALOGUE, AnswerKind, ExtraInput
from arno.vocabulary.inputs import check_inputs, quoted
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.task import Task

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BEAMS_MAX: Final = 8
_NEW_TOKENS_MIN: Final = 2


def check_specs(specs: Sequence[TaskSpec], *, field: str = "tasks") -> tuple[TaskSpec, ...]:
    """Return the tasks, checked in everything but their image, with their ids filled in.

    Args:
        specs: The tasks of one request.
        field: The name of the list in error messages.

    Raises:
        InvalidFieldError: Naming the first field at fault.
    """
    if not specs:
        raise InvalidFieldError(field=field, problem="name at least one task", limit="1 or more")
    earlier: dict[str, Task] = {}
    checked = []
    for index, spec in enumerate(specs):
        with inside(f"{field}[{index}]"):
            task_id = check_id(spec.id or str(index), earlier)
            check_options(spec)
            check_source(spec, earlier)
        earlier[task_id] = spec.task
        checked.append(replace(spec, id=task_id))
    return tuple(checked)


@contextmanager
def inside(prefix: str) -> Iterator[None]:
    """Put the name of the enclosing message before the names of the fields that fail."""
    try:
        yield
    except InvalidFieldError as error:
        raise type(error)(
            field=f"{prefix}.{error.field}",
            problem=error.problem,
            limit=error.metadata.get("limit"),
            sent=error.metadata.get("sent"),
        ) from None


def check_id(task_id: str, earlier: Mapping[str, Task]) -> str:
    """Return the id of a task, which must be an id and not that of an earlier task."""
    if not _ID.fullmatch(task_id):
        raise InvalidFieldError(
            field="id", problem="not an id", limit=_ID.pattern, sent=quoted(task_id)
        )
    if task_id in earlier:
        problem = "another task has this id (the default id is the index)"
        raise InvalidFieldError(field="id", problem=problem, limit="unique", sent=task_id)
    return task_id


def check_options(spec: TaskSpec) -> None:
    """Refuse options of a task that are out of range."""
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


def check_source(spec: TaskSpec, earlier: Mapping[str, Task]) -> None:
    """Check that input and candidates fit the task, and that the input is given or followed."""
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
