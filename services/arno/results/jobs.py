"""What both sides of the result store share of a job: its state, and an attempt at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.vocabulary import JobState

OVERDUE_MS: Final = 5_000
"""A worker ends the jobs that it holds at their deadlines, and then needs a moment to store that. A
job that has no end after this time, and no living worker, is ended by the gateway that reads it."""

_DELETED: Final = b"DELETED"
_RESULT: Final = b"result:"


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job as the store holds it at one moment.

    Attributes:
        job_id: Its id.
        tenant: The tenant that owns it.
        state: Its state.
        submitted_at_ms: Unix milliseconds.
        deadline_at_ms: Unix milliseconds.
        attempt_count: How often a worker has begun it.
        decoded_token_count: Tokens that the newest attempt has decoded.
        cancel_requested: Whether a caller asked to cancel it.
        published: Whether a gateway noted that the bus has its record.
        task_results: Serialized ``arno.api.v1.TaskResult`` of each task that the newest attempt has
            ended, in the order of the tasks. Empty once the job has ended: the outcome holds all.
        outcome: Set when the state is terminal.
        revision: Counts the changes of the job in the store.
        notify: Subscriptions that the caller named to get an event at the end.
        incarnation: Names the creation from which the revision counts; empty where a version
            before this field created the job.
    """

    job_id: str
    tenant: str
    state: JobState
    submitted_at_ms: int
    deadline_at_ms: int
    attempt_count: int = 0
    decoded_token_count: int = 0
    cancel_requested: bool = False
    published: bool = False
    task_results: tuple[bytes, ...] = ()
    outcome: JobOutcome | None = None
    revision: int = 1
    incarnation: str = ""
    notify: tuple[str, ...] = ()

    def is_overdue(self, now_ms: int) -> bool:
        """Return whether a worker should have ended it by now, Unix milliseconds."""
        return not self.state.ended and now_ms >= self.deadline_at_ms + OVERDUE_MS

    @property
    def version(self) -> str:
        """Differs between any two changes, also where the store has lost the job in between."""
        return f"{self.revision} {self.incarnation}"


@dataclass(frozen=True, slots=True)
class JobTerms:
    """On which terms the store takes a job.

    Attributes:
        time_to_live_s: Of the job after its deadline; None: ``result_time_to_live_s``.
        stored_bytes_max: Of the tenant's jobs, results and large images together; None: no limit.
        notify: Subscriptions that get an event at the end, checked.
    """

    time_to_live_s: int | None = None
    stored_bytes_max: int | None = None
    notify: tuple[str, ...] = ()


PLAIN_TERMS: Final = JobTerms()
"""As the store's settings say."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A worker's right to work on a job, given by ``WorkerStore.begin``; equal only to itself.

    Attributes:
        record: The job.
        number: Fencing token, from 1; only the newest attempt may write progress.
        state: The state found; where it is terminal there is nothing left to do.
        cancel_requested: Whether a caller asked to cancel the job before this attempt.
        death_count: Workers known to have died while they held the job.
        begun: Whether this worker now holds the job; else the number is that of the newest attempt.
    """

    record: JobRecord
    number: int
    state: JobState
    cancel_requested: bool
    death_count: int
    begun: bool

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.record.id


def read_snapshot(job_id: str, fields: Mapping[bytes, bytes]) -> JobSnapshot | None:
    """Return the job that a hash of ``keys`` holds; None where it is absent or a tombstone."""
    if fields.get(b"state", _DELETED) == _DELETED:
        return None
    outcome = fields.get(b"outcome")
    return JobSnapshot(
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
        revision=int(fields[b"revision"]),
        incarnation=fields.get(b"incarnation", b"").decode(errors="replace"),
        notify=tuple(filter(None, fields.get(b"notify", b"").decode(errors="replace").split(","))),
    )


def _task_results(fields: Mapping[bytes, bytes]) -> tuple[bytes, ...]:
    by_index = {
        int(name.removeprefix(_RESULT)): value
        for name, value in fields.items()
        if name.startswith(_RESULT)
    }
    return tuple(by_index[index] for index in sorted(by_index))
