"""Put a checked request on the bus, once: claim, blob, publish; then it is accepted.

What happens when a step fails:

- A publication that fails may have happened all the same (a late acknowledgement). Without an
  idempotency key the claim is released, so that the store refuses to begin the job should its
  record arrive: the caller was told that it failed, and nobody will ask for it.
- With a key the claim stays. The retry finds the job, sees that the bus has not acknowledged it and
  that nobody has begun it, and publishes it again under the same id; should both records arrive,
  the store lets only one end count.
- The same covers a gateway that dies between claim and publication, once its turn is over.
- A caller that leaves during the claim leaves nothing behind: with it goes a job without a key, and
  its turn at one with a key.
- Calls with one key at the same moment publish once: one has the turn, the others follow it. A turn
  ends when the bus has the record, when its holder knows that it may not, or with its time.
- What the bus has acknowledged is not published again, however often a caller retries while it
  waits: each record would be begun, and a job that is begun too often counts as poisoned.
- A key whose job ended without success and might succeed another time (expired, cancelled, a
  retryable failure), or that nobody began before its deadline, is taken over by a new job.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final

from arno.bus.ports import Publisher, Record
from arno.bus.v1.records_pb2 import BlobReference, JobRecord
from arno.errors import ArnoError, BackendUnavailableError, LimitExceededError
from arno.gateway.errands import Errands
from arno.gateway.pricing import predicted_cost
from arno.gateway.validation import CheckedRequest
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.ops.tracing import trace_headers
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import JobSnapshot
from arno.vocabulary import DEFAULT_TENANT, JobState, Lane
from arno.vocabulary.job_id import new_job_id
from arno.vocabulary.wire import lane_to_wire, spec_to_wire

_CLAIM_TRIES: Final = 4
"""How often a key may change hands under our eyes before we give up."""

_TURN_MARGIN_S: Final = 1.0
"""What a turn lasts beyond the patience with the bus: for the blob and the way to the store."""

_FOLLOW_PAUSE_S: Final = 0.02
_FOLLOW_PAUSE_S_MAX: Final = 0.32
"""Between two looks at a job that another call publishes, which takes some 5 ms; twice as long
each time, so that a thousand callers with one key and a bus that hangs cost little."""


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
        inline_image_bytes_max: Larger images go to the blob store.
        blob_time_to_live_s: How long the store keeps a large image after its job's deadline.
        publish_timeout_s: How long the bus may take.
    """

    inline_image_bytes_max: int
    blob_time_to_live_s: int
    publish_timeout_s: float

    @property
    def turn_s(self) -> float:
        """How long one call alone may publish a job with a key."""
        return self.publish_timeout_s + _TURN_MARGIN_S


@dataclass(frozen=True, slots=True)
class Published:
    """A record that the bus has acknowledged.

    Attributes:
        lane: Where it waits.
        cost: What it is predicted to cost a worker.
        took_s: How long the bus took.
        image_bytes: Size of its image.
    """

    lane: Lane
    cost: float
    took_s: float
    image_bytes: int


