"""Hold one job of this worker, from its delivery to its stored end."""

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

    Tasks are not looked at: one that is newer than this worker fails alone, when the job runs.

    Raises:
        UnreadableRecordError: It is not a job, or lacks what every job has. Not retryable.
    """
    try:
        record = JobRecord.FromString(value)
    except DecodeError as error:
        raise UnreadableRecordError("the record's value is not a JobRecord") from error
    # Foreign bytes may parse: what is unknown to the format is skipped.
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
            # The store would refuse it for ever, and everything behind it would wait.
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
    """What the store does not know yet of a job. Guarded by the lock of the result writer.

    Attributes:
        state: How the job stands.
        decoded_token_count: Tokens so far over all its tasks.
        task_results: Serialized results of tasks, by their place among the job's results.
        outcome: How it ended; None before.
        due_s: When this is to be written, on the monotonic clock.
    """

    state: JobState = JobState.QUEUED
    decoded_token_count: int = 0
    task_results: dict[int, bytes] = field(default_factory=dict)
    outcome: JobOutcome | None = None
    due_s: float = math.inf


@dataclass(slots=True, eq=False)
class Job:
    """A job. Each stage belongs to one thread, which hands it on; equal only to itself.

    Attributes:
        delivery: What the bus delivered.
        consumer: Where it came from.
        serial: Unique in this process: one job may be delivered twice at once, and the number of an
            attempt repeats in a store that has lost its memory.
        stage: How far it has come.
        record: What the gateway wrote. From BEGUN on, as all that follows.
        attempt: The right to work on it.
        span: Its part of the trace; ended with the job.
        queue_s: From the gateway's acceptance to this worker's taking it.
        deadline_s: On the monotonic clock.
        image: Prepared for the engine. From RUNNING on.
        run: Its tasks and what came of them. From RUNNING on.
        sequence_ids: Its sequences that have not ended.
        published_state: The state last handed to the result writer.
        published_at_s: When that was.
        unwritten: What the store does not know yet.
    """

    delivery: Delivery
    consumer: Consumer
    serial: int = field(default_factory=_SERIALS.__next__)
    stage: JobStage = JobStage.QUEUED
    record: JobRecord = field(init=False)
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
        """Its priority class; a lane that is newer than this worker counts as the lowest."""
        return lane_of_record(self.record.lane).value

    @property
    def log_fields(self) -> dict[str, object]:
        """What every log line about this job carries."""
        trace_id = format_trace_id(self.span.get_span_context().trace_id)
        return {"job_id": self.id, "attempt": self.attempt.number, "trace_id": trace_id}

    def sequence_id(self, result_id: str) -> str:
        """Return the engine's name of the sequence that gives a result."""
        return f"{self.serial}/{result_id}"

    def done(self) -> None:
        """Declare the delivery done: the bus may forget it."""
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
        """Return the message of how it ended.

        Args:
            state: A terminal state.
            card: The model that answered, or would have.
            ended_at_ms: Unix milliseconds.
            results: In the order of the request, as far as there are any.
            error: Why the state is not SUCCEEDED.
        """
        response = vision_pb2.InferResponse(
            job_id=self.id,
            results=results,
            model=types_pb2.Model(name=card.name, fingerprint=card.fingerprint, dtype=card.dtype),
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
