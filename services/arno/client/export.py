"""Write answers as JSON lines for other programs, in the API's own JSON.

Each line is one task's outcome: an ``InferResponse`` that holds one result, with the image's name
beside it as ``file``. So ``jq '.results[].answer'`` reads it, and so does protobuf's JSON parser.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from arno.api.v1 import vision_pb2
from arno.errors import ArnoError
from arno.ops.printable import printable
from arno.vocabulary.results import FrameResult, InferResult


def to_json(message: Message) -> dict[str, Any]:
    """Return a message in protobuf's JSON form, for `json.dumps`."""
    document: dict[str, Any] = MessageToDict(message)
    return document


def json_lines(file: str, result: InferResult) -> Iterator[str]:
    """Yield one line of JSON for each task's outcome.

    Args:
        file: The image's name, to tell the lines of several images apart.
        result: What the server answered.
    """
    for outcome in result.message.results:
        single = vision_pb2.InferResponse(
            job_id=result.message.job_id,
            results=[outcome],
            image=result.message.image,
            model=result.message.model,
        )
        yield _line({"file": file, **to_json(single)})


def error_line(file: str, error: ArnoError) -> str:
    """Return the line of an image that got no answer at all."""
    return _line({"file": file, "error": error_json(error)})


def error_json(error: ArnoError) -> dict[str, Any]:
    """Return an error in the JSON form of the API's `Error`."""
    return {
        "code": int(error.code),
        "reason": error.reason,
        "message": error.message,
        "metadata": error.metadata,
        "retryable": error.retryable,
    }


def frame_line(frame: FrameResult, more: Mapping[str, Any] | None = None) -> str:
    """Return the line of one frame: its number, its time in milliseconds, and what became of it.

    Args:
        frame: The frame's outcome.
        more: Names and values to add.
    """
    document: dict[str, Any] = {"sequence": frame.sequence, "timestamp_ms": frame.timestamp_ms}
    if isinstance(frame.outcome, InferResult):
        document |= to_json(frame.outcome.message)
    elif frame.outcome is None:
        document["dropped"] = True
    else:
        document["error"] = error_json(frame.outcome)
    return _line({**document, **(more or {})})


def _line(document: dict[str, Any]) -> str:
    # A terminal may obey control characters that JSON allows.
    return printable(json.dumps(document, ensure_ascii=False))
