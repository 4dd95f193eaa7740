"""Arno's own data format: one JSON document per line, read on demand."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Collection
from pathlib import Path

from arno.errors import InvalidFieldError
from arno.training.data.jsonl_line import sample_of_line, task_of_line
from arno.training.data.source import Sample, SampleSource
from arno.vocabulary import Task


class JsonLines(SampleSource):
    """The samples of a JSONL file; blank lines are skipped."""

    def __init__(self, path: Path, *, tasks: Collection[Task] | None = None) -> None:
        """Find the lines.

        Args:
            path: The file.
            tasks: Tasks whose lines are used; None uses all. Broken lines are kept, and raise
                when they are read.

        Raises:
            InvalidFieldError: The file cannot be read, or has no line of these tasks.
        """
        self._path = path
        self._offsets = array("q")
        self._numbers = array("q")
        digest = hashlib.sha256(",".join(sorted(tasks or ())).encode())
        offset = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    digest.update(line)
                    if line.strip() and (tasks is None or _taken(line, tasks)):
                        self._offsets.append(offset)
                        self._numbers.append(number)
                    offset += len(line)
        except OSError as fault:
            problem = f"cannot be read: {fault.strerror or fault}"
            raise InvalidFieldError(field=str(path), problem=problem) from fault
        if not self._offsets:
            raise InvalidFieldError(field=str(path), problem="no line of it can be used")
        self._digest = digest.hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of the file and the tasks."""
        return self._digest

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Sample:
        with self._path.open("rb") as file:
            file.seek(self._offsets[index])
            line = file.readline()
        return sample_of_line(line, self._path, self._numbers[index])


def _taken(line: bytes, tasks: Collection[Task]) -> bool:
    task = task_of_line(line)
    return task is None or task in tasks
