"""Answer items by durable jobs of a running gateway, a bounded number at a time.

Each item is one job, whose idempotency key is made of the answer folder, the item and the content
of the image. A run that was killed and goes on submits the same keys, so it meets the jobs that it
left behind instead of running their work again. A job is deleted once its answer is kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from arno.bulk.answerer import Answered
from arno.bulk.item import Item
from arno.client import Client
from arno.client.bounded import as_they_end, patiently
from arno.errors import (
    ArnoError,
    CancelledError,
    Code,
    DeadlineExceededError,
    EngineError,
    InvalidRequestError,
    QuotaExceededError,
    UnavailableError,
    UnknownJobError,
)
from arno.vocabulary import Lane, TaskLike
from arno.vocabulary.results import InferResult, Job

logger = logging.getLogger(__name__)

_PASSING: Final = (
    UnavailableError,
    QuotaExceededError,
    # Of calls, not of jobs: the gateway did not answer, or the store lost the job.
    DeadlineExceededError,
    UnknownJobError,
)
_OF_ONE_CALL: Final = frozenset({Code.INTERNAL, Code.UNKNOWN, Code.ABORTED})
"""Faults that say nothing of other calls: the gateway failed at this one."""
_TELL_EVERY_S: Final = 15.0
_ENGINE_TRIES: Final = 2
"""A job that the engine failed at is submitted once more: the next worker may do better."""


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """How a run uses a gateway.

    Attributes:
        in_flight_max: Jobs that are open at once.
        patience_s: How long the gateway may be away or full, or a quota used up, before the run
            stops.
        lane: Priority class of the jobs.
        faults_max: Calls in a row at which the gateway itself may fail; at the next one the run
            stops.
    """

    in_flight_max: int = 32
    patience_s: float = 600.0
    lane: Lane = Lane.BATCH
    faults_max: int = 32


class GatewayAnswerer:
    """An `Answerer` over the `batch` lane of a gateway."""

    def __init__(
        self,
        client: Client,
        tasks: Sequence[TaskLike],
        *,
        run_id: str,
        options: GatewayOptions | None = None,
    ) -> None:
        """Take a client, which stays the caller's.

        Args:
            client: Used by several threads at once.
            tasks: The tasks of items without own.
            run_id: Names the answer folder: equal items of different folders are different jobs.
            options: Number of open jobs, patience, lane.
        """
        self._client = client
        self._tasks = tuple(tasks)
        self._run_id = run_id
        self._options = options or GatewayOptions()
        self._closing = threading.Event()
        self._told_at_s = -_TELL_EVERY_S
        self._faults = 0

    def answer(self, items: Iterable[Item]) -> Generator[Answered, None, None]:
        """Yield one outcome for each item, as the jobs end.

        Jobs that are open when the iterator is closed run on; a later run with the same `run_id`
        meets them.

        Raises:
            UnavailableError: The gateway was away or full for too long.
            QuotaExceededError: The quota was used up for too long.
            ArnoError: The gateway refuses every call, for example for the API key.
        """
        self._closing.clear()
        in_flight_max = self._options.in_flight_max
        pool = ThreadPoolExecutor(in_flight_max, "batch")
        try:
            yield from as_they_end(pool, in_flight_max, lambda item: self._ask(item, pool), items)
            # The last jobs are deleted.
            pool.shutdown()
        finally:
            self._closing.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, item: Item, pool: ThreadPoolExecutor) -> Answered:
        try:
            content = item.open_image()
            job = self._job_of(item, content)
        except InvalidRequestError as error:
            return Answered(item, error)
        except ArnoError as error:
            # Threads may lose a count: one fault more or less does not matter.
            self._faults += 1
            if error.code not in _OF_ONE_CALL or self._faults > self._options.faults_max:
                raise
            return Answered(item, error)
        self._faults = 0
        return Answered(item, _outcome(job), partial(self._release, job.id, pool))

    def _job_of(self, item: Item, content: bytes) -> Job:
        """Return the ended job of an item; wait while the gateway cannot take or follow it.

        Raises:
            InvalidRequestError: The item cannot be answered as it is.
            ArnoError: The gateway was away for too long, or refuses every call.
        """
        key = self._idempotency_key(item, content)
        for _ in range(_ENGINE_TRIES):
            job = patiently(
                lambda: self._run_job(item, content, key),
                passing=_PASSING,
                patience_s=self._options.patience_s,
                pause=self._pause,
            )
            if not isinstance(job.error, EngineError):
                break
        return job

    def _run_job(self, item: Item, content: bytes, key: str) -> Job:
        tasks = item.tasks or self._tasks
        lane = self._options.lane
        job = self._client.submit(content, *tasks, lane=lane, idempotency_key=key)
        return job if job.ended else self._client.wait(job.id)

    def _idempotency_key(self, item: Item, content: bytes) -> str:
        # With the content: a file that has changed since is another request.
        digest = hashlib.blake2b(digest_size=24)
        for part in (self._run_id.encode(), item.key.encode("utf-8", "surrogateescape"), content):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return f"batch-{digest.hexdigest()}"

    def _pause(self, error: ArnoError, delay_s: float) -> None:
        now_s = time.monotonic()
        if now_s - self._told_at_s >= _TELL_EVERY_S:
            self._told_at_s = now_s
            patience_s = self._options.patience_s
            logger.warning("%s; trying again for up to %g s", error.message, patience_s)
        if self._closing.wait(delay_s):
            raise CancelledError("the run has ended")

    def _release(self, job_id: str, pool: ThreadPoolExecutor) -> None:
        def delete() -> None:
            # The store forgets it by itself a day later.
            with contextlib.suppress(ArnoError):
                self._client.delete(job_id)

        with contextlib.suppress(RuntimeError):  # the pool has been shut down
            pool.submit(delete)


def _outcome(job: Job) -> InferResult | ArnoError:
    if job.result is not None and any(result.ok for result in job.result):
        return job.result
    if job.error is not None:
        return job.error
    if job.result is not None:
        return job.result
    return CancelledError(f"job {job.id} ended as {job.state} without a result", job_id=job.id)
