"""What the result store can do: hold jobs' states and results, and wake those who wait.

The gateway's side is asynchronous (``JobStore``), the worker's side is blocking and thread-safe
(``ResultWriter``). One adapter stands behind both: ``arno.results.redis``. The store decides what
is true about a job; wake-ups are only hints to look again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from arno.bus.v1.records_pb2 import JobOutcome


class JobState(StrEnum):
    """How a job stands; the names of ``arno.api.v1.JobState`` without their prefix."""

    QUEUED = "QUEUED"
    ENCODING = "ENCODING"
    DECODING = "DECODING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}


@dataclass(frozen=True, slots=True)
class JobClaim:
    """What a gateway writes before it puts a job on the bus.

    Attributes:
        job_id: Unique name.
        tenant: Whose job it is.
        lane: The lane's value.
        submitted_at_ms: Unix milliseconds.
        deadline_at_ms: Unix milliseconds.
        time_to_live_s: How long the store keeps job and result after the deadline.
        idempotency_key: The caller's key, or empty.
        body_sha256: Digest of what the key stands for; compared when the key comes again.
        watcher: The gateway to wake when the job ends; or empty, where nobody will wait.
        publishing_s: How long nobody else may put the job on the bus, where it has a key: until
            then its claimant is at it. 0: whoever comes next may.
    """

    job_id: str
    tenant: str
    lane: str
    submitted_at_ms: int
    deadline_at_ms: int
    time_to_live_s: int
    idempotency_key: str
    body_sha256: str
    watcher: str
    publishing_s: float = 0.0


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job as the store knows it at one moment.

    Attributes:
        job_id: Its name.
        tenant: Whose it is.
        state: How it stands.
        submitted_at_ms: Unix milliseconds.
        deadline_at_ms: Unix milliseconds.
        attempt_count: How often a worker has begun it.
        decoded_token_count: Tokens so far.
        cancel_requested: Whether somebody asked to stop it.
        published: Whether somebody noted that the bus has its record.
        task_results: Serialized ``arno.api.v1.TaskResult`` of tasks that the newest attempt has
            ended, in the order of the results; empty once the job has ended, because the outcome
            holds them all.
        outcome: Set when the state is terminal.
    """

    job_id: str
    tenant: str
    state: JobState
    submitted_at_ms: int
    deadline_at_ms: int
    attempt_count: int
    decoded_token_count: int
    cancel_requested: bool
    published: bool
    task_results: tuple[bytes, ...]
    outcome: JobOutcome | None


@dataclass(frozen=True, slots=True)
class JobOrigin:
    """What a job's record says about it: enough to create the job anew in a store that has lost it.

    Attributes:
        job_id: Its name.
        tenant: Whose it is; without it nobody could be allowed to read the result.
        submitted_at_ms: Unix milliseconds.
        deadline_at_ms: Unix milliseconds.
        time_to_live_s: How long the store keeps job and result after the deadline.
    """

    job_id: str
    tenant: str
    submitted_at_ms: int
    deadline_at_ms: int
    time_to_live_s: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A worker's right to work on a job, given by ``ResultWriter.begin``.

    Attributes:
        origin: The job.
        number: Fencing token, from 1; only the newest attempt may write progress.
        state: The state found; terminal means that there is nothing left to do.
        cancel_requested: Whether to stop before starting.
        death_count: Workers that have died with the job in hand, as far as is known now.
        begun: Whether this worker now has the job; else the number is that of the newest attempt.
    """

    origin: JobOrigin
    number: int
    state: JobState
    cancel_requested: bool
    death_count: int
    begun: bool

    @property
    def job_id(self) -> str:
        """The job's name."""
        return self.origin.job_id


