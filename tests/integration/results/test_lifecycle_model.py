"""The scripts against a model: any order of claims, attempts, ends, cancellations and losses.

The model is what ``arno.results.keys`` and ``docs/results.md`` promise, in plain Python. Every rule
calls the store and the model, and compares the answers; after every rule each job of the store is
compared with that of the model.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import redis
from arno.api.v1 import job_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.errors import IdempotencyConflictError, UnknownJobError
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import Attempt
from arno.results.settings import ResultSettings
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from arno.vocabulary.wire import state_from_wire
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.builders import new_job
from support.stored_jobs import ModelJob, outcome, progress

pytestmark = pytest.mark.redis

JOB_COUNT_MAX: Final = 3
CALM_STEPS: Final = 6
"""Steps between two that end or remove a job, so that jobs live long enough to be worked on."""

WORKER_COUNT: Final = 3
FOR_EVER_S: Final = 600
_ENDS = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
_ORDER = {state: rank for rank, state in enumerate(JobState) if not state.ended}


@dataclass(frozen=True, slots=True)
class Servers:
    """The real things: a loop with a started gateway's store, and ways to make workers."""

    runner: asyncio.Runner
    store: GatewayStore
    raw: redis.Redis
    settings: ResultSettings

    def new_worker(self) -> tuple[WorkerStore, bytes]:
        """Return a live worker and the key of its signs of life."""
        pattern = f"{self.settings.redis_key_prefix}:worker:*"
        before = set(self.raw.scan_iter(pattern))
        worker = WorkerStore(self.settings, silence_s=FOR_EVER_S)
        worker.report_alive()
        (key,) = set(self.raw.scan_iter(pattern)) - before
        return worker, key


@pytest.fixture
def servers(result_settings: ResultSettings, raw: redis.Redis) -> Iterator[Servers]:
    with asyncio.Runner() as runner:
        store = GatewayStore(result_settings, gateway="g1")
        runner.run(store.start())
        yield Servers(runner, store, raw, result_settings)
        runner.run(store.close())


