"""A gateway's hands without its face: puts jobs on the bus and looks at them in the store."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from arno.api.v1 import types_pb2
from arno.bus import Record, make_publisher
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import JobSnapshot
from arno.worker.settings import WorkerSettings
from support.builders import new_job, wire_task
from support.eventually import eventually
from support.images import png

Value = TypeVar("Value")


def caption(task_id: str = "0") -> types_pb2.TaskSpec:
    return wire_task("CAPTION", id=task_id)


def job_record(
    *tasks: types_pb2.TaskSpec, image: bytes | None = None, timeout_s: float = 600.0
) -> JobRecord:
    return new_job(
        tenant="default",
        deadline_at_ms=time.time_ns() // 1_000_000 + round(timeout_s * 1000),
        inline_image=png() if image is None else image,
        tasks=tasks or [caption()],
    )


class JobClient:
    """Publishes and looks, from any thread, through a loop of its own."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="job-client")

    def __enter__(self) -> JobClient:
        self._thread.start()
        self._await(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, record: JobRecord, *, headers: dict[str, bytes] | None = None) -> str:
        self._await(self._store.claim(record))
        self.publish(record.SerializeToString(), headers=headers)
        return record.id

    def submit_all(self, records: Sequence[JobRecord]) -> list[str]:
        return [self.submit(record) for record in records]

    def publish(self, value: bytes, *, headers: dict[str, bytes] | None = None) -> None:
        record = Record("interactive", value, headers or {})
        self._await(self._publisher.publish(record, timeout_s=10))

    def put_blob(self, content: bytes) -> str:
        return self._await(self._store.blobs.put(content, time_to_live_s=60))

    def cancel(self, job_id: str) -> None:
        self._await(self._store.request_cancel(job_id))

    def delete(self, job_id: str) -> None:
        self._await(self._store.delete(job_id))

    def look(self, job_id: str) -> JobSnapshot:
        snapshot = self._await(self._store.get(job_id))
        assert snapshot is not None, f"no job {job_id}"
        return snapshot

    def find(self, job_id: str) -> JobOutcome | None:
        """Return a job's end; None where it has none, or where there is no such job."""
        snapshot = self._await(self._store.get(job_id))
        return None if snapshot is None else snapshot.outcome

    def outcome(self, job_id: str, *, timeout_s: float = 20.0) -> JobOutcome:
        return eventually(
            lambda: self.look(job_id).outcome, timeout_s=timeout_s, what=f"{job_id} has ended"
        )

    def _await(self, coroutine: Coroutine[Any, Any, Value]) -> Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _open(self) -> None:
        self._publisher = make_publisher(self._settings)
        self._store = GatewayStore(self._settings, gateway=uuid.uuid4().hex)
        await self._publisher.start()
        await self._store.start()

    async def _close(self) -> None:
        await self._publisher.close()
        await self._store.close()
