"""Say how a job ended, as the message that the store keeps."""

from __future__ import annotations

from collections.abc import Iterable

from arno.api.v1 import types_pb2, vision_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.engine.interface import ModelCard
from arno.errors import ArnoError
from arno.vocabulary import JobState
from arno.vocabulary.wire import state_to_wire
from arno.vocabulary.wire_results import error_to_wire


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