class Lifecycle(RuleBasedStateMachine):
    """Jobs of one tenant, three workers, and the model of both."""

    records = Bundle("records")
    attempts = Bundle("attempts")
    workers = st.integers(0, WORKER_COUNT - 1)
    keys = st.sampled_from(["k", "l"])
    callers = st.sampled_from(["x", "y", "claimant"])

    _numbers = itertools.count(1)

    def __init__(self, servers: Servers) -> None:
        super().__init__()
        self._servers = servers
        self._tenant = f"tenant-{next(self._numbers)}"
        self._made: dict[str, JobRecord] = {}
        self._jobs: dict[str, ModelJob] = {}
        self._deleted: set[str] = set()
        self._keys: dict[str, tuple[str, str]] = {}
        self._signs: list[str] = []
        self._steps_since_end = 0

    @initialize()
    def start_workers(self) -> None:
        self._workers = [self._servers.new_worker() for _ in range(WORKER_COUNT)]
        self._signs = ["alive"] * WORKER_COUNT

    def teardown(self) -> None:
        for record in self._made.values():
            self._wait_agrees(record)
        for worker, _ in self._workers:
            worker.close()

    def _wait_agrees(self, record: JobRecord) -> None:
        job = self._jobs.get(record.id)
        if job is None:
            with pytest.raises(UnknownJobError):
                self.run(self._servers.store.wait(record.id, timeout_s=5))
        elif job.state.ended:
            found = self.run(self._servers.store.wait(record.id, timeout_s=5))
            assert found.outcome == job.outcome

    def run(self, call: Any) -> Any:
        return self._servers.runner.run(call)

    # The gateway's side.

    @precondition(lambda self: len(self._made) < JOB_COUNT_MAX)
    @rule(
        target=records,
        key=st.one_of(st.just(""), keys),
        body=st.sampled_from(["a", "b"]),
        has_turn=st.booleans(),
    )
    def claim(self, key: str, body: str, has_turn: bool) -> JobRecord:
        record = new_job(tenant=self._tenant)
        self._made[record.id] = record
        claiming = self._servers.store.claim(
            record,
            idempotency_key=key,
            body_sha256=body,
            waited_for=has_turn,
            publishing_s=FOR_EVER_S if has_turn else 0,
        )
        held = self._keys.get(key)
        if held is None or not key:
            assert self.run(claiming) == record.id
            self._jobs[record.id] = ModelJob(key, turn_of=record.id if key and has_turn else "")
            if key:
                self._keys[key] = (record.id, body)
        elif held[1] == body:
            assert self.run(claiming) == held[0]
        else:
            with pytest.raises(IdempotencyConflictError, match=held[0]):
                self.run(claiming)
        return record

    @rule(record=records, step=st.sampled_from(["take", "give up", "note"]), caller=callers)
    def publish(self, record: JobRecord, step: str, caller: str) -> None:
        store, job = self._servers.store, self._jobs.get(record.id)
        by = record.id if caller == "claimant" else caller
        if step == "take":
            free = (
                job is not None
                and job.state is JobState.QUEUED
                and not (job.attempt_count or job.published)
                and job.turn_of in {"", by}
            )
            assert self.run(store.take_publication(record.id, by=by, for_s=FOR_EVER_S)) == free
            if job is not None and free:
                job.turn_of = by
        elif step == "give up":
            self.run(store.give_up_publication(record.id, by=by))
            if job is not None and job.turn_of == by:
                job.turn_of = ""
        else:
            self.run(store.note_published(record.id))
            if job is not None:
                job.published, job.turn_of = True, ""

    @precondition(lambda self: self._steps_since_end >= CALM_STEPS)
    @rule(record=records)
    def cancel(self, record: JobRecord) -> None:
        self._steps_since_end = 0
        self.run(self._servers.store.request_cancel(record.id))
        job = self._jobs.get(record.id)
        if job is None or job.state.ended:
            return
        job.cancel_requested = True
        if not job.attempt_count:
            found = self.run(self._servers.store.get(record.id))
            assert found.outcome.error.reason == "CANCELLED"
            job.end(JobState.CANCELLED, found.outcome, 0)

    @precondition(lambda self: self._steps_since_end >= CALM_STEPS)
    @rule(record=records, verb=st.sampled_from(["delete", "release", "abandon", "expire"]))
    def forget(self, record: JobRecord, verb: str) -> None:
        self._steps_since_end = 0
        job = self._jobs.pop(record.id, None)
        if verb == "expire":
            self._expire(record, job)
            self._deleted.discard(record.id)
        else:
            self.run(getattr(self._servers.store, verb)(record.id))
            if job is not None and verb != "abandon":
                self._deleted.add(record.id)
        if job is not None:
            self._keys.pop(job.key, None)

    def _expire(self, record: JobRecord, job: ModelJob | None) -> None:
        """Remove the keys of a job, as their time to live does, for all at the same moment."""
        prefix = self._servers.settings.redis_key_prefix
        keys = [f"{prefix}:{kind}:{record.id}" for kind in ("job", "watchers")]
        if job is not None and job.key:
            keys.append(f"{prefix}:idempotency:{self._tenant}:{job.key}")
        self._servers.raw.delete(*keys)

    # The worker's side.

    @rule(
        target=attempts,
        record=records,
        number=workers,
        deaths_max=st.sampled_from([None, None, 0, 1, 2]),
    )
    def begin(self, record: JobRecord, number: int, deaths_max: int | None) -> Any:
        worker, _ = self._workers[number]
        attempt = worker.begin(record, deaths_max=deaths_max)
        if record.id in self._deleted:
            assert (attempt.number, attempt.state, attempt.begun) == (0, JobState.CANCELLED, False)
            return multiple()
        job = self._known(record)
        deaths = 0 if job.state.ended else self._count_deaths(job, number)
        begun = not job.state.ended and (deaths_max is None or deaths < deaths_max)
        if begun:
            job.attempt_count += 1
            job.decoded_token_count = 0
            job.results.clear()
            if self._signs[number] in {"alive", "silent"}:
                self._signs[number] = "alive"
                job.holders.add(number)
        assert (attempt.number, attempt.state, attempt.cancel_requested) == (
            job.attempt_count,
            job.state,
            job.cancel_requested,
        )
        assert (attempt.death_count, attempt.begun) == (deaths, begun)
        return (number, attempt) if begun else multiple()

    @rule(
        taken=attempts,
        state=st.sampled_from(list(_ORDER)),
        token_count=st.integers(0, 99),
        results=st.dictionaries(st.integers(0, 11), st.binary(max_size=3), min_size=1, max_size=2),
    )
    def progress(
        self,
        taken: tuple[int, Attempt],
        state: JobState,
        token_count: int,
        results: dict[int, bytes],
    ) -> None:
        number, attempt = taken
        worker, _ = self._workers[number]
        go_on = progress(
            worker, attempt, state, decoded_token_count=token_count, task_results=results
        )
        if attempt.job_id in self._deleted:
            assert not go_on
            return
        job = self._known(attempt.record)
        if job.state.ended or attempt.number < job.attempt_count:
            assert not go_on
            return
        job.state = max(job.state, state, key=_ORDER.__getitem__)
        job.attempt_count, job.decoded_token_count = attempt.number, token_count
        job.results.update(results)
        assert go_on == (not job.cancel_requested)

    @precondition(lambda self: self._steps_since_end >= CALM_STEPS)
    @rule(
        taken=attempts,
        state=st.sampled_from(_ENDS),
        then=st.sampled_from(["nothing", "the same again", "another"]),
    )
    def finish(self, taken: tuple[int, Attempt], state: str, then: str) -> None:
        self._steps_since_end = 0
        end = self._finish(taken, self._new_end(state))
        if then == "the same again":
            self._finish(taken, end)
        elif then == "another":
            self._finish(taken, self._new_end(state))

    def _new_end(self, state: str) -> JobOutcome:
        wire_state = job_pb2.JobState.Value(f"JOB_STATE_{state}")
        return outcome(ended_at_ms=next(self._numbers), state=wire_state)

    def _finish(self, taken: tuple[int, Attempt], end: JobOutcome) -> JobOutcome:
        number, attempt = taken
        worker, _ = self._workers[number]
        first = worker.finish(attempt, end)
        if attempt.job_id in self._deleted:
            assert not first
            return end
        job = self._known(attempt.record)
        if job.state.ended:
            same = (job.ended_by, job.outcome) == (attempt.number, end)
            assert first == same
            job.duplicate_count += not same
            return end
        assert first
        job.attempt_count = max(job.attempt_count, attempt.number)
        job.end(state_from_wire(end.state), end, attempt.number)
        return end

    @rule(number=workers, sign=st.sampled_from(["alive", "silent", "left", "died"]))
    def show_sign(self, number: int, sign: str) -> None:
        worker, key = self._workers[number]
        if sign == "alive":
            worker.report_alive()
        elif sign == "silent" and self._signs[number] == "alive":
            self._servers.raw.delete(key)
        elif sign in {"left", "died"}:
            worker.report_gone(in_order=sign == "left")
        if self._signs[number] in {"alive", "silent"}:
            self._signs[number] = sign

    @invariant()
    def store_and_model_agree(self) -> None:
        self._steps_since_end += 1
        for job_id in self._made:
            job, found = self._jobs.get(job_id), self.run(self._servers.store.get(job_id))
            if job is None:
                assert found is None
                continue
            assert found is not None
            assert (found.tenant, found.state) == (self._tenant, job.state)
            assert (found.attempt_count, found.decoded_token_count) == (
                job.attempt_count,
                job.decoded_token_count,
            )
            assert found.task_results == tuple(job.results[index] for index in sorted(job.results))
            assert (found.cancel_requested, found.published) == (
                job.cancel_requested,
                job.published,
            )
            assert found.outcome == job.outcome

    @invariant()
    def workers_see_what_to_stop(self) -> None:
        stopped = {job_id for job_id, job in self._jobs.items() if job.cancel_requested}
        asked = list(self._made)
        assert self._workers[0][0].cancelled(asked) == stopped | self._deleted

    @invariant()
    def ends_and_holders_are_counted(self) -> None:
        prefix = self._servers.settings.redis_key_prefix
        for job_id, job in self._jobs.items():
            fields = self._servers.raw.hgetall(f"{prefix}:job:{job_id}")
            assert int(fields.get(b"duplicate_count", 0)) == job.duplicate_count
            assert int(fields.get(b"ended_by", 0)) == job.ended_by
            holders = {name for name in fields if name.startswith(b"holder:")}
            assert holders == {b"holder:" + self._workers[number][1] for number in job.holders}

    def _known(self, record: JobRecord) -> ModelJob:
        """Return the model's job; one that the store has lost is made again from its record."""
        return self._jobs.setdefault(record.id, ModelJob())

    def _count_deaths(self, job: ModelJob, asking: int) -> int:
        job.holders -= {number for number in job.holders if self._signs[number] == "left"}
        silent = {number for number in job.holders if self._signs[number] != "alive"}
        return len(silent - {asking})


@pytest.mark.timeout(120)
def test_scripts_do_what_the_model_does_in_any_order(servers: Servers) -> None:
    run_state_machine_as_test(
        lambda: Lifecycle(servers),
        settings=settings(
            max_examples=30,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            database=None,
            # A failing run has at most 50 steps, which are printed; to shrink it takes minutes.
            phases=[Phase.generate],
        ),
    )
