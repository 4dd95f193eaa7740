"""A data set of annotated images as samples: what ``--data DATASET`` reads."""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from arno.dataset import Dataset, ImageRecord
from arno.dataset.folder import MANIFEST
from arno.dataset.questions import questions
from arno.errors import InvalidFieldError
from arno.training.data.checks import check_answer
from arno.training.data.image_files import ImageFile
from arno.training.data.source import Sample, SampleSource, error_at
from arno.vocabulary import CATALOGUE, ExtraInput, Task, check_inputs

_TASKS: Final = tuple(Task)


class AnnotatedImages(SampleSource):
    """The samples of a data set: each record answers one or more questions."""

    def __init__(
        self,
        folder: Path,
        *,
        tasks: Sequence[Task] | None = None,
        regions_max: int | None = None,
    ) -> None:
        """Find the questions.

        Args:
            folder: The data set.
            tasks: Tasks to make samples of; None are those of whole annotations.
            regions_max: Samples of a task that asks about one region, of an image at most; None
                is no limit.

        Raises:
            InvalidFieldError: The data set cannot be read, or answers no question of these tasks.
            MissingExtraError: Its shards are Parquet, and pyarrow is not installed.
        """
        self._dataset = Dataset(folder)
        self._tasks = tasks
        self._records = array("q")
        self._ordinals = array("q")
        self._asked = array("b")
        for number, record in enumerate(self._dataset):
            asked = [one.spec.task for one in questions(record, tasks)]
            for ordinal in _chosen(asked, number, regions_max):
                self._records.append(number)
                self._ordinals.append(ordinal)
                self._asked.append(_TASKS.index(asked[ordinal]))
        if not self._records:
            raise InvalidFieldError(
                field=str(folder), problem="it answers no question of the tasks"
            )
        named = "default" if tasks is None else ",".join(tasks)
        named += "" if regions_max is None else f" {regions_max}"
        self._digest = hashlib.sha256(f"{self._dataset.digest} {named}".encode()).hexdigest()

    @property
    def digest(self) -> str:
        """SHA-256 of the shards and the tasks."""
        return self._digest

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Sample:
        record = self._dataset[self._records[index]]
        return self._sample(record, self._ordinals[index])

    def task(self, index: int) -> Task:
        """Return the task of a sample."""
        return _TASKS[self._asked[index]]

    def _sample(self, record: ImageRecord, ordinal: int) -> Sample:
        asked = list(questions(record, self._tasks))[ordinal]
        spec = asked.spec
        place = f"{self._dataset.folder}: {record.image_id}"
        try:
            check_inputs(
                spec.task,
                text=spec.text,
                classes=spec.classes,
                region=spec.region,
                size=record.size,
            )
            check_answer(spec.task, asked.answer, record.size)
        except InvalidFieldError as error:
            raise error_at(place, error) from error
        image = ImageFile(self._dataset.image_path(record), place, "file")
        name = f"{place}/{spec.task}/{ordinal}"
        return Sample(name, str(image.path), image, record.size, spec, asked.answer)


def _chosen(asked: Sequence[Task], number: int, regions_max: int | None) -> Iterator[int]:
    """Yield the ordinals of the questions that are used, in order.

    Of more questions about single regions than may be, some in a row are taken; the image's number
    says from where on, so that no place in the order of regions is taken more often than others.
    """
    counts = Counter(asked)
    passed: Counter[Task] = Counter()
    for ordinal, task in enumerate(asked):
        place = (passed[task] + number) % counts[task]
        passed[task] += 1
        single = CATALOGUE[task].extra_input is ExtraInput.REGION
        if not single or regions_max is None or place < regions_max:
            yield ordinal


def is_data_set(path: Path) -> bool:
    """Whether a folder holds a data set."""
    return (path / MANIFEST).is_file()