class JobStore(Protocol):
    """The gateway's side, in one asyncio loop.

    Every method may raise BackendUnavailableError.
    """

    async def start(self) -> None:
        """Connect, and begin to listen for wake-ups (before the first job is claimed)."""

    async def close(self) -> None:
        """Stop listening and disconnect. Idempotent."""

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless the store answers."""

    async def claim(self, claim: JobClaim) -> str:
        """Create the job in state QUEUED, unless its idempotency key is known; return its id.

        Where the key is known with the same body, nothing is created, and the id is that of the
        job that holds the key.

        Raises:
            IdempotencyConflictError: The key is known with another body.
        """

    async def take_publication(self, job_id: str, *, by: str, for_s: float) -> bool:
        """Say whether the caller shall put the job on the bus; nobody else is told so meanwhile.

        It shall, if nobody has begun the job, nobody has noted that the bus has it, and the time
        of whoever was told so before is over. Idempotent.

        Args:
            job_id: The job.
            by: Unique to the caller; a claimant's is the id that it claimed.
            for_s: How long it may take.
        """

    async def give_up_publication(self, job_id: str, *, by: str) -> None:
        """Let the next caller put the job on the bus, if this is whose turn it was. Idempotent."""

    async def note_published(self, job_id: str) -> None:
        """Note that the bus has the job's record. Idempotent; an unknown job stays unknown."""

    async def abandon(self, job_id: str) -> None:
        """Forget without a trace a job that nobody has begun to put on the bus. Idempotent."""

    async def release(self, job_id: str) -> None:
        """Forget a job that may not have reached the bus, with its idempotency key.

        Should its record arrive at a worker after all, the job is not begun.
        """

    async def get(self, job_id: str) -> JobSnapshot | None:
        """Return the job, or None where there is none."""

    async def may_have_forgotten(self, job_id: str) -> bool:
        """Say of a job that ``get`` does not know whether it may be there all the same.

        It may, where it was named before the store came up empty: its record can be on the bus.
        """

    async def wait(self, job_id: str, *, timeout_s: float) -> JobSnapshot:
        """Return the job when it has ended.

        Short outages of the store are waited out.

        Raises:
            TimeoutError: It has not ended in time.
            UnknownJobError: The store does not know it (any more).
            BackendUnavailableError: The time is over, and the store could not be asked.
        """

    def watch(self, job_id: str) -> AsyncIterator[JobSnapshot]:
        """Yield the job now and after every change until it has ended.

        Raises:
            UnknownJobError: The store does not know it (any more).
        """

    async def request_cancel(self, job_id: str) -> None:
        """Note that the job is to be stopped; one that nobody has begun ends at once.

        Idempotent; a job that has ended, or that is not known, stays as it is.
        """

    async def delete(self, job_id: str) -> None:
        """Forget the job, its results and its idempotency key. Idempotent.

        A worker that still runs it finds it gone and stops; its record, delivered again, is not
        begun.
        """

    async def paces(self) -> Sequence[float]:
        """Return what each live worker gets done in a second, in cost; 0.0: never busy yet."""

    async def put_blob(self, content: bytes, *, time_to_live_s: int) -> str:
        """Keep an image, at least for the given time, and return its name: SHA-256, hex."""


class ResultWriter(Protocol):
    """The worker's side: blocking, thread-safe.

    Every method may raise BackendUnavailableError, and may then be called again with the same
    arguments: what was applied before the reply was lost is not applied twice. Those that change a
    job may raise StoredJobError, and would again: what the store holds for it is not Arno's.
    """

    def ping(self) -> None:
        """Raise BackendUnavailableError unless the store answers."""

    def begin(self, origin: JobOrigin, *, deaths_max: int | None = None) -> Attempt:
        """Begin an attempt, before any work, and note that this worker has the job.

        A job that the store has lost is created anew. One that was deleted is not: its attempt has
        state CANCELLED and number 0.

        Args:
            origin: The job.
            deaths_max: Begin nothing where so many workers, or more, have died with the job in
                hand. A worker that left in order, or that gives signs of life, has not.
        """

    def progress(
        self,
        attempt: Attempt,
        state: JobState,
        *,
        decoded_token_count: int,
        task_results: dict[int, bytes],
    ) -> bool:
        """Write state and new task results (index to serialized TaskResult).

        Returns:
            Whether to go on. False: the attempt is stale, the job has ended or was deleted, or
            somebody asked to stop it.
        """

    def finish(self, attempt: Attempt, outcome: JobOutcome) -> bool:
        """Write the end of a job; say whether it is the end that counts, which is the first one.

        Any attempt may end a job, an old one too. Later ends are counted and dropped; the same
        outcome of the same attempt, written again because a reply was lost, is the same end.
        """

    def cancelled(self, job_ids: list[str]) -> set[str]:
        """Return which of these jobs somebody asked to stop, or deleted."""

    def report_alive(self) -> None:
        """Give a sign of life of this worker; to be repeated well within its ``silence_s``."""

    def report_gone(self, *, in_order: bool) -> None:
        """Say that this worker ends; its first word is the last.

        Args:
            in_order: What it had in hand and did not end goes back, and is no worse for it. Else
                it has died at that.
        """

    def report_pace(self, worker: str, cost_per_s: float) -> None:
        """Say how much this worker gets done in a second; to be repeated every second."""

    def get_blob(self, sha256: str) -> bytes | None:
        """Return an image, or None where it is not kept (any more)."""

    def close(self) -> None:
        """Disconnect. Idempotent."""
