"""One job in the worker, from its delivery to its stored end.

All threads hand on the same `Job`; its stage shows which of them holds it, and only that one
changes it. What the store does not have yet is the exception: the result writer's lock guards it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError
from opentelemetry.trace import Span, format_trace_id

from arno.api.v1 import types_pb2, vision_pb2
from arno.bus.ports import Consumer, Delivery
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.errors import ArnoError, InvalidRequestError
from arno.results.jobs import Attempt
from arno.vocabulary import JobState
from arno.vocabulary.wire import lane_of_record, state_to_wire
from arno.vocabulary.wire_results import error_to_wire

if TYPE_CHECKING:
    from arno.engine.interface import ModelCard, PreparedImage
    from arno.worker.job_run import JobRun

_SERIALS: Final = itertools.count(1)

_LAST_MS: Final = 253_402_300_799_999
"""The end of the year 9999: the last moment that the API's timestamps can name."""


class UnreadableRecordError(InvalidRequestError):
    """The record's value is no job that this worker can read."""

    reason = "UNREADABLE_RECORD"


def read_job(value: bytes) -> JobRecord:
    """Return the job of a record.

    Tasks are not checked: one that is newer than this worker fails alone, when the job runs.

    Raises:
        UnreadableRecordError: It is not a job, or lacks what every job has. Not retryable.
    """
    try:
        record = JobRecord.FromString(value)
    except DecodeError as error:
        raise UnreadableRecordError("the record's value is not a JobRecord") from error
    # Foreign bytes may parse, because unknown fields are skipped.
    present = {
        "id": bool(record.id),
        "deadline_at_ms": record.deadline_at_ms > 0,
        "image": record.WhichOneof("image") is not None,
        "tasks": len(record.tasks) > 0,
    }
    missing = ", ".join(name for name, there in present.items() if not there)
    if missing:
        raise UnreadableRecordError(f"the record's value lacks {missing}", missing=missing)
    for name in ("submitted_at_ms", "deadline_at_ms"):
        at_ms = getattr(record, name)
        if not 0 <= at_ms <= _LAST_MS:
            # The store would refuse it at every try, and the partition behind it would wait.
            raise UnreadableRecordError(f"the record's {name} is no time: {at_ms}", field=name)
    return record


class JobStage(Enum):
    """How far a job has come in this worker."""

    QUEUED = auto()
    """Delivered; waits for a prepare thread."""

    BEGUN = auto()
    """An attempt is noted in the store; the image is being prepared."""

    RUNNING = auto()
    """Its sequences are with the engine."""

    ENDED = auto()
    """It has an outcome, which is being stored."""

    DONE = auto()
    """Its delivery is declared done."""


@dataclass(slots=True, eq=False)
class Unwritten:
    """The part of a job that the store does not have yet. Guarded by the result writer's lock.

    Attributes:
        state: The job's state while it runs.
        decoded_token_count: Tokens so far, over all tasks.
        task_results: Serialized results of tasks, by their place among the job's results.
        outcome: The end; None while there is none.
        due_s: Monotonic time at which this is to be written.
    """

    state: JobState = JobState.QUEUED
    decoded_token_count: int = 0
    task_results: dict[int, bytes] = field(default_factory=dict)
    outcome: JobOutcome | None = None
    due_s: float = math.inf


@dataclass(slots=True, eq=False)
class Job:
    """One delivery of a job. A job that the bus delivers twice is two of these.

    Attributes:
        delivery: The bus's delivery; its receipt declares it done.
        consumer: The consumer that delivered it, and that takes the receipt.
        serial: Number of the delivery in this process. The number of the attempt would not do: in a
            store that lost its data, numbers repeat.
        stage: Which part of the worker holds the job.
        record: The job as the gateway wrote it. Set from QUEUED on, unless it is unreadable.
        unreadable: Why there is no record.
        attempt: The right to work on it. Set from BEGUN on, as all that follows.
        span: Its part of the trace; ends with the job.
        queue_s: Seconds from the gateway's acceptance to the begin of the attempt.
        deadline_s: Monotonic time of its deadline.
        image: The prepared image. Set from RUNNING on.
        run: Its tasks and their results. Set from RUNNING on.
        sequence_ids: Its sequences that have not ended.
        published_state: The state that was last given to the result writer.
        published_at_s: Monotonic time of that.
        unwritten: The part that the store does not have yet.
    """

    delivery: Delivery
    consumer: Consumer
    serial: int = field(default_factory=_SERIALS.__next__)
    stage: JobStage = JobStage.QUEUED
    record: JobRecord = field(init=False)
    unreadable: UnreadableRecordError | None = None
    attempt: Attempt = field(init=False)
    span: Span = field(init=False)
    queue_s: float = 0.0
    deadline_s: float = math.inf
    image: PreparedImage = field(init=False)
    run: JobRun = field(init=False)
    sequence_ids: set[str] = field(default_factory=set)
    published_state: JobState | None = None
    published_at_s: float = 0.0
    unwritten: Unwritten = field(default_factory=Unwritten)

    @property
    def id(self) -> str:
        """The id that the gateway gave it."""
        return self.record.id

    @property
    def channel(self) -> str:
        """The bus channel that it came from."""
        return self.delivery.record.channel

    @property
    def lane(self) -> str:
        """Its priority class; an unknown lane, of a newer gateway, counts as the lowest."""
        return lane_of_record(self.record.lane).value

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields that every log line about this job has."""
        trace_id = format_trace_id(self.span.get_span_context().trace_id)
        return {"job_id": self.id, "attempt": self.attempt.number, "trace_id": trace_id}

    def read_record(self) -> None:
        """Set the record, or why there is none."""
        try:
            self.record = read_job(self.delivery.record.value)
        except UnreadableRecordError as error:
            self.unreadable = error

    def done(self) -> None:
        """Declare the delivery done. Any thread; only after the end of the job is stored."""
        self.stage = JobStage.DONE
        self.consumer.done(self.delivery.receipt)

    def outcome(
        self,
        state: JobState,
        *,
        card: ModelCard,
        ended_at_ms: int,
        results: Iterable[types_pb2.TaskResult] = (),
        error: ArnoError | None = None,
    ) -> JobOutcome:
        """Return the end of the job, as the message that the store keeps.

        Args:
            state: A terminal state.
            card: The model that answered, or would have.
            ended_at_ms: Unix milliseconds.
            results: The results that there are, in the order of the request.
            error: Why the state is not SUCCEEDED.
        """
        response = vision_pb2.InferResponse(
            job_id=self.id,
            results=results,
            model=model_to_wire(card),
        )
        if self.record.HasField("image_description"):
            response.image.CopyFrom(self.record.image_description)
        return JobOutcome(
            state=state_to_wire(state),
            response=response,
            error=None if error is None else error_to_wire(error),
            ended_at_ms=ended_at_ms,
        )


def split_sequence_id(sequence_id: str) -> tuple[int, str]:
    """Return the serial of the job and the id of the result that a sequence is for."""
    serial, _, result_id = sequence_id.partition("/")
    return int(serial), result_id


def model_to_wire(card: ModelCard) -> types_pb2.Model:
    """Return the message that names a model."""
    return types_pb2.Model(name=card.name, fingerprint=card.fingerprint, dtype=card.dtype)
