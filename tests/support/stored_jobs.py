"""How tests change a job in the result store, and a model of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import Attempt
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState

StoreFactory = Callable[..., Awaitable[GatewayStore]]

WAIT_S: Final = 60.0
"""Longer than any wait of a test that passes."""


@dataclass(slots=True)
class ModelJob:
    """A job in a model of the store: what the scripts are compared with."""

    key: str = ""
    state: JobState = JobState.QUEUED
    attempt_count: int = 0
    decoded_token_count: int = 0
    results: dict[int, bytes] = field(default_factory=dict)
    cancel_requested: bool = False
    published: bool = False
    turn_of: str = ""
    holders: set[int] = field(default_factory=set)
    outcome: JobOutcome | None = None
    ended_by: int = 0
    duplicate_count: int = 0

    def end(self, state: JobState, end: JobOutcome, ended_by: int) -> None:
        self.state, self.outcome, self.ended_by = state, end, ended_by
        self.results.clear()
        self.holders.clear()


def outcome(ended_at_ms: int = 1, state: Any = job_pb2.JOB_STATE_SUCCEEDED) -> JobOutcome:
    return JobOutcome(state=state, ended_at_ms=ended_at_ms)


def progress(worker: WorkerStore, attempt: Attempt, state: JobState, **changed: Any) -> bool:
    values: dict[str, Any] = {"decoded_token_count": 0, "task_results": {}}
    return worker.progress(attempt, state, **{**values, **changed})


async def run_jobs(worker: WorkerStore, *records: JobRecord) -> None:
    """Begin and end jobs, in a thread."""

    def work() -> None:
        for record in records:
            worker.finish(worker.begin(record), outcome())

    await asyncio.to_thread(work)
