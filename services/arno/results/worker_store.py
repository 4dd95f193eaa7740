"""The worker's side of the result store: begin attempts, write progress and ends, read images."""

from __future__ import annotations

import hashlib
import itertools
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from arno.api.v1 import types_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.errors import StoredJobError
from arno.ops.redis_access import holds_foreign_type
from arno.results.connection import translated, translated_for_job, worker_client
from arno.results.jobs import Attempt
from arno.results.keys import PACE_TIME_TO_LIVE_S, WORKER_END_TIME_TO_LIVE_S, KeySpace
from arno.results.scripts import ScriptCall, script_is_lost, script_text
from arno.results.settings import ResultSettings
from arno.vocabulary import JobState
from arno.vocabulary.job import DEFAULT_TENANT
from arno.vocabulary.wire import state_from_wire

logger = logging.getLogger(__name__)

_ANY_DEATHS: Final = -1

_PART_BYTES: Final = 1024 * 1024
"""Of an image that is read: takes Redis half a millisecond, in which it serves no other caller."""


@dataclass(frozen=True, slots=True)
class Update:
    """What is to be written of one job: its progress, or its end.

    Attributes:
        attempt: Whose it is.
        state: While it runs.
        decoded_token_count: Likewise; tokens so far, over all tasks.
        task_results: Likewise; new ones, index to serialized TaskResult.
        outcome: Its end; None while there is none.
    """

    attempt: Attempt
    state: JobState = JobState.QUEUED
    decoded_token_count: int = 0
    task_results: Mapping[int, bytes] = field(default_factory=dict)
    outcome: JobOutcome | None = None


