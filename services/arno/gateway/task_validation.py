"""Check the tasks of a request or a stream: ids, texts, regions, options, who follows whom."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from arno.api.v1 import types_pb2
from arno.errors import InvalidFieldError, LimitExceededError
from arno.gateway.settings import RequestLimits
from arno.vocabulary import CATALOGUE, AnswerKind, ExtraInput, ImageSize, Task, check_inputs
from arno.vocabulary.spec import TaskSpec
from arno.vocabulary.wire import spec_from_wire

_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_BEAMS_MAX: Final = 8
_NEW_TOKENS_MIN: Final = 2
_FAN_OUT_MAX: Final = 64
_SENT_CHARS_MAX: Final = 80


def parse_tasks(
    messages: Sequence[types_pb2.TaskSpec], *, limits: RequestLimits, field: str = "tasks"
) -> tuple[TaskSpec, ...]:
    """Return the tasks, checked in everything but their image, with their ids filled in.

    Args:
        messages: As the client sent them.
        limits: How many tasks there may be, and how large.
        field: The name of the list in error messages.

    Raises:
        InvalidFieldError: Naming the first field at fault. Not retryable.
        LimitExceededError: The same for sizes. Not retryable.
    """
    allowed = f"1 to {limits.tasks_max}"
    if not messages:
        raise InvalidFieldError(field=field, problem="there is no task", limit=allowed, sent="0")
    if len(messages) > limits.tasks_max:
        sent = str(len(messages))
        raise LimitExceededError(field=field, problem="too many tasks", limit=allowed, sent=sent)
    earlier: dict[str, Task] = {}
    specs = []
    for index, message in enumerate(messages):
        with _inside(f"{field}[{index}]"):
            task_id = _check_id(message.id or str(index), earlier)
            spec = replace(spec_from_wire(message), id=task_id)
            _check_sizes(spec, limits)
            _check_options(spec)
            _check_source(spec, earlier)
        earlier[task_id] = spec.task
        specs.append(spec)
    return tuple(specs)


def check_regions(specs: Sequence[TaskSpec], size: ImageSize, *, field: str = "tasks") -> None:
    """Refuse tasks that ask about a region outside the image.

    Raises:
        InvalidFieldError: Naming the first one. Not retryable.
    """
    for index, spec in enumerate(specs):
        if spec.region is not None:
            with _inside(f"{field}[{index}]"):
                check_inputs(spec.task, region=spec.region, size=size)


@contextmanager
def _inside(prefix: str) -> Iterator[None]:
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


def quoted(text: str) -> str:
    """Return the start of what was sent: enough to recognise it, too little to fill a log."""
    return text if len(text) <= _SENT_CHARS_MAX else f"{text[:_SENT_CHARS_MAX]}..."


def _check_id(task_id: str, earlier: Mapping[str, Task]) -> str:
    if not _ID.fullmatch(task_id):
        raise InvalidFieldError(
            field="id", problem="not an id", limit=_ID.pattern, sent=quoted(task_id)
        )
    if task_id in earlier:
        problem = "another task has this id (the default id is the index)"
        raise InvalidFieldError(field="id", problem=problem, limit="unique", sent=task_id)
    return task_id


def _check_sizes(spec: TaskSpec, limits: RequestLimits) -> None:
    allowed = f"{limits.text_bytes_max} bytes of UTF-8"
    text_bytes = len(spec.text.encode())
    if text_bytes > limits.text_bytes_max:
        sent = f"{text_bytes} bytes"
        raise LimitExceededError(field="text", problem="too long", limit=allowed, sent=sent)
    if len(spec.classes) > limits.classes_max:
        raise LimitExceededError(
            field="classes",
            problem="too many",
            limit=f"{limits.classes_max} classes",
            sent=f"{len(spec.classes)} classes",
        )
    classes_bytes = sum(len(name.encode()) for name in spec.classes)
    if classes_bytes > limits.text_bytes_max:
        sent = f"{classes_bytes} bytes"
        raise LimitExceededError(
            field="classes", problem="too long together", limit=allowed, sent=sent
        )


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


def _check_source(spec: TaskSpec, earlier: Mapping[str, Task]) -> None:
    """Check that the input is either given or followed, and fits the task."""
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
    if not 1 <= fan_out_max <= _FAN_OUT_MAX:
        limit = f"1 to {_FAN_OUT_MAX}"
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
