"""Read one line of Arno's own data format, which docs/training.md describes.

The line is the JSON of the API's `TaskResult` with the image's file and any classes beside it, or a
line of ``arno infer --json``, which holds one `TaskResult`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import ParseDict, ParseError

from arno.api.v1 import types_pb2
from arno.errors import InvalidFieldError
from arno.training.data.checks import check_answer
from arno.training.data.image_files import ImageFile
from arno.training.data.shorthand import spell_out_answer, spell_out_box
from arno.training.data.source import Sample, error_at
from arno.vocabulary import AnswerValue, ImageSize, Task, TaskSpec, check_inputs
from arno.vocabulary.wire import answer_from_wire, box_from_wire

_FORM: Final = frozenset({"file", "task", "text", "classes", "region", "answer"})
# What `arno infer --json` writes beside the result; it says nothing about the question.
_INFER_FORM: Final = frozenset(
    {"file", "results", "image", "model", "jobId", "job_id"},
)
# The part of protobuf's message that names the field.
_PLACE: Final = re.compile(r'at "?TaskResult\.([\w.\[\]]*[\w\]])')
_RESULT: Final = frozenset({"id", "task", "text", "classes", "region", "answer"})


@dataclass(frozen=True, slots=True)
class _Line:
    file: str
    spec: TaskSpec
    answer: AnswerValue


def sample_of_line(line: bytes, path: Path, number: int) -> Sample:
    """Return the sample of a line.

    Args:
        line: Its bytes.
        path: The file it stands in; the image's file is relative to that file's folder.
        number: Of the line in the file, from 1.

    Raises:
        InvalidFieldError: Naming file, line and field.
    """
    place = f"{path}:{number}"
    try:
        read = _read(_document(line))
    except InvalidFieldError as error:
        raise error_at(place, error) from error
    image = ImageFile(path.parent / read.file, place, "file")
    size = image.size()
    try:
        _check(read, size)
    except InvalidFieldError as error:
        raise error_at(place, error) from error
    return Sample(place, str(image.path), image, size, read.spec, read.answer)


def task_of_line(line: bytes) -> Task | None:
    """Return the task that a line is about; None where the line is broken."""
    try:
        return _task(_outcome(_document(line)))
    except InvalidFieldError:
        return None


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError as fault:
        raise InvalidFieldError(field="line", problem=f"not JSON: {fault}") from fault
    if not isinstance(document, dict):
        raise InvalidFieldError(field="line", problem="not an object")
    return document


def _read(document: dict[str, Any]) -> _Line:
    file = document.get("file")
    if not isinstance(file, str) or not file:
        raise InvalidFieldError(field="file", problem="needs the path of the image")
    outcome = _outcome(document)
    task = _task(outcome)
    classes = outcome.get("classes", [])
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise InvalidFieldError(field="classes", problem="needs a list of names")
    message = _message(outcome, task)
    message.answer.finish_reason = types_pb2.FINISH_REASON_STOP
    try:
        answer = answer_from_wire(message.answer).value
    except ValueError as fault:
        raise InvalidFieldError(field="answer", problem=str(fault)) from fault
    region = box_from_wire(message.region) if message.HasField("region") else None
    spec = TaskSpec(task, text=message.text, classes=tuple(classes), region=region)
    return _Line(file, spec, answer)


def _outcome(document: dict[str, Any]) -> dict[str, Any]:
    """Return the part of the line that is a question and its answer."""
    if "results" not in document:
        _refuse_unknown(document, _FORM, "")
        return {name: value for name, value in document.items() if name != "file"}
    _refuse_unknown(document, _INFER_FORM, "")
    results = document["results"]
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        raise InvalidFieldError(field="results", problem="needs exactly one result a line")
    result: dict[str, Any] = results[0]
    if "error" in result:
        raise InvalidFieldError(field="results[0]", problem="it failed, so it has no answer")
    _refuse_unknown(result, _RESULT, "results[0].")
    return result


def _refuse_unknown(document: dict[str, Any], known: frozenset[str], place: str) -> None:
    for name in document:
        if name not in known:
            allowed = ", ".join(sorted(known))
            raise InvalidFieldError(field=f"{place}{name}", problem="unknown", limit=allowed)


def _task(outcome: dict[str, Any]) -> Task:
    name = str(outcome.get("task", "")).removeprefix("TASK_")
    if name not in Task.__members__:
        raise InvalidFieldError(
            field="task", problem="not a task", limit=", ".join(Task), sent=name
        )
    return Task(name)


def _message(outcome: dict[str, Any], task: Task) -> types_pb2.TaskResult:
    if "answer" not in outcome:
        raise InvalidFieldError(field="answer", problem="missing")
    spelt = {
        "task": f"TASK_{task}",
        "text": outcome.get("text", ""),
        "answer": spell_out_answer(outcome["answer"], task),
    }
    if "region" in outcome:
        spelt["region"] = spell_out_box(outcome["region"], "region")
    try:
        return ParseDict(spelt, types_pb2.TaskResult())
    except ParseError as fault:
        found = _PLACE.search(str(fault))
        problem = str(fault).splitlines()[0]
        raise InvalidFieldError(field=found[1] if found else "answer", problem=problem) from fault


def _check(read: _Line, size: ImageSize) -> None:
    spec = read.spec
    check_inputs(spec.task, text=spec.text, classes=spec.classes, region=spec.region, size=size)
    check_answer(spec.task, read.answer, size)
