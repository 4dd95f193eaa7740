"""One gateway from its adapters to its last answer: what is started first is closed last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc
from prometheus_client import CollectorRegistry

from arno.bus.ports import Publisher
from arno.errors import BackendUnavailableError
from arno.gateway.access.access import open_access
from arno.gateway.admission import Admission, Budgets
from arno.gateway.backends import BackendMonitor
from arno.gateway.backlog import Backlog
from arno.gateway.backlog_metrics import BacklogCollector
from arno.gateway.cancellation import Canceller
from arno.gateway.drain import Drain
from arno.gateway.entrance import Entrance
from arno.gateway.errands import Errands
from arno.gateway.health import ServingState
from arno.gateway.inference import Inference
from arno.gateway.interceptor import GatewayInterceptor
from arno.gateway.job_service import JobService
from arno.gateway.metrics import GatewayMetrics
from arno.gateway.places import Places
from arno.gateway.receiving import Receiving
from arno.gateway.server import build_server, listen
from arno.gateway.settings import GatewaySettings
from arno.gateway.submission import Published, SubmissionSettings, Submitter
from arno.gateway.vision_service import VisionService
from arno.results.gateway_store import GatewayStore
from arno.vocabulary import Lane

logger = logging.getLogger(__name__)


class Gateway:
    """A gateway over given adapters. Lives in one asyncio loop; start and stop it once."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        publisher: Publisher,
        store: GatewayStore,
        registry: CollectorRegistry,
    ) -> None:
        """Build all parts; nothing connects or listens yet.

        Args:
            settings: Limits and addresses.
            publisher: Not started.
            store: Not started.
            registry: Where the gateway's metrics go.

        Raises:
            ConfigurationError: A file of certificates or keys cannot be used.
        """
        self._settings = settings
        self._publisher = publisher
        self._store = store
        self._drain = Drain()
        self._serving = ServingState()
        self._access = open_access(settings, retry_delay_s=settings.overload_retry_s)
        self._errands = Errands()
        self._backends = BackendMonitor(
            {"bus": publisher.ping, "result store": store.ping},
            interval_s=settings.backend_check_interval_s,
            timeout_s=settings.backend_check_timeout_s,
            on_change=self._tell_health,
        )
        self._backlog = Backlog(
            unfinished=publisher.unfinished,
            paces=store.paces,
            interval_s=settings.backlog_interval_s,
        )
        self._admission = Admission(
            _budgets(settings),
            retry_delay_s=settings.overload_retry_s,
            predicted_wait_s=self._backlog.wait_s,
        )
        self._places = Places(
            "calls",
            limit_name="calls_max",
            limit=settings.calls_max,
            retry_delay_s=settings.overload_retry_s,
        )
        self._metrics = self._build_metrics(registry)
        self._server = self._build_server(self._build_submitter())
        self.port = 0

    def not_ready(self) -> list[str]:
        """Return why no calls may be sent here; empty while they may. Any thread."""
        return list(self._serving.reasons)

    def open_call_count(self) -> int:
        """Return how many calls have not ended."""
        return self._places.taken_count

    async def start(self) -> None:
        """Connect, listen, and serve as soon as the backends answer.

        Raises:
            ConfigurationError: The address cannot be had.
        """
        self.port = listen(self._server, self._settings.listen, self._access.credentials)
        await self._insist("result store", self._store.start)
        await self._insist("bus", self._publisher.start)
        # Asked before the first call can come: nobody is refused because nobody has asked yet.
        await self._backends.start()
        await self._backlog.start()
        await self._server.start()

    async def stop(self) -> None:
        """Say so, refuse new calls, finish those in hand inside the grace, and disconnect."""
        self._drain.begin()
        await self._serving.leave()
        logger.info("draining", extra={"drain_s": self._settings.drain_s})
        await asyncio.sleep(self._settings.drain_notice_s)
        await self._server.stop(self._settings.drain_s)
        await self._backlog.close()
        await self._backends.close()
        # Calls that the grace cut off have asked for their jobs to be cancelled.
        await self._errands.close()
        await self._publisher.close()
        await self._store.close()

    async def _insist(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        """Wait for a backend that is away: a gateway started in an outage is there after it."""
        told = ""
        while True:
            try:
                return await start()
            except BackendUnavailableError as error:
                if error.message != told:
                    told = error.message
                    logger.warning("waits for the %s: %s", name, told)
            await asyncio.sleep(self._settings.backend_check_interval_s)

    def _build_submitter(self) -> Submitter:
        return Submitter(
            store=self._store,
            publisher=self._publisher,
            settings=SubmissionSettings(
                inline_image_bytes_max=self._settings.inline_image_bytes_max,
                blob_time_to_live_s=self._settings.blob_time_to_live_s,
                publish_timeout_s=self._settings.publish_timeout_s,
            ),
            errands=self._errands,
            on_published=self._note_published,
        )

    def _note_published(self, published: Published) -> None:
        self._metrics.observe_publication(published.took_s, published.image_bytes)
        self._backlog.add(published.lane, published.cost)

    def _build_server(self, submitter: Submitter) -> grpc.aio.Server:
        settings = self._settings
        entrance = Entrance(
            quotas=self._access.quotas, admission=self._admission, backends=self._backends
        )
        receiving = Receiving(
            at_once_max=settings.receives_max,
            timeout_s=settings.receive_timeout_s,
            retry_delay_s=settings.overload_retry_s,
        )
        inference = Inference(
            entrance=entrance,
            submitter=submitter,
            store=self._store,
            canceller=Canceller(
                self._store, self._errands, on_sent=self._metrics.cancellations_sent.inc
            ),
        )
        return build_server(
            limits=settings,
            interceptor=GatewayInterceptor(
                gatekeeper=self._access.gatekeeper,
                receiving=receiving,
                metrics=self._metrics,
                drain=self._drain,
                places=self._places,
            ),
            vision=VisionService(
                gatekeeper=self._access.gatekeeper,
                receiving=receiving,
                inference=inference,
                limits=settings,
                drain=self._drain,
                metrics=self._metrics,
            ),
            jobs=JobService(
                entrance=entrance,
                submitter=submitter,
                store=self._store,
                limits=settings,
                drain=self._drain,
            ),
            serving=self._serving,
            reflected=settings.reflection != "off",
        )

    async def _tell_health(self) -> None:
        if not self._drain.begun:
            await self._serving.set(
                [f"the {name} does not answer" for name in self._backends.problems]
            )

    def _build_metrics(self, registry: CollectorRegistry) -> GatewayMetrics:
        metrics = GatewayMetrics(registry)
        metrics.follow_admission(self._admission.statistics)
        registry.register(BacklogCollector(self._backlog, self._admission.statistics))
        for name in self._backends.names:
            metrics.follow_backend(name, lambda: self._backends.problems)
        if self._access.keys_ok is not None:
            metrics.follow_keys(self._access.keys_ok)
        return metrics


def _budgets(settings: GatewaySettings) -> Budgets:
    return Budgets(
        jobs_max=settings.jobs_in_flight_max,
        bytes_max=settings.bytes_in_flight_max,
        shares={
            Lane.INTERACTIVE: 1.0,
            Lane.STREAM: settings.stream_budget_share,
            Lane.BATCH: settings.batch_budget_share,
        },
        wait_s_max={
            Lane.INTERACTIVE: settings.interactive_wait_s_max,
            Lane.STREAM: settings.stream_wait_s_max,
            Lane.BATCH: settings.batch_wait_s_max,
        },
    )
