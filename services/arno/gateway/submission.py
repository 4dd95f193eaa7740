"""Turn a checked request into a job record and put it on the bus once; then it is accepted.

`arno.gateway.idempotency` decides whether a call publishes; here is what it publishes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from arno.batching import RecentTenants
from arno.bus.ports import Publisher, Record
from arno.bus.v1.records_pb2 import BlobReference, JobRecord
from arno.gateway.backlog import predicted_cost
from arno.gateway.idempotency import Claim, OncePublisher
from arno.gateway.lifecycle import BackgroundTasks
from arno.gateway.settings import GatewaySettings
from arno.gateway.uploads import Uploads
from arno.gateway.validation import CheckedRequest
from arno.ops.tracing import stage, trace_headers
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import JobSnapshot, JobTerms
from arno.vocabulary import DEFAULT_TENANT, Lane
from arno.vocabulary.job_id import new_job_id
from arno.vocabulary.wire import lane_to_wire, spec_to_wire


@dataclass(frozen=True, slots=True)
class Submission:
    """A job to be accepted.

    Attributes:
        request: Image and tasks.
        tenant: The owner of the job.
        lane: Priority class.
        work_s: How long the job may take from now.
        idempotency_key: The caller's key, or empty.
        waited_for: Whether this gateway will wait for the end.
        notify: Subscriptions that get an event at the end.
    """

    request: CheckedRequest
    tenant: str
    lane: Lane
    work_s: float
    idempotency_key: str = ""
    waited_for: bool = True
    notify: tuple[str, ...] = ()

    @property
    def asked_once(self) -> bool:
        """Whether no other call can come for the answer: the caller waits, and gave no key."""
        return self.waited_for and not self.idempotency_key


@dataclass(frozen=True, slots=True)
class Published:
    """A record that the bus has acknowledged.

    Attributes:
        lane: Priority class.
        cost: What it is predicted to cost a worker.
        took_s: How long the bus took.
        image_bytes: Size of its image.
    """

    lane: Lane
    cost: float
    took_s: float
    image_bytes: int


class Submitter:
    """Accepts jobs. Lives in one asyncio loop; holds no state of its own."""

    def __init__(  # noqa: PLR0913 - one for each part
        self,
        *,
        store: GatewayStore,
        publisher: Publisher,
        settings: GatewaySettings,
        background: BackgroundTasks,
        recent: RecentTenants | None = None,
        stored_bytes_max: Callable[[str], int | None] = lambda tenant: None,
        on_published: Callable[[Published], None] = lambda published: None,
    ) -> None:
        """Take the started adapters.

        Args:
            store: Started.
            publisher: Started.
            settings: What goes to the blob store, and how long the bus may take.
            background: Runs what is left to do for callers that have left.
            recent: Knows which tenants are active; None: no tenant is another's neighbour.
            stored_bytes_max: Returns the most bytes that a tenant may store; None: no limit.
            on_published: Called with each record that the bus has acknowledged.
        """
        self._store = store
        self._publisher = publisher
        self._settings = settings
        # The store's: deadlines mean the same moment to every process.
        self._clock = store.clock
        self._stored_bytes_max = stored_bytes_max
        self._uploads = Uploads(settings, recent or RecentTenants())
        self._on_published = on_published
        self._once = OncePublisher(
            store,
            publish_timeout_s=settings.publish_timeout_s,
            background=background,
            clock=self._clock,
        )

    async def submit(self, submission: Submission) -> JobSnapshot:
        """Return the job once the bus has it: as it was accepted, or as found where it was known.

        Raises:
            IdempotencyConflictError: The key was used with another body. Not retryable.
            QuotaExceededError: The tenant would store more than it may. Retryable.
            BackendUnavailableError: The bus or the store does not answer. Retryable.
            OverloadedError: Too many bytes wait for the bus already. Retryable.
            LimitExceededError: The record is larger than the bus takes. Not retryable.
        """
        claim = Claim(
            submission.idempotency_key,
            body_digest(submission.request),
            submission.waited_for,
            JobTerms(
                self._settings.unkeyed_infer_time_to_live_s if submission.asked_once else None,
                self._stored_bytes_max(submission.tenant),
                submission.notify,
            ),
        )
        return await self._once.submit(
            claim,
            new_record=partial(self._new_record, submission),
            publish=partial(self._publish, submission),
        )

    def _new_record(self, submission: Submission) -> JobRecord:
        now_ms = self._clock.wall_ms()
        return JobRecord(
            id=new_job_id(now_ms),
            tenant=submission.tenant,
            lane=lane_to_wire(submission.lane),
            submitted_at_ms=now_ms,
            deadline_at_ms=now_ms + round(submission.work_s * 1000),
        )

    async def _publish(self, submission: Submission, record: JobRecord) -> None:
        cost = predicted_cost(submission.request.tasks)
        with stage("publish"):
            completed = await self._completed(record, submission, cost)
            started_s = self._clock.monotonic_s()
            await self._publisher.publish(completed, timeout_s=self._settings.publish_timeout_s)
            took_s = self._clock.monotonic_s() - started_s
        image_bytes = len(submission.request.content)
        self._on_published(Published(submission.lane, cost, took_s, image_bytes))

    async def _completed(self, claimed: JobRecord, submission: Submission, cost: float) -> Record:
        """Return the bus's record of a job; a large image goes to the blob store."""
        request = submission.request
        # A copy: the claimed record is referenced while the bus works; its image must not be.
        record = JobRecord()
        record.CopyFrom(claimed)
        record.image_description.CopyFrom(request.image)
        record.image_scan_count = request.scan_count
        record.tasks.extend(map(spec_to_wire, request.tasks))
        record.predicted_cost = cost
        size_bytes = len(request.content)
        if size_bytes <= self._settings.inline_image_bytes_max:
            record.inline_image = request.content
        else:
            async with self._uploads.hold(record.tenant) as after_part:
                sha256 = await self._store.blobs.put(
                    request.content,
                    time_to_live_s=self._blob_life_s(submission, record.deadline_at_ms),
                    tenant=record.tenant,
                    stored_bytes_max=self._stored_bytes_max(record.tenant),
                    sha256=request.image.sha256,
                    after_part=after_part,
                )
            record.blob.CopyFrom(BlobReference(sha256=sha256, size_bytes=size_bytes))
        key = spread_key_of(record.tenant)
        return Record(submission.lane, record.SerializeToString(), trace_headers(), spread_key=key)

    def _blob_life_s(self, submission: Submission, deadline_at_ms: int) -> int:
        left_s = max(0, deadline_at_ms - self._clock.wall_ms()) // 1000 + 1
        kept_s = self._settings.blob_time_to_live_s
        if submission.asked_once:
            kept_s = min(kept_s, self._settings.unkeyed_infer_time_to_live_s)
        return left_s + kept_s


def spread_key_of(tenant: str) -> str:
    """Return the key of a tenant's records on the bus.

    Without API keys all callers are one tenant, which may use every partition.
    """
    return "" if tenant == DEFAULT_TENANT else tenant


def body_digest(request: CheckedRequest) -> str:
    """Return what an idempotency key stands for: SHA-256 over image and tasks, in hex.

    Lane and deadline are not part of it, so that a retry may be in more or less of a hurry.
    """
    digest = hashlib.sha256(request.image.sha256.encode())
    for spec in request.tasks:
        body = spec_to_wire(spec).SerializeToString(deterministic=True)
        digest.update(len(body).to_bytes(8, "big"))
        digest.update(body)
    return digest.hexdigest()
