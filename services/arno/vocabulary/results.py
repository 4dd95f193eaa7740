"""Hold what a request, a frame or a job came to, typed: what clients and `arno.load` return.

Shapes and answers are those of the rest of the package; `wire_results` makes these of messages.
The methods that write other programs' forms, and those that draw, are in `arno.client.exports`:
they are found there by name when they are first called, as nothing here may know a client.
"""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arno.api.v1 import job_pb2, vision_pb2
from arno.errors import ArnoError
from arno.vocabulary.answers import Answer
from arno.vocabulary.job import JobState
from arno.vocabulary.regions import Box, Region
from arno.vocabulary.task import Task

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv
    from PIL import Image

_EXPORTS: Final = "arno.client.exports"


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a task's parts took, in seconds; shared batches count in full for each member."""

    queue_s: float = 0.0
    prepare_s: float = 0.0
    encode_s: float = 0.0
    decode_s: float = 0.0

    @property
    def total_s(self) -> float:
        """All parts together."""
        return self.queue_s + self.prepare_s + self.encode_s + self.decode_s


@dataclass(frozen=True, slots=True)
class ImageDescription:
    """What the server understood of the image; sizes as a viewer shows it."""

    width_px: int
    height_px: int
    mime_type: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """The model that answered."""

    name: str
    fingerprint: str
    dtype: str

    @property
    def version(self) -> str:
        """Its name, and as much of its fingerprint as tells weights apart."""
        return f"{self.name} {self.fingerprint[:12]}"


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The outcome of one task: an answer, or the error that stands in its place.

    Attributes:
        id: The task's id; "ID.n" for the n-th region that it followed.
        task: What was done.
        text: The text that was used, where the task took one.
        region: The box that was used, where the task took one, in pixels.
        outcome: The answer, or why there is none.
        timings: Where the time went; zeros for an error.
    """

    id: str
    task: Task
    text: str
    region: Box | None
    outcome: Answer | ArnoError
    timings: Timings = field(default_factory=Timings)

    @property
    def ok(self) -> bool:
        """Whether there is an answer."""
        return isinstance(self.outcome, Answer)

    @property
    def error(self) -> ArnoError | None:
        """Why there is no answer, or None."""
        return self.outcome if isinstance(self.outcome, ArnoError) else None

    @property
    def answer(self) -> Answer:
        """The answer.

        Raises:
            ArnoError: There is none; this is why.
        """
        if isinstance(self.outcome, ArnoError):
            raise self.outcome
        return self.outcome

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region of the answer, in the model's order.

        Raises:
            ArnoError: There is no answer; this is why.
        """
        return self.answer.regions

    def above(self, score: float) -> tuple[Region, ...]:
        """Return the regions whose score is at least this, in the model's order.

        Regions without a score are not among them.

        Raises:
            ArnoError: There is no answer; this is why.
        """
        return tuple(one for one in self.regions if one.score is not None and one.score >= score)

    @property
    def answer_text(self) -> str:
        """The answer's text; of regions, their labels, one a line.

        Raises:
            ArnoError: There is no answer; this is why.
        """
        value = self.answer.value
        text = getattr(value, "text", None)
        return text if isinstance(text, str) else "\n".join(r.label for r in self.regions)


