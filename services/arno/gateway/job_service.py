"""`JobService`: submit work now, come back for it later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

from arno.api.v1 import job_pb2, job_pb2_grpc
from arno.errors import ArnoError, UnknownJobError
from arno.gateway.admission import Admission, Demand
from arno.gateway.calls import (
    note_job,
    require_tenant,
    store_lost_job_error,
    this_caller,
)
from arno.gateway.lifecycle import Drain
from arno.gateway.outcomes import job_to_wire
from arno.gateway.submission import Submission, Submitter
from arno.gateway.task_validation import parse_tasks
from arno.gateway.validation import (
    RequestChecker,
    check_idempotency_key,
    check_job_id,
    check_notify,
    check_time_to_live,
)
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import JobSnapshot
from arno.vocabulary import Lane
from arno.vocabulary.wire import lane_from_wire


class JobService(job_pb2_grpc.JobServiceServicer):
    """Serves durable jobs. Lives in the server's loop."""

    def __init__(
        self,
        *,
        admission: Admission,
        checker: RequestChecker,
        submitter: Submitter,
        store: GatewayStore,
        drain: Drain,
    ) -> None:
        """Take the started parts."""
        self._admission = admission
        self._checker = checker
        self._submitter = submitter
        self._store = store
        self._limits = checker.limits
        self._drain = drain

    async def SubmitJob(
        self, request: job_pb2.SubmitJobRequest, context: Any
    ) -> job_pb2.SubmitJobResponse:
        """Accept a job, and answer once the bus has it."""
        lane = lane_from_wire(request.lane, default=Lane.BATCH)
        key = check_idempotency_key(request.idempotency_key)
        notify = check_notify(request.notify)
        work_s = check_time_to_live(
            request.time_to_live if request.HasField("time_to_live") else None,
            default_s=self._limits.job_time_to_live_s,
            max_s=self._limits.job_time_to_live_s_max,
        )
        tenant, content = this_caller().tenant, request.image.content
        with self._admission.admit(tenant, Demand(len(content), lane, work_s)):
            tasks = parse_tasks(request.tasks, limits=self._limits)
            checked = await self._checker.check(content, tasks, tenant=tenant)
            submission = Submission(
                checked,
                tenant=tenant,
                lane=lane,
                work_s=work_s,
                idempotency_key=key,
                notify=notify,
                waited_for=False,
            )
            job = await self._submitter.submit(submission)
        # Not read back: the store may be away by now, and the job is accepted all the same.
        note_job(job.job_id)
        return job_pb2.SubmitJobResponse(job=job_to_wire(job))

    async def GetJob(self, request: job_pb2.GetJobRequest, context: Any) -> job_pb2.GetJobResponse:
        """Return the state of a job."""
        return job_pb2.GetJobResponse(job=job_to_wire(await self._own_job(request.job_id)))

    async def WatchJob(
        self, request: job_pb2.WatchJobRequest, context: Any
    ) -> AsyncIterator[job_pb2.WatchJobResponse]:
        """Yield a job at every change until it has ended."""
        job_id = (await self._own_job(request.job_id)).job_id
        # The store's iterator is a generator; closing it unregisters the waiter.
        async with aclosing(cast("Any", self._store.watch(job_id))) as changes:
            try:
                while (snapshot := await self._next_change(changes)) is not None:
                    require_tenant(snapshot, job_id=job_id, tenant=this_caller().tenant)
                    yield job_pb2.WatchJobResponse(job=job_to_wire(snapshot))
            except UnknownJobError:
                raise await self._unknown(job_id) from None

    async def CancelJob(
        self, request: job_pb2.CancelJobRequest, context: Any
    ) -> job_pb2.CancelJobResponse:
        """Request that a job be cancelled, and return its state."""
        await self._own_job(request.job_id)
        await self._store.request_cancel(request.job_id)
        return job_pb2.CancelJobResponse(job=job_to_wire(await self._own_job(request.job_id)))

    async def DeleteJob(
        self, request: job_pb2.DeleteJobRequest, context: Any
    ) -> job_pb2.DeleteJobResponse:
        """Delete a job; succeed too where it is unknown or belongs to another tenant."""
        try:
            await self._own_job(request.job_id)
        except UnknownJobError:
            return job_pb2.DeleteJobResponse()
        await self._store.delete(request.job_id)
        return job_pb2.DeleteJobResponse()

    async def _own_job(self, job_id: str) -> JobSnapshot:
        job_id = check_job_id(job_id)
        note_job(job_id)
        snapshot = await self._store.get(job_id)
        if snapshot is None:
            raise await self._unknown(job_id)
        return require_tenant(snapshot, job_id=job_id, tenant=this_caller().tenant)

    async def _unknown(self, job_id: str) -> ArnoError:
        """Return the error of a job that the store does not know."""
        store_is_newer = await self._store.is_newer_than(job_id)
        return store_lost_job_error(job_id) if store_is_newer else UnknownJobError(job_id)

    async def _next_change(self, changes: AsyncIterator[JobSnapshot]) -> JobSnapshot | None:
        """Return the next snapshot, None after the last; a draining gateway ends the watch."""
        change = asyncio.ensure_future(anext(changes, None))
        leaving = asyncio.create_task(self._drain.wait())
        try:
            await asyncio.wait({change, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not change.done():
                raise self._drain.refusal()
            return await change
        finally:
            for task in (change, leaving):
                task.cancel()
            await asyncio.gather(change, leaving, return_exceptions=True)
