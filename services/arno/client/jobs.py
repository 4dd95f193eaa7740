"""Hold how a durable job stands, typed."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import StrEnum

from google.protobuf.timestamp_pb2 import Timestamp

from arno.api.v1 import job_pb2
from arno.client.faults import from_message
from arno.client.results import InferResult, infer_result
from arno.errors import ArnoError


class JobState(StrEnum):
    """How a job stands; the names of the API's `JobState`."""

    QUEUED = "QUEUED"
    ENCODING = "ENCODING"
    DECODING = "DECODING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the server knows it at one moment.

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


def job_of(message: job_pb2.Job) -> Job:
    """Return the typed form of a job."""
    state = job_pb2.JobState.Name(message.state).removeprefix("JOB_STATE_")
    return Job(
        id=message.id,
        state=JobState(state),
        submitted_at=_time(message, "submit_time"),
        expires_at=_time(message, "expire_time"),
        ended_at=_time(message, "end_time"),
        result=infer_result(message.response) if message.HasField("response") else None,
        error=from_message(message.error) if message.HasField("error") else None,
        attempt_count=message.attempt_count,
        decoded_token_count=message.decoded_token_count,
        message=message,
    )


def _time(message: job_pb2.Job, name: str) -> datetime.datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # the stubs list the names literally
        return None
    stamp: Timestamp = getattr(message, name)
    return stamp.ToDatetime(tzinfo=datetime.UTC)
