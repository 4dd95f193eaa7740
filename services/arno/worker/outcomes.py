"""Say how a job ended, as the message that the store keeps."""

from __future__ import annotations

from collections.abc import Iterable

from arno.api.v1 import job_pb2, types_pb2, vision_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.engine.interface import ModelCard
from arno.errors import ArnoError
from arno.results.jobs import JobState


def error_to_wire(error: ArnoError) -> types_pb2.Error:
    """Return the message of an error."""
    return types_pb2.Error(
        code=error.code,
        reason=error.reason,
        message=error.message,
        metadata=error.metadata,
        retryable=error.retryable,
    )


def state_to_wire(state: JobState) -> job_pb2.JobState.ValueType:
    """Return the API's number of a state."""
    return job_pb2.JobState.Value(f"JOB_STATE_{state}")


def state_from_wire(number: job_pb2.JobState.ValueType) -> JobState:
    """Return the state of a number that this module wrote."""
    return JobState(job_pb2.JobState.Name(number).removeprefix("JOB_STATE_"))


def build_outcome(
    record: JobRecord,
    state: JobState,
    *,
    card: ModelCard,
    ended_at_ms: int,
    results: Iterable[types_pb2.TaskResult] = (),
    error: ArnoError | None = None,
) -> JobOutcome:
    """Return the end of a job.

    Args:
        record: The job.
        state: A terminal state.
        card: The model that answered, or would have.
        ended_at_ms: Unix milliseconds.
        results: In the order of the request; whatever results there are.
        error: Why the state is not SUCCEEDED.
    """
    response = vision_pb2.InferResponse(
        job_id=record.id,
        results=results,
        model=types_pb2.Model(name=card.name, fingerprint=card.fingerprint, dtype=card.dtype),
    )
    if record.HasField("image_description"):
        response.image.CopyFrom(record.image_description)
    return JobOutcome(
        state=state_to_wire(state),
        response=response,
        error=None if error is None else error_to_wire(error),
        ended_at_ms=ended_at_ms,
    )
