"""Reads jobs for a gateway, and ends those that no worker is going to end.

A deadline is kept by the worker that holds the job. Where none does, because no worker runs or the
bus has lost the record, the job ends when it is read: so every caller that reads, waits or watches
learns of its end, with workers or without.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from arno.bus.v1.records_pb2 import JobOutcome
from arno.errors import BackendUnavailableError, DeadlineExceededError
from arno.ops.clock import Clock
from arno.ops.redis_access import holds_foreign_type
from arno.results.connection import translated
from arno.results.jobs import OVERDUE_MS, JobSnapshot, read_snapshot
from arno.results.keys import KeySpace
from arno.results.script_batcher import ScriptBatcher
from arno.results.scripts import script_text
from arno.results.waiting import WakeOn
from arno.vocabulary import JobState
from arno.vocabulary.wire import state_to_wire
from arno.vocabulary.wire_results import error_to_wire


class JobReader:
    """Reads jobs as they are now. Lives in one asyncio loop."""

    def __init__(
        self, client: Redis, batcher: ScriptBatcher, *, keys: KeySpace, stream: str, clock: Clock
    ) -> None:
        """Take the parts.

        Args:
            client: Of commands.
            batcher: Runs scripts.
            keys: The key space.
            stream: The stream of wake-ups of this gateway.
            clock: The time; what the store has decides.
        """
        self._redis = client
        self._batcher = batcher
        self._keys = keys
        self._stream = stream
        self._clock = clock
        self._look_script = client.register_script(script_text("look"))
        self._expire_script = client.register_script(script_text("expire"))

    async def get(self, job_id: str) -> JobSnapshot | None:
        """Return the job, or None where the store does not hold it."""
        snapshot = await self._get(job_id)
        if snapshot is not None and await self._expire_overdue(snapshot):
            return await self._get(job_id)
        return snapshot

    async def look(self, job_id: str, wake_on: WakeOn) -> JobSnapshot | None:
        """Do what ``get`` does, and make this gateway a watcher of a job that has not ended."""
        snapshot = await self._look(job_id, wake_on)
        if snapshot is not None and await self._expire_overdue(snapshot):
            return await self._look(job_id, wake_on)
        return snapshot

    async def _get(self, job_id: str) -> JobSnapshot | None:
        with translated(f"read job {job_id}"):
            try:
                fields: Any = await cast(
                    Awaitable[Any], self._redis.hgetall(self._keys.job(job_id))
                )
            except ResponseError as fault:
                if not holds_foreign_type(fault):
                    raise
                fields = {}
        return read_snapshot(job_id, fields)

    async def _look(self, job_id: str, wake_on: WakeOn) -> JobSnapshot | None:
        keys = [self._keys.job(job_id), self._keys.watchers(job_id)]
        with translated(f"read job {job_id}"):
            flat: Any = await self._batcher.run(
                self._look_script, keys=keys, args=[self._stream, wake_on]
            )
        return read_snapshot(job_id, dict(zip(flat[::2], flat[1::2], strict=True)))

    async def _expire_overdue(self, snapshot: JobSnapshot) -> bool:
        """End a job that no worker is going to end; return whether it has ended now."""
        now_ms = self._clock.wall_ms()
        if not snapshot.is_overdue(now_ms):
            return False
        job_id = snapshot.job_id
        keys = [self._keys.job(job_id), self._keys.watchers(job_id)]
        arguments: list[str | int | bytes] = [
            job_id,
            OVERDUE_MS,
            _expired(now_ms).SerializeToString(),
        ]
        # A store that is full can still be read; the job is then shown as it is.
        with (
            contextlib.suppress(BackendUnavailableError),
            translated(f"end job {job_id}, whose deadline is over"),
        ):
            return bool(await self._batcher.run(self._expire_script, keys=keys, args=arguments))
        return False


def _expired(now_at_ms: int) -> JobOutcome:
    error = DeadlineExceededError("the deadline passed, and no worker had the job in hand")
    return JobOutcome(
        state=state_to_wire(JobState.EXPIRED), error=error_to_wire(error), ended_at_ms=now_at_ms
    )
