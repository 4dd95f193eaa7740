"""Bugs of a gateway or its store, one for each rule of the checker, planted in this process.

Nothing here is in the product: a test applies a bug to the classes of a gateway that it runs
itself. Each stands for a mistake that has been made in some queue or store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

import pytest
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.gateway.admission import Admission
from arno.gateway.submission import Submission, Submitter
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import Attempt, JobSnapshot
from arno.results.worker_store import WorkerStore
from arno.vocabulary import JobState
from chaos import checker, load


@dataclass(frozen=True, slots=True)
class Bug:
    """A planted bug.

    Attributes:
        rule: The checker's rule that must find it, and no other.
        plant: Patches the product.
        shares: What the load does always or never, so that the bug is met: by name in `chaos.load`.
        hanging_count: Requests that never end because of it.
        leaked_count: Places that are never released because of it.
    """

    rule: Callable[..., object] | None
    plant: Callable[[pytest.MonkeyPatch], None]
    shares: dict[str, float] = field(default_factory=dict)
    hanging_count: int = 0
    leaked_count: int = 0


def _nothing(patch: pytest.MonkeyPatch) -> None:
    """Leave everything as it is."""


def _not_published(*, waited_for: bool) -> Callable[[pytest.MonkeyPatch], None]:
    """Accept a job before the bus has it, and lose it: the first of its kind."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        publish, lost = Submitter._publish, list[str]()

        async def forgetful(self: Submitter, submission: Submission, record: JobRecord) -> None:
            if submission.waited_for is waited_for and not lost:
                lost.append(record.id)
                return
            await publish(self, submission, record)

        patch.setattr(Submitter, "_publish", forgetful)

    return plant


def _answer_of_another(patch: pytest.MonkeyPatch) -> None:
    """Give every job the answer of the first: a cache whose key lacks the image."""
    finish, cached = WorkerStore.finish, list[JobOutcome]()

    def from_cache(self: WorkerStore, attempt: Attempt, outcome: JobOutcome) -> bool:
        cached.append(outcome)
        return finish(self, attempt, cached[0])

    patch.setattr(WorkerStore, "finish", from_cache)


def _keys_ignored(patch: pytest.MonkeyPatch) -> None:
    """Claim a new job although the key is known."""
    claim = GatewayStore.claim

    async def new_each_time(self: GatewayStore, record: JobRecord, **how: Any) -> str:
        return await claim(self, record, **{**how, "idempotency_key": ""})

    patch.setattr(GatewayStore, "claim", new_each_time)


def _stale_reads(patch: pytest.MonkeyPatch) -> None:
    """Read an ended job by turns from the store, and from a replica that lags behind."""
    get, read_counts = GatewayStore.get, Counter[str]()

    async def lagging(self: GatewayStore, job_id: str) -> JobSnapshot | None:
        snapshot = await get(self, job_id)
        if snapshot is None or not snapshot.state.ended:
            return snapshot
        read_counts[job_id] += 1
        if read_counts[job_id] % 2:
            return snapshot
        return replace(snapshot, state=JobState.QUEUED, outcome=None)

    patch.setattr(GatewayStore, "get", lagging)


def _watch_without_its_end(patch: pytest.MonkeyPatch) -> None:
    """End the first watch of a job when nothing more will come, and leave out the last."""
    watch, watched = GatewayStore.watch, set[str]()

    async def cut(self: GatewayStore, job_id: str) -> AsyncIterator[JobSnapshot]:
        first = job_id not in watched
        watched.add(job_id)
        async with aclosing(cast("Any", watch(self, job_id))) as snapshots:
            async for snapshot in snapshots:
                if first and snapshot.state.ended:
                    return
                yield snapshot

    patch.setattr(GatewayStore, "watch", cut)


def _nothing_deleted(patch: pytest.MonkeyPatch) -> None:
    """Answer a delete without deleting."""

    async def forget(self: GatewayStore, job_id: str) -> None:
        return None

    patch.setattr(GatewayStore, "delete", forget)


def _unhandled_fault(patch: pytest.MonkeyPatch) -> None:
    """Fail the first reading of a job with an error that is not handled."""
    get, read = GatewayStore.get, set[str]()

    async def failing(self: GatewayStore, job_id: str) -> JobSnapshot | None:
        if job_id not in read:
            read.add(job_id)
            raise KeyError(job_id)
        return await get(self, job_id)

    patch.setattr(GatewayStore, "get", failing)


def _never_released(patch: pytest.MonkeyPatch) -> None:
    """Keep the place of one job after it has left."""
    admit, kept = Admission.admit, list[str]()

    @contextmanager
    def leaking(self: Admission, tenant: str, demand: Any) -> Iterator[Any]:
        with admit(self, tenant, demand) as job:
            yield job
        if not kept:
            kept.append(tenant)
            self._jobs += 1

    patch.setattr(Admission, "admit", leaking)


_ALWAYS, _NEVER = 1.0, 0.0
_DURABLE: Final = {"_DURABLE_SHARE": _ALWAYS, "_CANCELLED_SHARE": _NEVER, "_DELETED_SHARE": _NEVER}

BUGS: Final[dict[str, Bug]] = {
    "none": Bug(None, _nothing, {"_TWICE_SHARE": 0.5, "_CANCELLED_SHARE": 0.3}),
    "a job accepted and not published": Bug(
        checker.every_accepted_job_ends, _not_published(waited_for=False), _DURABLE, 1
    ),
    "a call whose job is not published": Bug(
        checker.every_waiting_call_is_answered,
        _not_published(waited_for=True),
        {"_DURABLE_SHARE": _NEVER},
        hanging_count=1,
    ),
    "a cache that mixes images": Bug(checker.answers_are_true, _answer_of_another, _DURABLE),
    "keys that are ignored": Bug(
        checker.one_job_a_key, _keys_ignored, {**_DURABLE, "_TWICE_SHARE": _ALWAYS}
    ),
    "reads from a replica": Bug(
        checker.states_are_monotone,
        _stale_reads,
        {**_DURABLE, "_TWICE_SHARE": _NEVER, "_WATCHED_SHARE": _NEVER},
    ),
    "a watch without its end": Bug(
        checker.watches_are_in_order,
        _watch_without_its_end,
        {**_DURABLE, "_WATCHED_SHARE": _ALWAYS},
    ),
    "a delete that deletes nothing": Bug(
        checker.deleted_jobs_stay_deleted,
        _nothing_deleted,
        {**_DURABLE, "_DELETED_SHARE": _ALWAYS},
    ),
    "a fault that is not handled": Bug(
        checker.refusals_are_honest, _unhandled_fault, {**_DURABLE, "_WATCHED_SHARE": _NEVER}
    ),
    "a place that is never released": Bug(
        checker.quotas_are_conserved, _never_released, leaked_count=1
    ),
}


def apply(bug: Bug, patch: pytest.MonkeyPatch) -> None:
    """Plant a bug in this process, and make the load meet it."""
    bug.plant(patch)
    for name, share in bug.shares.items():
        assert hasattr(load, name), name
        patch.setattr(load, name, share)
