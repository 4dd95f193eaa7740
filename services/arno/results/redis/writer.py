"""The worker's side of the result store."""

from __future__ import annotations

import hashlib
import logging
import uuid
from typing import Any, Final

from redis.exceptions import ResponseError

from arno.api.v1.job_pb2 import JobState as ProtoJobState
from arno.bus.v1.records_pb2 import JobOutcome
from arno.results.keys import FAREWELL_TIME_TO_LIVE_S, PACE_TIME_TO_LIVE_S, KeySpace
from arno.results.ports import Attempt, JobOrigin, JobState
from arno.results.redis.clients import writing_client
from arno.results.redis.faults import is_foreign, translated, translated_for_job
from arno.results.redis.lua import script_text
from arno.results.settings import ResultSettings

logger = logging.getLogger(__name__)

_ANY_DEATHS: Final = -1


class RedisResultWriter:
    """Results into Redis, for one worker. Blocking and thread-safe; see ``ports.ResultWriter``."""

    def __init__(self, settings: ResultSettings, *, silence_s: float = 5.0) -> None:
        """Take where Redis is; connects with the first call.

        Args:
            settings: Where Redis is.
            silence_s: A worker that gives no sign of life for so long counts as dead. Shorter than
                the bus takes to give its records to others, so that they know it by then.
        """
        self._keys = KeySpace(settings.redis_key_prefix)
        self._worker = self._keys.worker(uuid.uuid4().hex)
        self._silence_ms = max(1, round(1000 * silence_s))
        self._redis = writing_client(settings)
        register = self._redis.register_script
        self._begin_script = register(script_text("begin"))
        self._progress_script = register(script_text("progress"))
        self._finish_script = register(script_text("finish"))
        self._pace_script = register(script_text("report_pace"))
        self._alive_script = register(script_text("report_alive"))
        self._gone_script = register(script_text("report_gone"))
        self._cancelled_script = register(script_text("cancelled"))

    def ping(self) -> None:
        """Raise BackendUnavailableError unless Redis answers."""
        with translated("answer a ping"):
            self._redis.ping()

    def begin(self, origin: JobOrigin, *, deaths_max: int | None = None) -> Attempt:
        """Begin an attempt, before any work, and note that this worker has the job."""
        with translated_for_job(f"begin job {origin.job_id}"):
            reply: Any = self._begin_script(
                keys=[*self._job_keys(origin), self._worker],
                args=[
                    *_fields(origin),
                    uuid.uuid4().hex,
                    self._silence_ms,
                    _ANY_DEATHS if deaths_max is None else deaths_max,
                ],
            )
        number, state, cancel_requested, death_count, begun = reply
        return Attempt(
            origin,
            number,
            JobState(state.decode()),
            cancel_requested=bool(cancel_requested),
            death_count=death_count,
            begun=bool(begun),
        )

    def progress(
        self,
        attempt: Attempt,
        state: JobState,
        *,
        decoded_token_count: int,
        task_results: dict[int, bytes],
    ) -> bool:
        """Write state and new task results (index to bytes); say whether to go on."""
        results = [part for indexed in task_results.items() for part in indexed]
        with translated_for_job(f"write the progress of job {attempt.job_id}"):
            go_on: Any = self._progress_script(
                keys=self._job_keys(attempt.origin),
                args=[
                    *_fields(attempt.origin),
                    attempt.number,
                    state,
                    decoded_token_count,
                    *results,
                ],
            )
        return bool(go_on)

    def finish(self, attempt: Attempt, outcome: JobOutcome) -> bool:
        """Write the end of a job; say whether it is the end that counts, which is the first one."""
        state = JobState(ProtoJobState.Name(outcome.state).removeprefix("JOB_STATE_"))
        # Deterministic, so that the same outcome sent again is known by its bytes.
        content = outcome.SerializeToString(deterministic=True)
        with translated_for_job(f"write the end of job {attempt.job_id}"):
            first: Any = self._finish_script(
                keys=self._job_keys(attempt.origin),
                args=[*_fields(attempt.origin), attempt.number, state, content],
            )
        return bool(first)

    def cancelled(self, job_ids: list[str]) -> set[str]:
        """Return which of these jobs somebody asked to stop, or deleted."""
        if not job_ids:
            return set()
        with translated(f"ask whether {len(job_ids)} jobs are cancelled"):
            stops: Any = self._cancelled_script(keys=[self._keys.job(name) for name in job_ids])
        return {job_id for job_id, stop in zip(job_ids, stops, strict=True) if stop}

    def report_alive(self) -> None:
        """Give a sign of life of this worker; to be repeated well within its silence."""
        with translated("take a sign of life"):
            self._alive_script(keys=[self._worker], args=[self._silence_ms])

    def report_gone(self, *, in_order: bool) -> None:
        """Say that this worker ends; its first word is the last."""
        with translated("take the end of this worker"):
            self._gone_script(
                keys=[self._worker],
                args=["left" if in_order else "died", 1000 * FAREWELL_TIME_TO_LIVE_S],
            )

    def report_pace(self, worker: str, cost_per_s: float) -> None:
        """Say how much this worker gets done in a second; to be repeated every second."""
        with translated("take the pace of this worker"):
            self._pace_script(
                keys=[self._keys.paces()], args=[worker, f"{cost_per_s:g}", PACE_TIME_TO_LIVE_S]
            )

    def get_blob(self, sha256: str) -> bytes | None:
        """Return an image, or None where it is not kept (any more) or is not what its name says."""
        content: Any
        with translated(f"read image {sha256}"):
            try:
                content = self._redis.get(self._keys.blob(sha256))
            except ResponseError as error:
                if not is_foreign(error):
                    raise
                content = b""
        if content is not None and hashlib.sha256(content).hexdigest() != sha256:
            logger.error("a stored image is not what its name says", extra={"sha256": sha256})
            return None
        return bytes(content) if content is not None else None

    def close(self) -> None:
        """Disconnect. Idempotent."""
        self._redis.close()

    def _job_keys(self, origin: JobOrigin) -> list[str]:
        return [self._keys.job(origin.job_id), self._keys.watchers(origin.job_id)]


def _fields(origin: JobOrigin) -> list[str | int]:
    return [
        origin.job_id,
        origin.tenant,
        origin.submitted_at_ms,
        origin.deadline_at_ms,
        origin.time_to_live_s,
    ]
