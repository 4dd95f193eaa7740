"""Publish each job once, while calls with its idempotency key arrive, leave and fail.

What happens when a step fails:

- A publication that fails may have happened all the same (a late acknowledgement). Without an
  idempotency key the claim is released, so that the store refuses to begin the job should its
  record arrive: its caller got an error, and no call will ask for it.
- With a key the claim stays. The retry finds the job, sees that the bus has not acknowledged it and
  that no worker has begun it, and publishes it again under the same id; should both records arrive,
  the store lets only one end count.
- The same covers a gateway that dies between claim and publication, once its turn is over.
- A caller that leaves during the claim leaves nothing behind: a job without a key is abandoned, and
  with a key the turn to publish it is given up.
- Of calls with one key at the same moment one publishes; the others follow it. A turn ends when the
  bus has the record, when its holder knows that it may not, or after its time.
- What the bus has acknowledged is not published again, however often a caller retries while it
  waits: each record would be begun, and a job that is begun too often counts as poisoned.
- A key whose job ended without success and might succeed another time (expired, cancelled, a
  retryable failure), or that no worker began before its deadline, is taken over by a new job.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from arno.bus.v1.records_pb2 import JobRecord
from arno.errors import ArnoError, BackendUnavailableError, LimitExceededError
from arno.gateway.lifecycle import BackgroundTasks
from arno.ops.cancellation import raise_if_cancelled
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import PLAIN_TERMS, JobSnapshot, JobTerms
from arno.vocabulary import JobState

TURN_MARGIN_S: Final = 1.0
"""How much longer a turn lasts than the bus may take: for the blob and the calls to the store."""

_CLAIM_TRIES: Final = 4
"""How often a key may change its job while one call is being submitted."""

_FOLLOW_PAUSE_S: Final = 0.02
_FOLLOW_PAUSE_S_MAX: Final = 0.32
"""Between two reads of a job that another call publishes, which takes some 5 ms; doubled each time,
so that a thousand callers with one key and a bus that hangs cost little."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a job is claimed with.

    Attributes:
        idempotency_key: The caller's key, or empty.
        body_sha256: Digest of the request that the key stands for.
        waited_for: Whether the end of the job shall wake this gateway.
        terms: What else it is claimed with.
    """

    idempotency_key: str
    body_sha256: str
    waited_for: bool
    terms: JobTerms = PLAIN_TERMS


class OncePublisher:
    """Claims jobs and takes turns to publish them. Lives in one asyncio loop; holds no state."""

    def __init__(
        self,
        store: GatewayStore,
        *,
        publish_timeout_s: float,
        background: BackgroundTasks,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take the started store.

        Args:
            store: Keeps claims and turns.
            publish_timeout_s: How long the bus may take.
            background: Runs what is left to do for callers that have left.
            clock: Tells the time.
        """
        self._store = store
        self._turn_s = publish_timeout_s + TURN_MARGIN_S
        self._background = background
        self._clock = clock

    async def submit(
        self,
        claim: Claim,
        *,
        new_record: Callable[[], JobRecord],
        publish: Callable[[JobRecord], Awaitable[None]],
    ) -> JobSnapshot:
        """Return the job once the bus has its record: a new job, or the one that holds the key.

        Args:
            claim: What the job is claimed with.
            new_record: Returns a record with a new id, without image and tasks.
            publish: Completes such a record and puts it on the bus. It may be called with the id
                and the times of an earlier job.

        Raises:
            IdempotencyConflictError: The key was used with another body. Not retryable.
            QuotaExceededError: The tenant would store more than it may. Retryable.
            BackendUnavailableError: The bus or the store does not answer, or other calls with the
                key do not come to an end. Retryable.
            ArnoError: What `publish` raises.
        """
        for _ in range(_CLAIM_TRIES):
            record = new_record()
            holder = await self._claim(record, claim)
            if holder == record.id:
                await self._publish_in_turn(record, claim, publish, by=record.id)
                return _accepted(record)
            found = await self._follow(holder, record, claim, publish)
            if found is not None:
                return found
        raise _key_is_contended(claim)

    async def _claim(self, record: JobRecord, claim: Claim) -> str:
        """Return the id of the job that holds the claim; undo it if the caller leaves meanwhile."""
        claiming = asyncio.ensure_future(
            self._store.claim(
                record,
                idempotency_key=claim.idempotency_key,
                body_sha256=claim.body_sha256,
                waited_for=claim.waited_for,
                publishing_s=self._turn_s,
                terms=claim.terms,
            )
        )
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._background.start(self._unclaim(claiming, record.id, claim))
            raise

    async def _unclaim(self, claiming: asyncio.Future[str], job_id: str, claim: Claim) -> None:
        # Once the claim has been answered: before that there may be nothing to undo yet.
        try:
            if await claiming != job_id:
                return
            if claim.idempotency_key:
                await self._store.give_up_publication(job_id, by=job_id)
            else:
                await self._store.abandon(job_id)
        except ArnoError:
            # What is left ends with its time to live, and no caller has its id.
            return

    async def _follow(
        self,
        holder: str,
        own: JobRecord,
        claim: Claim,
        publish: Callable[[JobRecord], Awaitable[None]],
    ) -> JobSnapshot | None:
        """Return the job that holds the key once the bus has it; None if the key is free again.

        Raises:
            BackendUnavailableError: Another call has the turn, and does not come to an end.
        """
        until_s = self._clock.monotonic_s() + self._turn_s + TURN_MARGIN_S
        pause_s = _FOLLOW_PAUSE_S
        while self._clock.monotonic_s() < until_s:
            found = await self._store.get(holder)
            raise_if_cancelled()  # else it would publish for a caller that has left
            if found is None:
                return None
            if self._may_be_replaced(found):
                await self._store.release(holder)
                return None
            if found.published or not _never_begun(found):
                return found
            if await self._store.take_publication(holder, by=own.id, for_s=self._turn_s):
                await self._publish_in_turn(_record_of(found, own), claim, publish, by=own.id)
                return found
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _FOLLOW_PAUSE_S_MAX)
        raise _key_is_contended(claim)

    async def _publish_in_turn(
        self,
        record: JobRecord,
        claim: Claim,
        publish: Callable[[JobRecord], Awaitable[None]],
        *,
        by: str,
    ) -> None:
        job_id = record.id
        try:
            await publish(record)
            if claim.idempotency_key:
                await self._note_published(job_id)
        except BaseException as error:
            # A record that is too large will be so again, with or without a key.
            if not claim.idempotency_key or isinstance(error, LimitExceededError):
                await self._finish(self._store.release(job_id))
            else:
                await self._finish(self._store.give_up_publication(job_id, by=by))
            raise

    async def _finish(self, request: Coroutine[Any, Any, None]) -> None:
        # The store may be away as well; then the claim ends with its time to live and the turn with
        # its own, and the caller gets the first error.
        with contextlib.suppress(BackendUnavailableError):
            await asyncio.shield(asyncio.ensure_future(request))

    async def _note_published(self, job_id: str) -> None:
        # If it cannot be noted, a retry costs a second record; the job is accepted all the same.
        with contextlib.suppress(BackendUnavailableError):
            await self._store.note_published(job_id)

    def _may_be_replaced(self, job: JobSnapshot) -> bool:
        """Return whether the key's job will never succeed, while another might."""
        match job.state:
            case JobState.EXPIRED | JobState.CANCELLED:
                return True
            case JobState.FAILED:
                return job.outcome is not None and job.outcome.error.retryable
            case _:
                return _never_begun(job) and job.deadline_at_ms <= self._clock.wall_ms()


def _never_begun(job: JobSnapshot) -> bool:
    return job.state is JobState.QUEUED and job.attempt_count == 0


def _accepted(record: JobRecord) -> JobSnapshot:
    return JobSnapshot(
        job_id=record.id,
        tenant=record.tenant,
        state=JobState.QUEUED,
        submitted_at_ms=record.submitted_at_ms,
        deadline_at_ms=record.deadline_at_ms,
        published=True,
    )


def _record_of(found: JobSnapshot, own: JobRecord) -> JobRecord:
    # The store's snapshot has no lane; a retry publishes the job on its own.
    return JobRecord(
        id=found.job_id,
        tenant=found.tenant,
        lane=own.lane,
        submitted_at_ms=found.submitted_at_ms,
        deadline_at_ms=found.deadline_at_ms,
    )


def _key_is_contended(claim: Claim) -> BackendUnavailableError:
    return BackendUnavailableError(
        f"idempotency_key: {claim.idempotency_key!r} is being retried by others right now",
        idempotency_key=claim.idempotency_key,
    )
