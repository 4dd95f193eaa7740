"""Put a checked request on the bus, once: claim, blob, publish; then it is accepted.

What happens when a step fails:

- A publication that fails may have happened all the same (a late acknowledgement). Without an
  idempotency key the claim is released, so that the store refuses to begin the job should its
  record arrive: the caller was told that it failed, and nobody will ask for it.
- With a key the claim stays. The retry finds the job, sees that the bus has not acknowledged it and
  that nobody has begun it, and publishes it again under the same id; should both records arrive,
  the store lets only one end count.
- The same covers a gateway that dies between claim and publication.
- What the bus has acknowledged is not published again, however often a caller retries while it
  waits: each record would be begun, and a job that is begun too often counts as poisoned.
- A key whose job ended without success and might succeed another time (expired, cancelled, a
  retryable failure), or that nobody began before its deadline, is taken over by a new job.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from arno.api.v1 import types_pb2
from arno.bus.ports import Lane, Publisher, Record
from arno.bus.v1.records_pb2 import BlobReference, JobRecord
from arno.errors import BackendUnavailableError, LimitExceededError
from arno.gateway.pricing import predicted_cost
from arno.gateway.tenancy import DEFAULT_TENANT
from arno.gateway.validation import CheckedRequest
from arno.ops.tracing import trace_headers
from arno.results.job_ids import new_job_id
from arno.results.ports import JobClaim, JobSnapshot, JobState, JobStore

_CLAIM_TRIES: Final = 4
"""How often a key may change hands under our eyes before we give up."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What is to be done, for whom, and until when.

    Attributes:
        request: Image and tasks.
        tenant: Whose it is.
        lane: Priority class.
        work_s: How long it may take from now.
        idempotency_key: The caller's key, or empty.
        waited_for: Whether this gateway will wait for the end.
    """

    request: CheckedRequest
    tenant: str
    lane: Lane
    work_s: float
    idempotency_key: str = ""
    waited_for: bool = True


@dataclass(frozen=True, slots=True)
class SubmissionSettings:
    """How jobs are put on the bus.

    Attributes:
        gateway_id: Whom the store wakes; unique to this process and start.
        inline_image_bytes_max: Larger images go to the blob store.
        result_time_to_live_s: How long the store keeps a job after its deadline.
        blob_time_to_live_s: How long the store keeps a large image after its job's deadline.
        publish_timeout_s: How long the bus may take.
    """

    gateway_id: str
    inline_image_bytes_max: int
    result_time_to_live_s: int
    blob_time_to_live_s: int
    publish_timeout_s: float


def unix_ms() -> int:
    """Return the wall clock, in Unix milliseconds."""
    return time.time_ns() // 1_000_000


class Submitter:
    """Accepts jobs. Lives in one asyncio loop; holds no state of its own."""

    def __init__(
        self,
        *,
        store: JobStore,
        publisher: Publisher,
        settings: SubmissionSettings,
        now_at_ms: Callable[[], int] = unix_ms,
        observe: Callable[[float, int], None] = lambda took_s, image_bytes: None,
        on_published: Callable[[Lane, float], None] = lambda lane, cost: None,
    ) -> None:
        """Take the started adapters, and whom to tell of what was published.

        Args:
            store: Started.
            publisher: Started.
            settings: How jobs are put on the bus.
            now_at_ms: The wall clock, Unix milliseconds.
            observe: Is told how long the bus took, and the size of the image.
            on_published: Is told the lane and the predicted cost.
        """
        self._store = store
        self._publisher = publisher
        self._settings = settings
        self._now_at_ms = now_at_ms
        self._on_published = on_published
        self._observe = observe

    async def submit(self, submission: Submission) -> str:
        """Return the id of the job once the bus has it.

        Raises:
            IdempotencyConflictError: The key was used with another body. Not retryable.
            BackendUnavailableError: The bus or the store does not answer. Retryable.
            OverloadedError: Too many bytes wait for the bus already. Retryable.
            LimitExceededError: The record is larger than the bus takes. Not retryable.
        """
        for _ in range(_CLAIM_TRIES):
            claim = self._new_claim(submission)
            holder = await self._store.claim(claim)
            if holder == claim.job_id:
                await self._publish_new(claim, submission)
                return holder
            found = await self._store.get(holder)
            if found is None:
                continue
            if self._spent(found):
                await self._store.release(holder)
                continue
            if _never_begun(found) and not found.published:
                await self._publish(found, submission)
            return holder
        raise BackendUnavailableError(
            f"idempotency_key: {submission.idempotency_key!r} is being retried by others right now",
            idempotency_key=submission.idempotency_key,
        )

    def _new_claim(self, submission: Submission) -> JobClaim:
        now_at_ms = self._now_at_ms()
        return JobClaim(
            job_id=new_job_id(now_at_ms),
            tenant=submission.tenant,
            lane=submission.lane,
            submitted_at_ms=now_at_ms,
            deadline_at_ms=now_at_ms + round(submission.work_s * 1000),
            time_to_live_s=self._settings.result_time_to_live_s,
            idempotency_key=submission.idempotency_key,
            body_sha256=body_digest(submission.request),
            watcher=self._settings.gateway_id if submission.waited_for else "",
        )

    async def _publish_new(self, claim: JobClaim, submission: Submission) -> None:
        try:
            await self._publish(claim, submission)
        except BaseException as fault:
            # A record that is too large will be so again, with or without a key.
            if not claim.idempotency_key or isinstance(fault, LimitExceededError):
                await self._release_quietly(claim.job_id)
            raise

    async def _release_quietly(self, job_id: str) -> None:
        # The store may be away as well; then the claim ends with its time to live, and the fault
        # that the caller should hear of is the first one.
        try:
            await asyncio.shield(self._store.release(job_id))
        except BackendUnavailableError:
            return

    async def _publish(self, job: JobClaim | JobSnapshot, submission: Submission) -> None:
        cost = predicted_cost(submission.request.tasks)
        record = await self._record(job, submission, cost)
        started_s = time.monotonic()
        await self._publisher.publish(record, timeout_s=self._settings.publish_timeout_s)
        self._observe(time.monotonic() - started_s, len(submission.request.content))
        self._on_published(submission.lane, cost)
        if submission.idempotency_key:
            await self._note_published(job.job_id)

    async def _note_published(self, job_id: str) -> None:
        # Unknown to the retry, it costs a second record; the job is accepted all the same.
        with contextlib.suppress(BackendUnavailableError):
            await self._store.note_published(job_id)

    async def _record(
        self, job: JobClaim | JobSnapshot, submission: Submission, cost: float
    ) -> Record:
        request = submission.request
        record = JobRecord(
            id=job.job_id,
            tenant=job.tenant,
            lane=types_pb2.Lane.Value(f"LANE_{submission.lane.upper()}"),
            submitted_at_ms=job.submitted_at_ms,
            deadline_at_ms=job.deadline_at_ms,
            image_description=request.image,
            tasks=request.tasks,
            predicted_cost=cost,
        )
        size_bytes = len(request.content)
        if size_bytes <= self._settings.inline_image_bytes_max:
            record.inline_image = request.content
        else:
            left_s = max(0, job.deadline_at_ms - self._now_at_ms()) // 1000 + 1
            sha256 = await self._store.put_blob(
                request.content, time_to_live_s=left_s + self._settings.blob_time_to_live_s
            )
            record.blob.CopyFrom(BlobReference(sha256=sha256, size_bytes=size_bytes))
        # Without API keys everybody is one tenant, which may use all there is.
        key = "" if job.tenant == DEFAULT_TENANT else job.tenant
        return Record(submission.lane, record.SerializeToString(), trace_headers(), spread_key=key)

    def _spent(self, job: JobSnapshot) -> bool:
        """Say whether the key's job will never give a success, while another might."""
        match job.state:
            case JobState.EXPIRED | JobState.CANCELLED:
                return True
            case JobState.FAILED:
                return job.outcome is not None and job.outcome.error.retryable
            case _:
                return _never_begun(job) and job.deadline_at_ms <= self._now_at_ms()


def _never_begun(job: JobSnapshot) -> bool:
    return job.state is JobState.QUEUED and job.attempt_count == 0


def body_digest(request: CheckedRequest) -> str:
    """Return what an idempotency key stands for: SHA-256 over image and tasks, in hex.

    Lane and deadline are not part of it, so that a retry may be in more or less of a hurry.
    """
    digest = hashlib.sha256(request.image.sha256.encode())
    for spec in request.tasks:
        body = spec.SerializeToString(deterministic=True)
        digest.update(len(body).to_bytes(8, "big"))
        digest.update(body)
    return digest.hexdigest()
