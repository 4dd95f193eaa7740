"""Read what a request asks for: JSON, or a form with a file. Both become the API's own message.

JSON is that of protobuf (`InferRequest`, `SubmitJobRequest`), with short forms for what is written
often: a task by its name, a region as four numbers, the image as base64 or a data URL.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from google.protobuf.json_format import ParseDict, ParseError
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.errors import InvalidFieldError
from arno.vocabulary import Lane
from arno.vocabulary.checks import inside
from arno.vocabulary.inputs import quoted
from arno.vocabulary.spec import TaskSpec, task_of
from arno.vocabulary.wire import lane_from_wire, spec_from_wire
from arno.web.settings import WebSettings

_FORM: Final = "multipart/form-data"
_FORM_FIELDS: Final = ("image", "task", "lane", "idempotency_key", "time_to_live")
_FORM_PARTS_MAX: Final = 128
"""More than the 64 tasks that a request may have."""

_BOX_SIDES: Final = ("x0", "y0", "x1", "y1")


Question: TypeAlias = vision_pb2.InferRequest | job_pb2.SubmitJobRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """What one request asks for, as the client's methods take it.

    Attributes:
        image: The image file; the gateway judges it.
        tasks: At least one, unless the gateway is to refuse it.
        lane: None is the server's default.
        idempotency_key: Empty for none.
        time_to_live_s: Of a job; None is the server's default.
    """

    image: bytes
    tasks: tuple[TaskSpec, ...]
    lane: str | None = None
    idempotency_key: str = ""
    time_to_live_s: float | None = None


async def read_asked(request: Request, message: Question) -> Asked:
    """Return what a request asks for.

    Args:
        request: Its body is read here.
        message: An empty `InferRequest` or `SubmitJobRequest`: which fields there may be.

    Raises:
        InvalidFieldError: A field is unknown, missing or of another kind.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == _FORM:
        document, image = await _read_form(request)
    elif media_type == "application/json":
        document = await read_json(request)
        image = _take_image(document)
    else:
        raise InvalidFieldError(
            field="content-type",
            problem="not read here",
            limit=f"application/json, {_FORM}",
            sent=quoted(media_type),
        )
    return _asked(image, document, message)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the body of a request, which must be a JSON object.

    Raises:
        InvalidFieldError: It is not.
    """
    try:
        document = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InvalidFieldError(field="body", problem=f"not JSON: {error}") from error
    if not isinstance(document, dict):
        sent = type(document).__name__
        raise InvalidFieldError(field="body", problem="must be a JSON object", sent=sent)
    return document


def task_from_json(field: str, document: dict[str, Any]) -> TaskSpec:
    """Return the task of a JSON object, short forms allowed; `field` names it in errors.

    Raises:
        InvalidFieldError: A field is unknown or of another kind.
    """
    message = types_pb2.TaskSpec()
    try:
        ParseDict(_full_fields(field, document), message)
    except (ParseError, RecursionError) as error:
        raise InvalidFieldError(field=field, problem=str(error)) from error
    return _spec(field, message)


def timeout_of(request: Request, settings: WebSettings) -> float:
    """Return the time limit of a request in seconds: `?timeout_s=` of its address, or the default.

    Raises:
        InvalidFieldError: It is no number above 0, or above the limit.
    """
    given = request.query_params.get("timeout_s")
    if given is None:
        return settings.web_timeout_s
    try:
        timeout_s = float(given)
    except ValueError:
        timeout_s = 0.0
    if not 0 < timeout_s <= settings.web_timeout_s_max:
        limit = f"above 0, to {settings.web_timeout_s_max:g} (web_timeout_s_max)"
        raise InvalidFieldError(
            field="timeout_s", problem="not a time limit", limit=limit, sent=quoted(given)
        )
    return timeout_s


def decode_image(field: str, text: object) -> bytes:
    """Return the file behind base64 or a data URL.

    Raises:
        InvalidFieldError: It is neither. An address is never fetched.
    """
    if not isinstance(text, str):
        sent = type(text).__name__
        raise InvalidFieldError(field=field, problem="must be base64", sent=sent)
    if text.startswith(("http:", "https:", "file:")):
        problem = "addresses are not fetched; send the file as base64 or as a data URL"
        raise InvalidFieldError(field=field, problem=problem, sent=quoted(text))
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            problem = "a data URL must be in base64"
            raise InvalidFieldError(field=field, problem=problem, sent=quoted(head))
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidFieldError(field=field, problem=f"not base64 ({error})") from error


async def _read_form(request: Request) -> tuple[dict[str, Any], bytes]:
    image: bytes | None = None
    document: dict[str, Any] = {"tasks": []}
    async with _form_of(request) as form:
        for name, value in form.multi_items():
            if isinstance(value, UploadFile) and name == "image":
                image = await value.read()
            elif isinstance(value, UploadFile) or name == "image":
                problem = "the one file of a form is its image"
                raise InvalidFieldError(field=name, problem=problem, limit="image, sent as a file")
            elif name == "task":
                document["tasks"].append(_task_of_form(value))
            elif name in _FORM_FIELDS:
                document[name] = value
            else:
                limit = ", ".join(_FORM_FIELDS)
                raise InvalidFieldError(field=name, problem="no field of this form", limit=limit)
    if image is None:
        raise InvalidFieldError(field="image", problem="the form has no file of this name")
    return document, image


@asynccontextmanager
async def _form_of(request: Request) -> AsyncIterator[FormData]:
    """Read a form; its file is closed with the block.

    Raises:
        InvalidFieldError: It is cut, or has too many parts, or too large ones.
    """
    try:
        form = await request.form(max_files=1, max_fields=_FORM_PARTS_MAX)
    except HTTPException as error:
        problem = f"not a form that can be read: {error.detail}"
        raise InvalidFieldError(field="body", problem=problem) from error
    try:
        yield form
    finally:
        await form.close()


def _task_of_form(text: str) -> object:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidFieldError(field="task", problem=f"not JSON: {error}") from error


def _take_image(document: dict[str, Any]) -> bytes:
    """Remove the image from a document, and return its file."""
    image = document.pop("image", None)
    if image is None:
        raise InvalidFieldError(field="image", problem="there is no image", limit="base64")
    if isinstance(image, dict):
        return decode_image("image.content", image.get("content"))
    return decode_image("image", image)


def _asked(image: bytes, document: dict[str, Any], message: Question) -> Asked:
    tasks = document.get("tasks")
    if isinstance(tasks, list):
        document["tasks"] = [_in_full(f"tasks[{n}]", task) for n, task in enumerate(tasks)]
    lane = document.get("lane")
    if isinstance(lane, str) and lane.upper() in Lane.__members__:
        document["lane"] = f"LANE_{lane.upper()}"
    try:
        ParseDict(document, message)
    except (ParseError, RecursionError) as error:
        raise InvalidFieldError(field="body", problem=str(error)) from error
    named = message.lane != types_pb2.LANE_UNSPECIFIED
    asked = Asked(
        image,
        tuple(_spec(f"tasks[{n}]", one) for n, one in enumerate(message.tasks)),
        lane=lane_from_wire(message.lane, default=Lane.BATCH) if named else None,
        idempotency_key=message.idempotency_key,
    )
    if isinstance(message, job_pb2.SubmitJobRequest) and message.HasField("time_to_live"):
        seconds = message.time_to_live.ToNanoseconds() / 1e9
        return replace(asked, time_to_live_s=seconds)
    return asked


def _spec(field: str, message: types_pb2.TaskSpec) -> TaskSpec:
    with inside(field):
        return spec_from_wire(message)


def _in_full(field: str, task: object) -> object:
    """Return a task of a list without the short forms; what is no task is left to the parser."""
    if isinstance(task, str):
        return _full_fields(field, {"task": task})
    return _full_fields(field, task) if isinstance(task, dict) else task


def _full_fields(field: str, task: dict[str, Any]) -> dict[str, Any]:
    full = dict(task)
    name, region = full.get("task"), full.get("region")
    if isinstance(name, str):
        with inside(field):
            full["task"] = f"TASK_{task_of(name.removeprefix('TASK_'))}"
    if isinstance(region, list):
        if len(region) != len(_BOX_SIDES):
            problem = "a region is four numbers: x0, y0, x1, y1"
            raise InvalidFieldError(
                field=f"{field}.region", problem=problem, sent=quoted(str(region))
            )
        full["region"] = dict(zip(_BOX_SIDES, region, strict=True))
    return full