class WorkerStore:
    """The jobs in Redis, as one worker uses them. Blocking and thread-safe.

    Every method may raise BackendUnavailableError, and may then be called again with the same
    arguments: what was applied before the reply was lost is not applied twice. Methods that change
    a job may raise StoredJobError, and would again: the store holds something foreign for it.
    """

    def __init__(self, settings: ResultSettings, *, silence_s: float = 5.0) -> None:
        """Take the settings; connects with the first call.

        Args:
            settings: Where Redis is, and how long it keeps a job.
            silence_s: A worker without a sign of life for this time counts as dead. Shorter than
                the bus takes to redeliver its records, so that the next worker knows it by then.
        """
        self._keys = KeySpace(settings.redis_key_prefix)
        self._time_to_live_s = settings.result_time_to_live_s
        self._worker = self._keys.worker(uuid.uuid4().hex)
        self._silence_ms = max(1, round(1000 * silence_s))
        self._redis = worker_client(settings)
        register = self._redis.register_script
        self._begin_script = register(script_text("begin"))
        self._progress_script = register(script_text("progress"))
        self._finish_script = register(script_text("finish"))
        self._pace_script = register(script_text("report_pace"))
        self._alive_script = register(script_text("report_alive"))
        self._gone_script = register(script_text("report_gone"))
        self._cancelled_script = register(script_text("cancelled"))

    def begin(self, record: JobRecord, *, deaths_max: int | None = None) -> Attempt:
        """Begin an attempt, before any work, and note that this worker holds the job.

        A job that the store has lost is created again from its record. A job that was deleted is
        not: its attempt has state CANCELLED and number 0.

        Args:
            record: The job.
            deaths_max: Begin nothing where this many workers, or more, have died while they held
                the job. A worker that left in order, or that gives signs of life, has not died.
        """
        with translated_for_job(f"begin job {record.id}"):
            reply: Any = self._begin_script(
                keys=[*self._job_keys(record), self._worker],
                args=[
                    *self._fields(record),
                    uuid.uuid4().hex,
                    self._silence_ms,
                    _ANY_DEATHS if deaths_max is None else deaths_max,
                ],
            )
        number, state, cancel_requested, death_count, begun = reply
        return Attempt(
            record,
            number,
            JobState(state.decode()),
            cancel_requested=bool(cancel_requested),
            death_count=death_count,
            begun=bool(begun),
        )

    def write(self, updates: Sequence[Update]) -> list[bool | StoredJobError]:
        """Write progress and ends of several jobs in one round trip.

        Returns:
            For each what `progress` or `finish` returns, or the error that it would raise.
        """
        calls = [self._write_call(update) for update in updates]
        with translated(f"write the progress or end of {len(updates)} jobs"):
            with self._redis.pipeline(transaction=False) as pipeline:
                for call in calls:
                    call.join(pipeline)
                answers = pipeline.execute(raise_on_error=False)
            return list(map(self._answer, updates, calls, answers))

    def progress(
        self,
        attempt: Attempt,
        state: JobState,
        *,
        decoded_token_count: int,
        task_results: Mapping[int, bytes],
    ) -> bool:
        """Write state and new task results (index to serialized TaskResult).

        Returns:
            Whether to go on. False: the attempt is stale, or the job has ended, was deleted or is
            to be cancelled.
        """
        return self._write_one(Update(attempt, state, decoded_token_count, task_results))

    def finish(self, attempt: Attempt, outcome: JobOutcome) -> bool:
        """Write the end of a job; return whether it is the end that counts, which is the first.

        Any attempt may end a job, an old one too. Later ends are counted and dropped; the same
        outcome of the same attempt, written again because a reply was lost, is the same end.
        """
        return self._write_one(Update(attempt, outcome=outcome))

    def _write_one(self, update: Update) -> bool:
        (answer,) = self.write([update])
        if isinstance(answer, StoredJobError):
            raise answer
        return answer

    def _write_call(self, update: Update) -> ScriptCall:
        record, number = update.attempt.record, update.attempt.number
        arguments: list[Any] = [*self._fields(record), number]
        if update.outcome is None:
            script = self._progress_script
            results = (part for indexed in update.task_results.items() for part in indexed)
            arguments += [update.state, update.decoded_token_count, *results]
        else:
            script = self._finish_script
            # Deterministic, so that the same outcome sent again is known by its bytes.
            content = update.outcome.SerializeToString(deterministic=True)
            arguments += [state_from_wire(update.outcome.state), content]
        return ScriptCall(script, self._job_keys(record), arguments)

    def _answer(self, update: Update, call: ScriptCall, answer: Any) -> bool | StoredJobError:
        verb = "progress" if update.outcome is None else "end"
        try:
            with translated_for_job(f"write the {verb} of job {update.attempt.job_id}"):
                if script_is_lost(answer):
                    answer = call.alone()
                if isinstance(answer, Exception):
                    raise answer
        except StoredJobError as error:
            return error
        return bool(answer)

    def cancelled(self, job_ids: list[str]) -> set[str]:
        """Return which of these jobs are to be cancelled or were deleted."""
        if not job_ids:
            return set()
        with translated(f"ask whether {len(job_ids)} jobs are cancelled"):
            stops: Any = self._cancelled_script(keys=[self._keys.job(name) for name in job_ids])
        return {job_id for job_id, stop in zip(job_ids, stops, strict=True) if stop}

    def report_alive(self) -> int:
        """Give a sign of life of this worker; call it several times within ``silence_s``.

        Returns:
            The time of the store, Unix milliseconds.
        """
        with translated("take a sign of life"):
            return int(self._alive_script(keys=[self._worker], args=[self._silence_ms]))

    def report_gone(self, *, in_order: bool) -> None:
        """Record the end of this worker; only the first call counts.

        Args:
            in_order: Whether the worker hands back the jobs that it holds; else it has died while
                it held them.
        """
        with translated("take the end of this worker"):
            self._gone_script(
                keys=[self._worker],
                args=["left" if in_order else "died", 1000 * WORKER_END_TIME_TO_LIVE_S],
            )

    def report_pace(self, worker: str, cost_per_s: float, model: types_pb2.Model) -> None:
        """Record what this worker gets done in a second, and its model; call it every second."""
        with translated("take the pace of this worker"):
            self._pace_script(
                keys=[self._keys.paces(), self._keys.models()],
                args=[
                    worker,
                    f"{cost_per_s:g}",
                    PACE_TIME_TO_LIVE_S,
                    model.SerializeToString(deterministic=True),
                ],
            )

    def get_blob(self, sha256: str) -> bytes | None:
        """Return an image; None where it is not stored, or no longer, or has another digest."""
        digest, parts = hashlib.sha256(), list[bytes]()
        with translated(f"read image {sha256}"):
            for part in self._parts_of(self._keys.blob(sha256)):
                digest.update(part)
                parts.append(part)
        content = b"".join(parts)
        if content and digest.hexdigest() != sha256:
            logger.error(
                "a stored image does not have the digest of its key", extra={"sha256": sha256}
            )
            return None
        return content or None

    def _parts_of(self, key: str) -> Iterator[bytes]:
        """Yield the parts of a string, none where there is none: a whole would hold up others."""
        try:
            for start in itertools.count(0, _PART_BYTES):
                part: Any = self._redis.getrange(key, start, start + _PART_BYTES - 1)
                yield part
                if len(part) < _PART_BYTES:
                    return
        except NoPermissionError:
            # Rights of a user that were written before images were read in parts.
            whole: Any = self._redis.get(key)
            yield whole or b""
        except ResponseError as fault:
            if not holds_foreign_type(fault):
                raise

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self._redis.close()

    def _job_keys(self, record: JobRecord) -> list[str]:
        return [self._keys.job(record.id), self._keys.watchers(record.id)]

    def _fields(self, record: JobRecord) -> list[str | int]:
        return [
            record.id,
            record.tenant or DEFAULT_TENANT,
            record.submitted_at_ms,
            record.deadline_at_ms,
            self._time_to_live_s,
        ]
