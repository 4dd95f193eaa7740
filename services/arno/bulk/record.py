"""One kept answer: what a line of an answer folder holds, and how it becomes typed again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict, ParseError

from arno.api.v1 import vision_pb2
from arno.bulk.item import Item, Place
from arno.client.export import error_json, to_json
from arno.errors import ArnoError, InputUnavailableError, InvalidFieldError
from arno.vocabulary.results import InferResult
from arno.vocabulary.wire_results import infer_result


@dataclass(frozen=True, slots=True)
class Record:
    """An image of an answer folder with its answers.

    Attributes:
        key: Names the image in its source.
        result: The outcome of every task.
        fields: What the source said about the image.
        place: Where the bytes of the image were; None for frames of videos.
    """

    key: str
    result: InferResult
    fields: Mapping[str, Any] = field(default_factory=dict)
    place: Place | None = None

    @classmethod
    def of(cls, item: Item, result: InferResult) -> Record:
        """Return the record of an item that has been answered."""
        return cls(item.key, result, item.fields, item.place)

    def line(self) -> str:
        """Return the record as a line of JSON: the `InferResponse` of the API, with the key."""
        document: dict[str, Any] = {"key": self.key}
        if self.place is not None:
            document["file"] = str(self.place.path)
            if self.place.size_bytes is not None:
                document |= {"offset": self.place.offset, "size_bytes": self.place.size_bytes}
        if self.fields:
            document["fields"] = dict(self.fields)
        return _line(document | to_json(self.result.message))

    @classmethod
    def of_line(cls, line: str | bytes, *, where: str) -> Record:
        """Return the record of a line.

        Args:
            line: As `line` wrote it.
            where: Names file and line, for the error.

        Raises:
            InvalidFieldError: The line is no record.
        """
        try:
            document = json.loads(line)
            key = document.pop("key")
            place = _place(document)
            fields = document.pop("fields", {})
            message = ParseDict(document, vision_pb2.InferResponse(), ignore_unknown_fields=True)
            result = infer_result(message)
        except (ValueError, KeyError, TypeError, AttributeError, ParseError) as error:
            problem = f"not a record of an answer folder ({type(error).__name__}: {error})"
            raise InvalidFieldError(field=where, problem=problem) from error
        return cls(str(key), result, fields, place)


def failures_of(result: InferResult) -> Iterator[tuple[str, ArnoError]]:
    """Yield id and error of each task that failed.

    A task that had nothing to follow has not failed: most images have no answer of that kind.
    """
    for outcome in result:
        if outcome.error is not None and not isinstance(outcome.error, InputUnavailableError):
            yield outcome.id, outcome.error


def failure_line(key: str, error: ArnoError, *, task: str = "") -> str:
    """Return the line of an item, or of one task of it, that has no answer."""
    document: dict[str, Any] = {"key": key, "error": error_json(error)}
    if task:
        document["task"] = task
    return _line(document)


def _place(document: dict[str, Any]) -> Place | None:
    file = document.pop("file", None)
    offset, size_bytes = document.pop("offset", 0), document.pop("size_bytes", None)
    return None if file is None else Place(Path(file), offset, size_bytes)


def _line(document: dict[str, Any]) -> str:
    # ASCII: names of files that are no UTF-8 stay what they are, and no line separator splits it.
    return json.dumps(document)
