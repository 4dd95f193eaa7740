"""COCO's JSON as samples: instances for boxes, masks and categories, captions for captions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arno.errors import InvalidFieldError
from arno.training.data.coco_answers import answer_to, crowds_in
from arno.training.data.coco_index import read_coco
from arno.training.data.coco_questions import CAPTION_TASKS, INSTANCE_TASKS, Question, questions
from arno.training.data.image_files import ImageFile
from arno.training.data.source import Sample, SampleSource, error_at
from arno.vocabulary import Task


class CocoFile(SampleSource):
    """The samples of a COCO file. Crowds are never answers: they mark several objects."""

    def __init__(self, path: Path, images: Path, *, tasks: Sequence[Task] | None = None) -> None:
        """Read the file.

        Args:
            path: The JSON.
            images: The folder of the images.
            tasks: Tasks to make samples of; None is OD of instances and CAPTION of captions.

        Raises:
            InvalidFieldError: The file is not in COCO's format, or cannot answer a task.
        """
        self._index = read_coco(path)
        self._images = images
        offered = CAPTION_TASKS if self._index.holds_captions else INSTANCE_TASKS
        default = Task.CAPTION if self._index.holds_captions else Task.OD
        asked = tuple(tasks) if tasks is not None else (default,)
        self._tasks = tuple(task for task in asked if task in offered)
        if not self._tasks:
            held = "captions" if self._index.holds_captions else "instances"
            raise InvalidFieldError(
                field=f"{path}: tasks",
                problem=f"the file holds {held}, which answer none of them",
                limit=", ".join(offered),
                sent=", ".join(asked),
            )
        self._questions = tuple(questions(self._index, self._tasks))
        if not self._questions:
            raise InvalidFieldError(field=str(path), problem="there is nothing to ask about")

    @property
    def digest(self) -> str:
        """SHA-256 of the file and the tasks."""
        return hashlib.sha256(f"{self._index.digest} {self._tasks}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._questions)

    def __getitem__(self, index: int) -> Sample:
        question = self._questions[index]
        if question.image < 0:
            (place,) = question.annotations
            field = f"{self._index.path}: annotations[{place}].image_id"
            sent = str(self._index.annotations[place].get("image_id"))
            raise InvalidFieldError(field=field, problem="no such image", sent=sent)
        return self._sample(question)

    def task(self, index: int) -> Task:
        """Return the task of a sample."""
        return self._questions[index].task

    def _sample(self, question: Question) -> Sample:
        entry = self._index.images[question.image].entry
        place = str(self._index.path)
        field = f"images[{question.image}].file_name"
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            raise InvalidFieldError(field=f"{place}: {field}", problem="missing")
        image = ImageFile(self._images / name, place, field)
        size = image.size()
        said = (entry.get("width", size.width_px), entry.get("height", size.height_px))
        if said != (size.width_px, size.height_px):
            raise InvalidFieldError(
                field=f"{place}: images[{question.image}].width, height",
                problem="the image has another size",
                limit=f"{size.width_px}, {size.height_px}",
                sent=f"{said[0]}, {said[1]}",
            )
        try:
            asked = answer_to(question, self._index, size)
            crowds = crowds_in(question, self._index, size)
        except InvalidFieldError as error:
            raise error_at(place, error) from error
        name_of_sample = f"{place}: {self._name(question)}"
        return Sample(name_of_sample, name, image, size, asked.spec, asked.answer, crowds)

    def _name(self, question: Question) -> str:
        entry: dict[str, Any] = self._index.images[question.image].entry
        ids = "+".join(str(self._index.annotations[p].get("id", p)) for p in question.annotations)
        return f"image {entry.get('id')} {question.task} {ids}".rstrip()
