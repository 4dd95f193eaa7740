"""The gateway's side of the result store: claim jobs, wait for their ends, cancel and delete."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

from arno.api.v1 import types_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.errors import (
    BackendUnavailableError,
    CancelledError,
    IdempotencyConflictError,
    UnknownJobError,
)
from arno.ops.cancellation import raise_if_cancelled
from arno.ops.clock import SYSTEM_CLOCK, Clock
from arno.results.blobs import BlobWriter, stored_bytes_error
from arno.results.connection import (
    command_client,
    reading_client,
    translated,
    warn_of_unsafe_settings,
)
from arno.results.job_reader import JobReader
from arno.results.jobs import PLAIN_TERMS, JobSnapshot, JobTerms
from arno.results.keys import GATEWAY_TIME_TO_LIVE_S, PACE_TIME_TO_LIVE_S, KeySpace
from arno.results.script_batcher import ROUND_TRIPS_MAX, ScriptBatcher
from arno.results.scripts import script_text
from arno.results.settings import ResultSettings
from arno.results.store_health import StoreHealth
from arno.results.waiting import Waiter, Waiters, WakeOn, WakeUpLoop
from arno.vocabulary import JobState
from arno.vocabulary.wire import lane_of_record, state_to_wire
from arno.vocabulary.wire_results import error_to_wire


class GatewayStore:
    """The jobs in Redis, as one gateway uses them. Lives in one asyncio loop.

    Redis holds the truth about a job; a wake-up is a hint to read it again. Any number of callers
    may wait: they share ``redis_connection_count_max`` connections, and one more on which a loop
    reads the wake-ups. Every method may raise BackendUnavailableError.
    """

    def __init__(
        self,
        settings: ResultSettings,
        *,
        gateway: str,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Take the settings; nothing is connected yet.

        Args:
            settings: Where Redis is, and how long it keeps a job.
            gateway: Names this gateway's stream of wake-ups: unique among those that run.
            clock: The time; a `StoreClock` follows the store with every ping.
        """
        self._keys = KeySpace(settings.redis_key_prefix)
        self._time_to_live_s = settings.result_time_to_live_s
        self._gateway = gateway
        self._stream = self._keys.wake_ups(gateway)
        self._clock = clock
        self._waiters = Waiters()
        self._redis = command_client(settings)
        self._reader = reading_client(settings)
        self._wake_ups = WakeUpLoop(
            self._reader, self._redis, self._stream, self._waiters, self._keys, clock
        )
        self._loop: asyncio.Task[None] | None = None
        self._closed = False
        self._batcher = ScriptBatcher(
            self._redis, round_trips_max=min(ROUND_TRIPS_MAX, settings.redis_connection_count_max)
        )
        self._jobs = JobReader(
            self._redis, self._batcher, keys=self._keys, stream=self._stream, clock=clock
        )
        self._health = StoreHealth(self._redis, self._keys, clock)
        self._connections = asyncio.Semaphore(settings.redis_connection_count_max)
        register = self._redis.register_script
        self._claim_script = register(script_text("claim"))
        self._cancel_script = register(script_text("request_cancel"))
        self._take_publication_script = register(script_text("take_publication"))
        self._give_up_publication_script = register(script_text("give_up_publication"))
        self._note_published_script = register(script_text("note_published"))
        self._forget_script = register(script_text("forget"))
        self._paces_script = register(script_text("paces"))
        self._models_script = register(script_text("models"))
        self._gateways_script = register(script_text("gateways"))
        self._blobs = BlobWriter(self._redis, self._keys, self._connections)

    async def start(self) -> None:
        """Connect, and begin to read wake-ups; call it before the first claim."""
        with translated("be reached"):
            await self._wake_ups.find_start()
            await self._health.since_ms()
        await warn_of_unsafe_settings(self._redis)
        self._loop = asyncio.create_task(self._wake_ups.run(), name="result wake-ups")

    async def close(self) -> None:
        """Stop reading wake-ups and disconnect; waiting callers get an error. Idempotent."""
        self._closed = True
        self._waiters.wake_all()
        if self._loop is not None:
            self._loop.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop
            self._loop = None
        await self._batcher.close()
        await self._reader.aclose()
        await self._redis.aclose()

    @property
    def blobs(self) -> BlobWriter:
        """Where large images are put."""
        return self._blobs

    @property
    def clock(self) -> Clock:
        """The time, as the store has it where its clock follows."""
        return self._clock

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless Redis answers and wake-ups are being read.

        Raises:
            BackendFullError: It answers, and has no memory left.
        """
        if self._loop is None or self._loop.done():
            raise BackendUnavailableError("the result store does not listen", backend="redis")
        await self._health.ping()

    async def memory_bytes(self) -> tuple[int, int] | None:
        """Return used memory and its limit (or its machine's); None where we may not ask."""
        return await self._health.memory_bytes()

    async def claim(
        self,
        record: JobRecord,
        *,
        idempotency_key: str = "",
        body_sha256: str = "",
        waited_for: bool = False,
        publishing_s: float = 0.0,
        terms: JobTerms = PLAIN_TERMS,
    ) -> str:
        """Create the job in state QUEUED, unless its idempotency key is known; return its id.

        Where the key is known with the same body, nothing is created, and the id is that of the
        job that holds the key.

        Args:
            record: The job; its image and its tasks are not looked at.
            idempotency_key: The caller's key, or empty.
            body_sha256: Digest of what the key stands for; compared when the key comes again.
            waited_for: Whether the end of the job shall wake this gateway.
            publishing_s: How long only the claimant may publish a job with a key. 0: the next
                caller may.
            terms: How long the job is kept, how much its tenant may store, which subscriptions
                get its end.

        Raises:
            IdempotencyConflictError: The key is known with another body.
            QuotaExceededError: The tenant would store more than it may.
        """
        keys = [
            *self._job_keys(record.id),
            self._keys.idempotency(record.tenant, idempotency_key),
            self._keys.stored(record.tenant),
        ]
        kept_s = terms.time_to_live_s
        arguments: list[str | int] = [
            record.id,
            record.tenant,
            record.submitted_at_ms,
            record.deadline_at_ms,
            self._time_to_live_s if kept_s is None else kept_s,
            lane_of_record(record.lane).value,
            body_sha256,
            self._stream if waited_for else "",
            int(bool(idempotency_key)),
            round(1000 * publishing_s),
            ",".join(terms.notify),
            terms.stored_bytes_max or 0,
        ]
        if waited_for:
            self._waiters.preregister(record.id)
        with translated(f"claim job {record.id}"):
            holder: Any = await self._batcher.run(self._claim_script, keys=keys, args=arguments)
        job_id = str(holder[0], "utf-8")
        if job_id != record.id:
            self._waiters.forget(record.id)
        if not job_id:
            raise stored_bytes_error(holder[2], terms.stored_bytes_max)
        if str(holder[1], "utf-8") != body_sha256:
            raise IdempotencyConflictError(idempotency_key, job_id)
        return job_id

    async def take_publication(self, job_id: str, *, by: str, for_s: float) -> bool:
        """Return whether it is the caller's turn to publish the job. Idempotent.

        It is, if no worker has begun the job, its publication has not been noted, and no other
        caller has the turn. The turn lasts until it is given up, the publication is noted, or
        ``for_s`` seconds have passed.

        Args:
            job_id: The job.
            by: Unique to the caller; for a claimant, the id that it claimed.
            for_s: How long the turn may last.
        """
        keys = [self._keys.job(job_id)]
        with translated(f"take over the publication of job {job_id}"):
            turn: Any = await self._batcher.run(
                self._take_publication_script, keys=keys, args=[by, round(1000 * for_s)]
            )
        return bool(turn)

    async def give_up_publication(self, job_id: str, *, by: str) -> None:
        """End the turn of ``by`` to publish the job; another's turn stays. Idempotent."""
        keys = [self._keys.job(job_id)]
        with translated(f"let others publish job {job_id}"):
            await self._batcher.run(self._give_up_publication_script, keys=keys, args=[by])

    async def note_published(self, job_id: str) -> None:
        """Note that the bus has the job's record. Idempotent; an unknown job stays unknown."""
        keys = [self._keys.job(job_id)]
        with translated(f"note that job {job_id} was published"):
            await self._batcher.run(self._note_published_script, keys=keys, args=[])

    async def abandon(self, job_id: str) -> None:
        """Forget without a trace a job whose publication has not begun. Idempotent."""
        await self._forget(job_id, "abandon", tombstone=False)

    async def release(self, job_id: str) -> None:
        """Forget a job that may not have reached the bus, with its idempotency key.

        Should its record reach a worker after all, the job is not begun.
        """
        await self._forget(job_id, "release")

    async def delete(self, job_id: str) -> None:
        """Forget the job, its results and its idempotency key. Idempotent.

        A worker that still runs it finds it gone and stops; a record that is delivered again is
        not begun.
        """
        await self._forget(job_id, "delete")

    async def get(self, job_id: str) -> JobSnapshot | None:
        """Return the job, or None where the store does not hold it."""
        # First come, first served, however many read.
        async with self._connections:
            return await self._jobs.get(job_id)

    async def is_newer_than(self, job_id: str) -> bool:
        """Return whether the store came up empty after the job was named.

        If so, a job that ``get`` does not know may exist all the same: its record can be on the
        bus. False for ids that Arno did not make, and for jobs that are over by their age.
        """
        return await self._health.is_newer_than(job_id)

    async def wait(self, job_id: str, *, timeout_s: float) -> JobSnapshot:
        """Return the job when it has ended; short outages of Redis are waited out.

        Raises:
            TimeoutError: It has not ended in time.
            UnknownJobError: The store does not hold it, or no longer.
            BackendUnavailableError: The time is over, and Redis did not answer the last read.
        """
        error: BackendUnavailableError | None = None
        with self._waiters.register(job_id, WakeOn.END, self._clock.monotonic_s()) as waiter:
            try:
                async with asyncio.timeout(timeout_s):
                    while True:
                        await self._hinted(waiter)
                        try:
                            snapshot, error = await self._read(waiter), None
                            if snapshot.state.ended:
                                return snapshot
                        except BackendUnavailableError as raised:
                            error = raised
            except TimeoutError:
                if error is not None:
                    raise error from None
                raise

    async def watch(self, job_id: str) -> AsyncIterator[JobSnapshot]:
        """Yield the job now and after every change until it has ended.

        Changes that come faster than the caller takes them are seen as one. The last is the end,
        also where Redis lost the job meanwhile and a worker made it again.

        Raises:
            UnknownJobError: The store does not hold it, or no longer.
        """
        with self._waiters.register(job_id, WakeOn.CHANGE, self._clock.monotonic_s()) as waiter:
            snapshot = await self._read(waiter)
            yield snapshot
            while not snapshot.state.ended:
                await self._hinted(waiter)
                seen = waiter.version
                with contextlib.suppress(BackendUnavailableError):
                    snapshot = await self._read(waiter)
                    if snapshot.state.ended or waiter.version != seen:
                        yield snapshot

    async def request_cancel(self, job_id: str) -> None:
        """Note that the job is to be cancelled; a job that no worker has begun ends at once.

        Idempotent; a job that has ended, or that is unknown, stays as it is.
        """
        outcome = _cancelled_before_begin(self._clock.wall_ms()).SerializeToString()
        keys = self._job_keys(job_id)
        with translated(f"cancel job {job_id}"):
            await self._batcher.run(self._cancel_script, keys=keys, args=[job_id, outcome])

    async def paces(self) -> Sequence[float]:
        """Return the cost per second that each live worker completes; 0.0: never busy yet."""
        with translated("read the workers' paces"):
            found: Any = await self._batcher.run(
                self._paces_script, keys=[self._keys.paces()], args=[PACE_TIME_TO_LIVE_S]
            )
        return [float(pace) for pace in found]

    async def models(self) -> Sequence[types_pb2.Model]:
        """Return the models of the live workers, each once, by name."""
        with translated("read the workers' models"):
            found: Any = await self._batcher.run(
                self._models_script, keys=[self._keys.models()], args=[PACE_TIME_TO_LIVE_S]
            )
        models = [types_pb2.Model.FromString(bytes(one)) for one in sorted(set(found))]
        return sorted(models, key=lambda model: model.name)

    async def gateway_count(self) -> int:
        """Note that this gateway serves, and return how many do, itself among them."""
        args: list[str | int] = [self._gateway, GATEWAY_TIME_TO_LIVE_S]
        with translated("count the gateways"):
            count: Any = await self._batcher.run(
                self._gateways_script, keys=[self._keys.gateways()], args=args
            )
        return int(count)

    async def _forget(self, job_id: str, verb: str, *, tombstone: bool = True) -> None:
        self._waiters.forget(job_id)
        with translated(f"{verb} job {job_id}"):
            await self._batcher.run(
                self._forget_script, keys=self._job_keys(job_id), args=[job_id, int(tombstone)]
            )

    async def _read(self, waiter: Waiter) -> JobSnapshot:
        self._require_open()
        # Cleared before reading: a change during the read hints again.
        waiter.hint.clear()
        snapshot = await self._jobs.look(waiter.job_id, waiter.wake_on)
        if snapshot is None:
            raise UnknownJobError(waiter.job_id)
        waiter.read_at_s = self._clock.monotonic_s()
        waiter.version = snapshot.version
        return snapshot

    async def _hinted(self, waiter: Waiter) -> None:
        self._require_open()
        raise_if_cancelled()
        await waiter.hint.wait()
        self._require_open()

    def _require_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError("the result store is closed", backend="redis")

    def _job_keys(self, job_id: str) -> list[str]:
        return [self._keys.job(job_id), self._keys.watchers(job_id)]


def _cancelled_before_begin(now_at_ms: int) -> JobOutcome:
    return JobOutcome(
        state=state_to_wire(JobState.CANCELLED),
        error=error_to_wire(CancelledError("the job was cancelled before a worker began it")),
        ended_at_ms=now_at_ms,
    )
