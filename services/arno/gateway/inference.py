"""Submit a request and wait for its end: what `Infer` does once, and a stream for every frame."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from arno.api.v1 import vision_pb2
from arno.errors import UnknownJobError
from arno.gateway.admission import Ask
from arno.gateway.calls import note_job
from arno.gateway.cancellation import Canceller
from arno.gateway.deadlines import TimeBudget
from arno.gateway.entrance import Entrance
from arno.gateway.outcomes import final_response
from arno.gateway.submission import Submission, Submitter
from arno.gateway.tenancy import lost_sight, owned
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import JobSnapshot


class Inference:
    """Runs requests to their end. Lives in one asyncio loop."""

    def __init__(
        self,
        *,
        entrance: Entrance,
        submitter: Submitter,
        store: GatewayStore,
        canceller: Canceller,
    ) -> None:
        """Take the started parts."""
        self._entrance = entrance
        self._submitter = submitter
        self._store = store
        self._canceller = canceller

    def enter(self, tenant: str, ask: Ask) -> AbstractContextManager[None]:
        """Hold a place for a request, before its image is looked at, until it is answered.

        Raises:
            QuotaExceededError: The tenant has as much in flight as it may. Retryable.
            UnavailableError: So has the gateway, or a backend is away. Retryable.
        """
        return self._entrance.enter(tenant, ask)

    def keep(self, ask: Ask) -> Callable[[], None]:
        """Count the image of a request that is not entered yet; return what takes it off again.

        Raises:
            OverloadedError: The gateway holds as many bytes as it may. Retryable.
        """
        return self._entrance.keep(ask)

    async def run(
        self, submission: Submission, *, budget: TimeBudget, started_s: float
    ) -> vision_pb2.InferResponse:
        """Return the outcome of every task.

        A caller that leaves (this coroutine is cancelled) takes its job with it, unless the job has
        an idempotency key: then a retry may come to fetch it.

        Args:
            submission: What is to be done.
            budget: How long it may take.
            started_s: When the call began, on the monotonic clock of the process.

        Raises:
            ArnoError: The request was not accepted.
            JobFailedError: It was, and no task was answered.
        """
        job_id = (await self._submitter.submit(submission)).job_id
        note_job(job_id)
        try:
            snapshot = await self._wait(job_id, submission, started_s + budget.answer_s)
        except asyncio.CancelledError:
            if not submission.idempotency_key:
                self._canceller.cancel_soon(job_id)
            raise
        return final_response(snapshot, submission.request.tasks, submission.request.image)

    async def _wait(self, job_id: str, submission: Submission, until_s: float) -> JobSnapshot:
        try:
            return await self._store.wait(job_id, timeout_s=max(0.0, until_s - time.monotonic()))
        except TimeoutError:
            snapshot = await self._store.get(job_id)
            if snapshot is not None:
                return owned(snapshot, job_id=job_id, tenant=submission.tenant)
            raise lost_sight(job_id) from None
        except UnknownJobError:
            raise lost_sight(job_id) from None
