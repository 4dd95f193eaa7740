"""The gateway's side of the result store."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, cast

from redis.exceptions import ResponseError

from arno.api.v1 import job_pb2, types_pb2
from arno.bus.v1.records_pb2 import JobOutcome
from arno.errors import (
    BackendUnavailableError,
    CancelledError,
    IdempotencyConflictError,
    UnknownJobError,
)
from arno.results.job_ids import made_at_ms
from arno.results.keys import PACE_TIME_TO_LIVE_S, KeySpace
from arno.results.ports import JobClaim, JobSnapshot
from arno.results.redis.cancellation import raise_if_cancelled
from arno.results.redis.clients import command_client, reading_client
from arno.results.redis.durability import warn_of_forgetting
from arno.results.redis.faults import is_foreign, translated
from arno.results.redis.lua import script_text
from arno.results.redis.script_line import TRIPS_MAX, ScriptLine
from arno.results.redis.stored_job import read_job
from arno.results.redis.waiting_room import Waiter, WaitingRoom, Wanted
from arno.results.redis.wake_ups import WakeUpLoop, WakeUpStatistics
from arno.results.settings import ResultSettings

_SINCE_LIVES_MS = 30 * 86_400_000
_LIFETIME_MS_MAX = 9 * 86_400_000
"""By default a job may take 7 days, and is kept for one more; older ones are simply over."""


class RedisJobStore:
    """Jobs in Redis, for one gateway. Lives in one asyncio loop; see ``ports.JobStore``.

    Any number of callers may wait: they share the connections of ``redis_connection_count_max`` and
    one more, on which one loop learns of changes.
    """

    def __init__(
        self,
        settings: ResultSettings,
        *,
        gateway: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take where Redis is, and the name of this gateway: unique among those that run.

        Args:
            settings: Where Redis is.
            gateway: What ``JobClaim.watcher`` says for jobs of this gateway.
            clock: Monotonic seconds.
        """
        self._keys = KeySpace(settings.redis_key_prefix)
        self._stream = self._keys.wake_ups(gateway)
        self._clock = clock
        self._room = WaitingRoom()
        self._redis = command_client(settings)
        self._reader = reading_client(settings)
        self._wake_ups = WakeUpLoop(
            self._reader, self._redis, self._stream, self._room, self._keys, clock
        )
        self._loop: asyncio.Task[None] | None = None
        self._closed = False
        self._line = ScriptLine(
            self._redis, trips_max=min(TRIPS_MAX, settings.redis_connection_count_max)
        )
        self._turns = asyncio.Semaphore(settings.redis_connection_count_max)
        register = self._redis.register_script
        self._claim_script = register(script_text("claim"))
        self._look_script = register(script_text("look"))
        self._cancel_script = register(script_text("request_cancel"))
        self._since_script = register(script_text("since"))
        self._take_publication_script = register(script_text("take_publication"))
        self._give_up_publication_script = register(script_text("give_up_publication"))
        self._note_published_script = register(script_text("note_published"))
        self._forget_script = register(script_text("forget"))
        self._paces_script = register(script_text("paces"))
        self._keep_blob_script = register(script_text("keep_blob"))

    async def start(self) -> None:
        """Connect, and begin to listen for wake-ups (before the first job is claimed)."""
        with translated("be reached"):
            await self._wake_ups.find_start()
            await self._since()
        await warn_of_forgetting(self._redis)
        self._loop = asyncio.create_task(self._wake_ups.run(), name="result wake-ups")

    async def close(self) -> None:
        """Stop listening and disconnect; those who still wait are told. Idempotent."""
        self._closed = True
        self._room.wake_all()
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
            self._loop = None
        await self._line.close()
        await self._reader.aclose()
        await self._redis.aclose()

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless Redis answers and wake-ups are being read."""
        if self._loop is None or self._loop.done():
            raise BackendUnavailableError("the result store does not listen", backend="redis")
        with translated("answer a ping"):
            # Asked so often, it says to the second when Redis came up empty.
            await self._since()

    async def may_have_forgotten(self, job_id: str) -> bool:
        """Say of a job that ``get`` does not know whether it may be there all the same."""
        made_ms = made_at_ms(job_id)
        if made_ms is None:
            return False
        with translated(f"say whether it may have forgotten job {job_id}"):
            since_ms = await self._since()
        age_ms = time.time_ns() // 1_000_000 - made_ms
        return made_ms < since_ms and age_ms < _LIFETIME_MS_MAX

    async def claim(self, claim: JobClaim) -> str:
        """Create the job in state QUEUED, unless its idempotency key is known; return its id."""
        keys = [
            *self._job_keys(claim.job_id),
            self._keys.idempotency(claim.tenant, claim.idempotency_key),
        ]
        arguments: list[str | int] = [
            claim.job_id,
            claim.tenant,
            claim.submitted_at_ms,
            claim.deadline_at_ms,
            claim.time_to_live_s,
            claim.lane,
            claim.body_sha256,
            self._keys.wake_ups(claim.watcher) if claim.watcher else "",
            int(bool(claim.idempotency_key)),
            round(1000 * claim.publishing_s),
        ]
        if claim.watcher and self._keys.wake_ups(claim.watcher) == self._stream:
            self._room.expect(claim.job_id)
        with translated(f"claim job {claim.job_id}"):
            holder: Any = await self._line.run(self._claim_script, keys=keys, args=arguments)
        job_id = str(holder[0], "utf-8")
        if job_id != claim.job_id:
            self._room.forget(claim.job_id)
        if str(holder[1], "utf-8") != claim.body_sha256:
            raise IdempotencyConflictError(claim.idempotency_key, job_id)
        return job_id

    async def take_publication(self, job_id: str, *, by: str, for_s: float) -> bool:
        """Say whether the caller shall put the job on the bus; nobody else is told so meanwhile."""
        keys = [self._keys.job(job_id)]
        with translated(f"say who publishes job {job_id}"):
            turn: Any = await self._line.run(
                self._take_publication_script, keys=keys, args=[by, round(1000 * for_s)]
            )
        return bool(turn)

    async def give_up_publication(self, job_id: str, *, by: str) -> None:
        """Let the next caller put the job on the bus, if this is whose turn it was."""
        keys = [self._keys.job(job_id)]
        with translated(f"let others publish job {job_id}"):
            await self._line.run(self._give_up_publication_script, keys=keys, args=[by])

    async def note_published(self, job_id: str) -> None:
        """Note that the bus has the job's record."""
        keys = [self._keys.job(job_id)]
        with translated(f"note that job {job_id} was published"):
            await self._line.run(self._note_published_script, keys=keys, args=[])

    async def release(self, job_id: str) -> None:
        """Forget a job that may not have reached the bus, with its idempotency key."""
        await self._forget(job_id, "release")

    async def abandon(self, job_id: str) -> None:
        """Forget without a trace a job that nobody has begun to put on the bus. Idempotent."""
        await self._forget(job_id, "abandon", tombstone=False)

    async def delete(self, job_id: str) -> None:
        """Forget the job, its results and its idempotency key. Idempotent."""
        await self._forget(job_id, "delete")

    async def get(self, job_id: str) -> JobSnapshot | None:
        """Return the job, or None where there is none."""
        async with self._turn(f"read job {job_id}"):
            try:
                fields: Any = await cast(
                    Awaitable[Any], self._redis.hgetall(self._keys.job(job_id))
                )
            except ResponseError as error:
                if not is_foreign(error):
                    raise
                fields = {}
        stored = read_job(job_id, fields)
        return None if stored is None else stored.snapshot

    async def wait(self, job_id: str, *, timeout_s: float) -> JobSnapshot:
        """Return the job when it has ended; short outages of Redis are waited out."""
        fault: BackendUnavailableError | None = None
        with self._room.seat(job_id, Wanted.END, self._clock()) as waiter:
            try:
                async with asyncio.timeout(timeout_s):
                    while True:
                        await self._hinted(waiter)
                        try:
                            snapshot, fault = await self._look(waiter), None
                            if snapshot.state.terminal:
                                return snapshot
                        except BackendUnavailableError as error:
                            fault = error
            except TimeoutError:
                if fault is not None:
                    raise fault from None
                raise

    async def watch(self, job_id: str) -> AsyncIterator[JobSnapshot]:
        """Yield the job now and after every change until it has ended.

        Changes that come faster than they are taken are seen as one.
        """
        with self._room.seat(job_id, Wanted.CHANGE, self._clock()) as waiter:
            snapshot = await self._look(waiter)
            yield snapshot
            while not snapshot.state.terminal:
                await self._hinted(waiter)
                seen = waiter.revision
                with contextlib.suppress(BackendUnavailableError):
                    snapshot = await self._look(waiter)
                    if waiter.revision != seen:
                        yield snapshot

    async def request_cancel(self, job_id: str) -> None:
        """Note that the job is to be stopped; one that nobody has begun ends at once."""
        outcome = _cancelled_before_begin().SerializeToString()
        keys = self._job_keys(job_id)
        with translated(f"cancel job {job_id}"):
            await self._line.run(self._cancel_script, keys=keys, args=[job_id, outcome])

    async def paces(self) -> Sequence[float]:
        """Return what each live worker gets done in a second, in cost; 0.0: never busy yet."""
        with translated("read the workers' paces"):
            found: Any = await self._line.run(
                self._paces_script, keys=[self._keys.paces()], args=[PACE_TIME_TO_LIVE_S]
            )
        return [float(pace) for pace in found]

    async def put_blob(self, content: bytes, *, time_to_live_s: int) -> str:
        """Keep an image, at least for the given time, and return its name: SHA-256, hex."""
        # Hashing 16 MiB takes tens of milliseconds, and lets other threads run.
        digest = await asyncio.to_thread(hashlib.sha256, content)
        sha256 = digest.hexdigest()
        key, left_ms = self._keys.blob(sha256), time_to_live_s * 1000
        async with self._turn(f"keep image {sha256}"):
            if not await self._keep_blob_script(keys=[key], args=[left_ms]):
                await self._redis.set(key, content, px=left_ms)
        return sha256

    def statistics(self) -> WakeUpStatistics:
        """Return the numbers of this moment."""
        return self._wake_ups.statistics()

    async def _since(self) -> int:
        since: Any = await self._since_script(keys=[self._keys.since()], args=[_SINCE_LIVES_MS])
        return int(since)

    async def _forget(self, job_id: str, verb: str, *, tombstone: bool = True) -> None:
        self._room.forget(job_id)
        with translated(f"{verb} job {job_id}"):
            await self._line.run(
                self._forget_script, keys=self._job_keys(job_id), args=[job_id, int(tombstone)]
            )

    async def _look(self, waiter: Waiter) -> JobSnapshot:
        self._require_open()
        # Cleared before reading: a change during the read hints again.
        waiter.hint.clear()
        keys, arguments = self._job_keys(waiter.job_id), [self._stream, waiter.wanted]
        with translated(f"read job {waiter.job_id}"):
            flat: Any = await self._line.run(self._look_script, keys=keys, args=arguments)
        stored = read_job(waiter.job_id, dict(zip(flat[::2], flat[1::2], strict=True)))
        if stored is None:
            raise UnknownJobError(waiter.job_id)
        waiter.looked_at_s = self._clock()
        waiter.revision = stored.revision
        return stored.snapshot

    async def _hinted(self, waiter: Waiter) -> None:
        self._require_open()
        raise_if_cancelled()
        await waiter.hint.wait()
        self._require_open()

    def _require_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError("the result store is closed", backend="redis")

    @contextlib.asynccontextmanager
    async def _turn(self, purpose: str) -> AsyncIterator[None]:
        # First come, first served, however many wait.
        async with self._turns:
            with translated(purpose):
                yield

    def _job_keys(self, job_id: str) -> list[str]:
        return [self._keys.job(job_id), self._keys.watchers(job_id)]


def _cancelled_before_begin() -> JobOutcome:
    fault = CancelledError("the job was cancelled before a worker began it")
    return JobOutcome(
        state=job_pb2.JOB_STATE_CANCELLED,
        error=types_pb2.Error(code=fault.code, reason=fault.reason, message=fault.message),
        ended_at_ms=time.time_ns() // 1_000_000,
    )