@dataclass(frozen=True, slots=True)
class InferResult:
    """The outcome of every task on one image.

    Attributes:
        job_id: The job that did the work, for logs and `Client.get`.
        tasks: In the order of the request; followed regions stay together.
        image: What the server understood of the image; None if it never came so far.
        model: The model that answered; None if none did.
        message: The answer as it came, for exports.
        source: The image as the caller gave it, to draw on; None if it is not kept.
    """

    job_id: str
    tasks: tuple[TaskResult, ...]
    image: ImageDescription | None
    model: Model | None
    message: vision_pb2.InferResponse = field(repr=False, compare=False)
    source: Any = field(default=None, repr=False, compare=False)

    def __iter__(self) -> Iterator[TaskResult]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, key: int | str) -> TaskResult:
        """Return a task's result by position, by id, or by task: the first one that fits.

        Raises:
            KeyError: No task of the request has that id or name.
            IndexError: There are fewer tasks.
        """
        if isinstance(key, int):
            try:
                return self.tasks[key]
            except IndexError:
                message = f"no task at position {key} in this result; it has {len(self.tasks)}"
                raise IndexError(message) from None
        for result in self.tasks:
            if result.id == key:
                return result
        for result in self.tasks:
            if result.task == key.upper():
                return result
        asked = ", ".join(f"{result.id} ({result.task})" for result in self.tasks)
        raise KeyError(f"no task {key!r} in this result; there are: {asked}")

    @property
    def ok(self) -> bool:
        """Whether every task has an answer."""
        return all(result.ok for result in self.tasks)

    @property
    def file_name(self) -> str:
        """Name of the image's file, without its folder; empty if it came from no file."""
        return Path(self.source).name if isinstance(self.source, str | PathLike) else ""

    def draw(self, image: Any = None) -> Image.Image:
        """Return the image with every region on it; by default the image that was sent.

        Raises:
            InvalidFieldError: The result holds no image, and none is given.
            InvalidImageError: The image cannot be decoded here.
        """
        picture: Image.Image = _exports().draw_result(self, image)
        return picture

    def to_supervision(
        self, task: int | str | None = None, *, classes: Sequence[str] | None = None
    ) -> sv.Detections:
        """Return the regions of a task, or of all, as `supervision.Detections`.

        With `confidence`, `class_id`, `class_name`, masks of outlines and `xyxyxyxy` of quad boxes.

        Args:
            task: A task by position, id or name; None takes all that have an answer.
            classes: Names of the classes, numbered from 0; other labels have the number -1. None
                numbers the labels of this result.
        """
        detections: sv.Detections = _exports().to_supervision(self, task, classes=classes)
        return detections

    def to_florence_dict(self, task: int | str | None = None) -> dict[str, Any]:
        """Return `{"<OD>": {"bboxes": ..., "labels": ...}}`, as transformers' processor does."""
        document: dict[str, Any] = _exports().to_florence_dict(self, task)
        return document

    def to_coco(self, task: int | str | None = None, **options: Any) -> dict[str, Any]:
        """Return a COCO document of this image; options: `file_name`, `image_id`, `classes`."""
        document: dict[str, Any] = _exports().to_coco(self, task, **options)
        return document

    def to_yolo(
        self, task: int | str | None = None, *, classes: Sequence[str] | None = None
    ) -> tuple[str, list[str]]:
        """Return the text of a YOLO label file, and the names that its numbers stand for."""
        labels: tuple[str, list[str]] = _exports().to_yolo(self, task, classes=classes)
        return labels

    def to_fiftyone(self, task: int | str | None = None, *, filepath: str = "") -> dict[str, Any]:
        """Return a sample of a `FiftyOneDataset` as JSON, a field of labels a task."""
        document: dict[str, Any] = _exports().to_fiftyone(self, task, filepath=filepath)
        return document

    def to_label_studio(self, task: int | str | None = None, **options: Any) -> dict[str, Any]:
        """Return a Label Studio task with a prediction.

        Options: `image_url`, `from_name`, `to_name`.
        """
        document: dict[str, Any] = _exports().to_label_studio(self, task, **options)
        return document

    def to_pandas(self, task: int | str | None = None) -> pd.DataFrame:
        """Return a table: a row a region, and a row for each text."""
        table: pd.DataFrame = _exports().to_pandas(self, task)
        return table

    def _repr_png_(self) -> bytes | None:
        """Show the image with its regions in a notebook."""
        picture: bytes | None = _exports().to_png(self)
        return picture

    def _repr_html_(self) -> str:
        """Show the image with its regions and a table of the answers in a notebook."""
        page: str = _exports().to_html(self)
        return page


@dataclass(frozen=True, slots=True)
class FrameResult:
    """The outcome of one frame: a result, an error, or None where the policy left it out.

    Attributes:
        sequence: The frame's number.
        timestamp_ms: Its time in the video.
        outcome: What became of it.
        message: The answer as it came, for exports.
    """

    sequence: int
    timestamp_ms: int
    outcome: InferResult | ArnoError | None
    message: vision_pb2.InferStreamResponse = field(repr=False, compare=False)

    @property
    def dropped(self) -> bool:
        """Whether the stream's policy left the frame out."""
        return self.outcome is None

    @property
    def result(self) -> InferResult:
        """Every task's outcome.

        Raises:
            ArnoError: The frame failed; this is why.
            LookupError: The policy left the frame out.
        """
        if isinstance(self.outcome, ArnoError):
            raise self.outcome
        if self.outcome is None:
            raise LookupError(f"frame {self.sequence} was left out by the stream's policy")
        return self.outcome


@dataclass(frozen=True, slots=True)
class Job:
    """The state of a job on the server at one moment.

    Attributes:
        id: Names the job.
        state: How it stands.
        submitted_at: When the gateway accepted it, UTC.
        expires_at: When it will be given up, UTC.
        ended_at: When it ended, UTC; None before.
        result: The outcomes so far; complete when the state is SUCCEEDED. None before the first.
        error: Why the job as a whole failed, was cancelled or expired.
        attempt_count: How often a worker has begun it.
        decoded_token_count: Tokens so far over all tasks: a sign of life.
        message: The job as it came, for exports.
    """

    id: str
    state: JobState
    submitted_at: datetime.datetime | None
    expires_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    result: InferResult | None
    error: ArnoError | None
    attempt_count: int
    decoded_token_count: int
    message: job_pb2.Job = field(repr=False, compare=False)

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.state.ended


def _exports() -> Any:
    return importlib.import_module(_EXPORTS)
