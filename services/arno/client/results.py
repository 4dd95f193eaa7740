"""Hold what the server answered, typed. Shapes and answers are those of `arno.vocabulary`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.duration_pb2 import Duration

from arno.api.v1 import types_pb2, vision_pb2
from arno.client.faults import from_message
from arno.errors import ArnoError
from arno.vocabulary import Answer, Box, Region, Task
from arno.vocabulary.wire import answer_from_wire, task_from_wire
from arno.vocabulary.wire_regions import box_from_wire


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
    """

    job_id: str
    tasks: tuple[TaskResult, ...]
    image: ImageDescription | None
    model: Model | None
    message: vision_pb2.InferResponse = field(repr=False, compare=False)

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
            return self.tasks[key]
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


def infer_result(message: vision_pb2.InferResponse) -> InferResult:
    """Return the typed form of an answer."""
    image, model = message.image, message.model
    return InferResult(
        job_id=message.job_id,
        tasks=tuple(_task_result(result) for result in message.results),
        image=ImageDescription(image.width_px, image.height_px, image.mime_type, image.sha256)
        if message.HasField("image")
        else None,
        model=Model(model.name, model.fingerprint, model.dtype)
        if message.HasField("model")
        else None,
        message=message,
    )


def frame_result(message: vision_pb2.InferStreamResponse) -> FrameResult:
    """Return the typed form of a frame's answer."""
    outcome: InferResult | ArnoError | None = None
    if message.HasField("response"):
        outcome = infer_result(message.response)
    elif message.HasField("error"):
        outcome = from_message(message.error)
    return FrameResult(message.sequence, message.timestamp_ms, outcome, message)


def _task_result(message: types_pb2.TaskResult) -> TaskResult:
    answered = message.HasField("answer")
    return TaskResult(
        id=message.id,
        task=task_from_wire(message.task),
        text=message.text,
        region=box_from_wire(message.region) if message.HasField("region") else None,
        outcome=answer_from_wire(message.answer) if answered else from_message(message.error),
        timings=_timings(message.answer.timings) if answered else Timings(),
    )


def _timings(message: types_pb2.Timings) -> Timings:
    return Timings(
        queue_s=_seconds(message.queue),
        prepare_s=_seconds(message.prepare),
        encode_s=_seconds(message.encode),
        decode_s=_seconds(message.decode),
    )


def _seconds(duration: Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