class Submitter:
    """Accepts jobs. Lives in one asyncio loop; holds no state of its own."""

    def __init__(
        self,
        *,
        store: GatewayStore,
        publisher: Publisher,
        settings: SubmissionSettings,
        errands: Errands,
        clock: Clock = SYSTEM_CLOCK,
        on_published: Callable[[Published], None] = lambda published: None,
    ) -> None:
        """Take the started adapters, and whom to tell of what was published.

        Args:
            store: Started.
            publisher: Started.
            settings: How jobs are put on the bus.
            errands: What runs for callers that have gone.
            clock: Tells the time.
            on_published: Is told of each record that the bus has acknowledged.
        """
        self._store = store
        self._publisher = publisher
        self._settings = settings
        self._errands = errands
        self._clock = clock
        self._on_published = on_published

    async def submit(self, submission: Submission) -> JobSnapshot:
        """Return the job once the bus has it: as it was accepted, or as found where it was known.

        Raises:
            IdempotencyConflictError: The key was used with another body. Not retryable.
            BackendUnavailableError: The bus or the store does not answer. Retryable.
            OverloadedError: Too many bytes wait for the bus already. Retryable.
            LimitExceededError: The record is larger than the bus takes. Not retryable.
        """
        for _ in range(_CLAIM_TRIES):
            job = self._new_job(submission)
            holder = await self._claim(job, submission)
            if holder == job.job_id:
                await self._publish_in_turn(job, submission, by=job.job_id)
                return replace(job, published=True)
            found = await self._follow(holder, submission, by=job.job_id)
            if found is not None:
                return found
        raise self._busy(submission)

    async def _claim(self, job: JobSnapshot, submission: Submission) -> str:
        """Return who holds the claim; a caller that leaves meanwhile does not leave it behind."""
        claiming = asyncio.ensure_future(
            self._store.claim(
                _record_of(job, submission),
                idempotency_key=submission.idempotency_key,
                body_sha256=body_digest(submission.request),
                waited_for=submission.waited_for,
                publishing_s=self._settings.turn_s,
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._errands.send(self._unclaim(claiming, job.job_id, submission))
            raise

    async def _unclaim(
        self, claiming: asyncio.Future[str], job_id: str, submission: Submission
    ) -> None:
        # After the claim, whenever it comes to pass: before it there is nothing to forget.
        try:
            if await claiming != job_id:
                return
            if submission.idempotency_key:
                await self._store.give_up_publication(job_id, by=job_id)
            else:
                await self._store.abandon(job_id)
        except ArnoError:
            # What is left ends with its time to live, and nobody knows its name.
            return

    async def _follow(self, holder: str, submission: Submission, *, by: str) -> JobSnapshot | None:
        """Return the job that holds the key once the bus has it; None where the key is free again.

        Raises:
            BackendUnavailableError: It is another call's turn, and that does not come to an end.
        """
        until_s = self._clock.monotonic_s() + self._settings.turn_s + _TURN_MARGIN_S
        pause_s = _FOLLOW_PAUSE_S
        while self._clock.monotonic_s() < until_s:
            found = await self._store.get(holder)
            if found is None:
                return None
            if self._spent(found):
                await self._store.release(holder)
                return None
            if found.published or not _never_begun(found):
                return found
            if await self._store.take_publication(holder, by=by, for_s=self._settings.turn_s):
                await self._publish_in_turn(found, submission, by=by)
                return found
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _FOLLOW_PAUSE_S_MAX)
        raise self._busy(submission)

    def _busy(self, submission: Submission) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"idempotency_key: {submission.idempotency_key!r} is being retried by others right now",
            idempotency_key=submission.idempotency_key,
        )

    def _new_job(self, submission: Submission) -> JobSnapshot:
        now_at_ms = self._clock.wall_ms()
        return JobSnapshot(
            job_id=new_job_id(now_at_ms),
            tenant=submission.tenant,
            state=JobState.QUEUED,
            submitted_at_ms=now_at_ms,
            deadline_at_ms=now_at_ms + round(submission.work_s * 1000),
        )

    async def _publish_in_turn(self, job: JobSnapshot, submission: Submission, *, by: str) -> None:
        try:
            await self._publish(job, submission)
        except BaseException as fault:
            # A record that is too large will be so again, with or without a key.
            if not submission.idempotency_key or isinstance(fault, LimitExceededError):
                await self._quietly(self._store.release(job.job_id))
            else:
                await self._quietly(self._store.give_up_publication(job.job_id, by=by))
            raise

    async def _quietly(self, word: Coroutine[Any, Any, None]) -> None:
        # The store may be away as well; then the claim ends with its time to live and the turn with
        # its own, and the fault that the caller should hear of is the first one.
        with contextlib.suppress(BackendUnavailableError):
            await asyncio.shield(asyncio.ensure_future(word))

    async def _publish(self, job: JobSnapshot, submission: Submission) -> None:
        cost = predicted_cost(submission.request.tasks)
        record = await self._record(job, submission, cost)
        started_s = self._clock.monotonic_s()
        await self._publisher.publish(record, timeout_s=self._settings.publish_timeout_s)
        took_s = self._clock.monotonic_s() - started_s
        image_bytes = len(submission.request.content)
        self._on_published(Published(submission.lane, cost, took_s, image_bytes))
        if submission.idempotency_key:
            await self._note_published(job.job_id)

    async def _note_published(self, job_id: str) -> None:
        # Unknown to the retry, it costs a second record; the job is accepted all the same.
        with contextlib.suppress(BackendUnavailableError):
            await self._store.note_published(job_id)

    async def _record(self, job: JobSnapshot, submission: Submission, cost: float) -> Record:
        request = submission.request
        record = _record_of(job, submission)
        record.image_description.CopyFrom(request.image)
        record.tasks.extend(map(spec_to_wire, request.tasks))
        record.predicted_cost = cost
        size_bytes = len(request.content)
        if size_bytes <= self._settings.inline_image_bytes_max:
            record.inline_image = request.content
        else:
            left_s = max(0, job.deadline_at_ms - self._clock.wall_ms()) // 1000 + 1
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
                return _never_begun(job) and job.deadline_at_ms <= self._clock.wall_ms()


def _record_of(job: JobSnapshot, submission: Submission) -> JobRecord:
    return JobRecord(
        id=job.job_id,
        tenant=job.tenant,
        lane=lane_to_wire(submission.lane),
        submitted_at_ms=job.submitted_at_ms,
        deadline_at_ms=job.deadline_at_ms,
    )


def _never_begun(job: JobSnapshot) -> bool:
    return job.state is JobState.QUEUED and job.attempt_count == 0


def body_digest(request: CheckedRequest) -> str:
    """Return what an idempotency key stands for: SHA-256 over image and tasks, in hex.

    Lane and deadline are not part of it, so that a retry may be in more or less of a hurry.
    """
    digest = hashlib.sha256(request.image.sha256.encode())
    for spec in request.tasks:
        body = spec_to_wire(spec).SerializeToString(deterministic=True)
        digest.update(len(body).to_bytes(8, "big"))
        digest.update(body)
    return digest.hexdigest()
