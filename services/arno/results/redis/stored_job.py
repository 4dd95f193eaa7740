"""Reads a job's hash, as ``arno.results.keys`` describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from arno.bus.v1.records_pb2 import JobOutcome
from arno.results.ports import JobSnapshot, JobState

DELETED = b"DELETED"
RESULT = b"result:"


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job and which of its changes this is.

    Attributes:
        snapshot: The job.
        revision: The number of changes since its hash was made.
    """

    snapshot: JobSnapshot
    revision: int


def read_job(job_id: str, fields: Mapping[bytes, bytes]) -> StoredJob | None:
    """Return the job, or None where the hash is absent or a tombstone."""
    if fields.get(b"state", DELETED) == DELETED:
        return None
    outcome = fields.get(b"outcome")
    snapshot = JobSnapshot(
        job_id=job_id,
        tenant=fields[b"tenant"].decode(),
        state=JobState(fields[b"state"].decode()),
        submitted_at_ms=int(fields[b"submitted_at_ms"]),
        deadline_at_ms=int(fields[b"deadline_at_ms"]),
        attempt_count=int(fields[b"attempt_count"]),
        decoded_token_count=int(fields[b"decoded_token_count"]),
        cancel_requested=fields.get(b"cancel_requested") == b"1",
        published=fields.get(b"published") == b"1",
        task_results=_task_results(fields),
        outcome=None if outcome is None else JobOutcome.FromString(outcome),
    )
    return StoredJob(snapshot, int(fields[b"revision"]))


def _task_results(fields: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    by_index = {
        int(name.removeprefix(RESULT)): value
        for name, value in fields.items()
        if name.startswith(RESULT)
    }
    return tuple(by_index[index] for index in sorted(by_index))
