"""Submit a request and wait for its end: once for `Infer`, and for every frame of a stream.

The time of a call is divided between the work and its answer. A call of T seconds (its own
deadline, or the server's default, never above the maximum) has a margin of ``answer_margin_s``, or
a fifth of T where that is less. Work stops at T - margin, which is the deadline that workers see;
they then store what has ended. If the store reports no end until T - margin / 2, the gateway
answers with what the store holds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from arno.api.v1 import types_pb2, vision_pb2
from arno.errors import DeadlineExceededError, UnknownJobError
from arno.gateway.calls import note_job, require_tenant, store_lost_job_error
from arno.gateway.lifecycle import Canceller
from arno.gateway.outcomes import final_response
from arno.gateway.settings import GatewayLimits
from arno.gateway.submission import Submission, Submitter
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import JobSnapshot

_MARGIN_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True)
class TimeBudget:
    """The time of one call, in seconds from its start.

    Attributes:
        work_s: When workers stop.
        answer_s: When the gateway answers with what the store holds.
    """

    work_s: float
    answer_s: float


def time_budget(remaining_s: float | None, *, limits: GatewayLimits) -> TimeBudget:
    """Return the budget of a call.

    Args:
        remaining_s: Time until the call's own deadline; None where it has none.
        limits: Default, maximum and margin.

    Raises:
        DeadlineExceededError: Nothing is left.
    """
    total_s = limits.default_deadline_s if remaining_s is None else remaining_s
    total_s = min(total_s, limits.deadline_s_max)
    if total_s <= 0:
        raise DeadlineExceededError("the deadline of the call had passed when it was read")
    margin_s = min(limits.answer_margin_s, total_s * _MARGIN_SHARE)
    return TimeBudget(work_s=total_s - margin_s, answer_s=total_s - margin_s / 2)


class Inference:
    """Runs requests to their end. Lives in one asyncio loop."""

    def __init__(self, *, submitter: Submitter, store: GatewayStore, canceller: Canceller) -> None:
        """Take the started parts."""
        self._submitter = submitter
        self._store = store
        self._canceller = canceller

    async def run(
        self, submission: Submission, *, budget: TimeBudget, started_s: float
    ) -> vision_pb2.InferResponse:
        """Return the outcome of every task.

        When the caller leaves (this coroutine is cancelled), its job is cancelled too, unless the
        job has an idempotency key: then a retry may come to fetch it.

        Args:
            submission: The job.
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
                self._canceller.cancel_in_background(job_id)
            raise
        return final_response(snapshot, submission.request.tasks, submission.request.image)

    async def models(self) -> Sequence[types_pb2.Model]:
        """Return the models of the workers that are there, each once."""
        return await self._store.models()

    async def _wait(self, job_id: str, submission: Submission, until_s: float) -> JobSnapshot:
        try:
            return await self._store.wait(job_id, timeout_s=max(0.0, until_s - time.monotonic()))
        except TimeoutError:
            snapshot = await self._store.get(job_id)
            if snapshot is not None:
                return require_tenant(snapshot, job_id=job_id, tenant=submission.tenant)
            raise store_lost_job_error(job_id) from None
        except UnknownJobError:
            raise store_lost_job_error(job_id) from None
