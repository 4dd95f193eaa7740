"""One gateway from its adapters to its last answer: what is started first is closed last."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry

from arno.bus.ports import Publisher
from arno.errors import BackendUnavailableError
from arno.gateway.access.access import open_access
from arno.gateway.admission import Admission, ConcurrencyLimit
from arno.gateway.backends import BackendMonitor
from arno.gateway.backlog import Backlog
from arno.gateway.inference import Inference
from arno.gateway.interceptor import GatewayInterceptor
from arno.gateway.job_service import JobService
from arno.gateway.lifecycle import (
    BackgroundTasks,
    Canceller,
    Drain,
    LoopHeartbeat,
    ServingState,
)
from arno.gateway.metrics import BacklogCollector, GatewayMetrics
from arno.gateway.request_reader import RequestReader
from arno.gateway.server import Servers, build_servers
from arno.gateway.settings import GatewaySettings
from arno.gateway.standard_streams import StandardStreams
from arno.gateway.submission import Published, Submitter, spread_key_of
from arno.gateway.validation import RequestChecker
from arno.gateway.vision_service import VisionService
from arno.ops.periodic import PeriodicTask
from arno.results.gateway_store import GatewayStore

logger = logging.getLogger(__name__)

_KEY_CHECKS_S_MIN: Final = 0.05
"""Each check looks at every open call."""

_SHARES_S: Final = 1.0
"""How often gateways are counted, between which quotas are divided."""

_STORE_MEMORY_S: Final = 10.0
"""How often the result store is asked how full it is: it fills in minutes, not in seconds."""


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
        self._heartbeat = LoopHeartbeat(silence_s_max=settings.loop_silence_s_max)
        self._access = open_access(settings, limits=settings)
        self._background = BackgroundTasks()
        self._backends = BackendMonitor(
            {"bus": publisher.ping, "result store": store.ping},
            interval_s=settings.backend_check_interval_s,
            timeout_s=settings.backend_check_timeout_s,
            on_change=self._update_health,
        )
        self._backlog = Backlog(
            unfinished=publisher.unfinished,
            paces=store.paces,
            interval_s=settings.backlog_interval_s,
            share_ahead=lambda lane, tenant: publisher.share_ahead(lane, spread_key_of(tenant)),
        )
        self._metrics = GatewayMetrics(registry, tenants_max=settings.metrics_tenants_max)
        self._admission = Admission(
            settings,
            quotas=self._access.quotas,
            backends=self._backends,
            predicted_wait_s=self._backlog.wait_s,
            on_refused=self._metrics.count_refusal,
            counted=self._metrics.job,
        )
        self._key_checks = PeriodicTask(
            "the check of the keys of open calls",
            self._access.gatekeeper.end_invalid_calls,
            # The file is looked at when a check finds it older than the setting says.
            interval_s=max(settings.keys_check_interval_s / 2, _KEY_CHECKS_S_MIN),
        )
        self._store_memory = PeriodicTask(
            "the query of the store's memory", self._ask_memory, interval_s=_STORE_MEMORY_S
        )
        self._shares = PeriodicTask(
            "the count of the gateways", self._share_quotas, interval_s=_SHARES_S
        )
        self._call_limit = ConcurrencyLimit(
            "calls",
            limit_name="calls_max",
            limit=settings.calls_max,
            retry_delay_s=settings.overload_retry_s,
        )
        self._follow_parts(registry)
        self._servers = self._build_servers()
        self.port = 0

    def not_ready(self) -> list[str]:
        """Return why calls get no answer here; empty while they get one. Any thread."""
        return [*self._serving.absence, *self._heartbeat.problems()]

    def not_alive(self) -> list[str]:
        """Return why this process must be restarted. Any thread."""
        return self._heartbeat.problems()

    def problems(self) -> list[str]:
        """Return why calls are answered with UNAVAILABLE; empty while they are not. Any thread."""
        return list(self._serving.problems)

    def open_call_count(self) -> int:
        """Return how many calls have not ended."""
        return self._call_limit.used_count

    async def start(self) -> None:
        """Connect, listen, and serve as soon as the backends answer.

        Raises:
            ConfigurationError: The address cannot be had.
        """
        self._heartbeat.start()
        self.port = self._servers.listen(self._settings.listen, self._access.credentials)
        await self._start_backend("result store", self._store.start)
        await self._start_backend("bus", self._publisher.start)
        # Before the first call can come, so that none is refused for an unknown state.
        await self._backends.start()
        await self._backlog.start()
        self._key_checks.start()
        self._store_memory.start()
        if self._settings.keys_file is not None and not self._settings.quota_share:
            await self._share_quotas()
            self._shares.start(delay_s=_SHARES_S)
        await self._servers.start()
        # Also where no backend has answered yet: calls get an answer from now on.
        await self._update_health()

    async def stop(self) -> None:
        """Report NOT_SERVING, serve on for `drain_notice_s`, then refuse new calls and finish.

        Open calls have `drain_s` to end; then the gateway disconnects.
        """
        await self._serving.leave()
        # The others divide its part of the quotas among themselves.
        await self._shares.close()
        notice_s, drain_s = self._settings.drain_notice_s, self._settings.drain_s
        logger.info("draining", extra={"drain_notice_s": notice_s, "drain_s": drain_s})
        # Callers need a moment to learn of it; a refusal before that would reach them all.
        await asyncio.sleep(notice_s)
        self._drain.begin()
        await self._drain.quiet()
        await self._servers.stop(drain_s)
        await self._key_checks.close()
        await self._store_memory.close()
        await self._backlog.close()
        await self._backends.close()
        # Calls that were cut off have requested the cancellation of their jobs.
        await self._background.close()
        await self._publisher.close()
        await self._store.close()
        await self._heartbeat.close()

    async def _start_backend(self, name: str, start: Callable[[], Awaitable[None]]) -> None:
        """Start a client; while its backend does not answer, retry at the interval."""
        logged = ""
        while True:
            try:
                return await start()
            except BackendUnavailableError as error:
                if error.message != logged:
                    logged = error.message
                    logger.warning("waits for the %s: %s", name, logged)
            await asyncio.sleep(self._settings.backend_check_interval_s)

    async def _ask_memory(self) -> None:
        # The monitor of the backends says it where the store is away.
        with suppress(BackendUnavailableError):
            memory = await self._store.memory_bytes()
            if memory is not None:
                self._metrics.show_store_memory(*memory)

    async def _share_quotas(self) -> None:
        # Without the store the newest count stays: the other gateways are still there.
        with suppress(BackendUnavailableError):
            self._access.quotas.grant(1 / await self._store.gateway_count())

    def _build_submitter(self) -> Submitter:
        return Submitter(
            store=self._store,
            publisher=self._publisher,
            settings=self._settings,
            background=self._background,
            recent=self._access.recent,
            stored_bytes_max=self._access.quotas.stored_bytes_max,
            on_published=self._count_published,
        )

    def _count_published(self, published: Published) -> None:
        self._metrics.observe_publication(published.took_s, published.image_bytes)
        self._backlog.add(published.lane, published.cost)

    def _build_servers(self) -> Servers:
        settings, submitter = self._settings, self._build_submitter()
        checker = RequestChecker(settings, tenant_share=settings.tenant_open_share)
        canceller = Canceller(
            self._store, self._background, on_sent=self._metrics.cancellations_sent.inc
        )
        return build_servers(
            limits=settings,
            interceptor=GatewayInterceptor(
                gatekeeper=self._access.gatekeeper,
                reader=RequestReader(settings, tenant_share=settings.tenant_open_share),
                metrics=self._metrics,
                drain=self._drain,
                call_limit=self._call_limit,
                standard_streams=StandardStreams(settings, caller_share=settings.tenant_open_share),
            ),
            vision=VisionService(
                gatekeeper=self._access.gatekeeper,
                admission=self._admission,
                checker=checker,
                inference=Inference(submitter=submitter, store=self._store, canceller=canceller),
                drain=self._drain,
                metrics=self._metrics,
            ),
            jobs=JobService(
                admission=self._admission,
                checker=checker,
                submitter=submitter,
                store=self._store,
                drain=self._drain,
            ),
            serving=self._serving,
            reflected=settings.reflection != "off",
        )

    async def _update_health(self) -> None:
        problems = self._backends.problems
        await self._serving.set([f"the {name} {one.what}" for name, one in problems.items()])

    def _follow_parts(self, registry: CollectorRegistry) -> None:
        self._metrics.follow_admission(self._admission)
        registry.register(BacklogCollector(self._backlog))
        for name in self._backends.names:
            self._metrics.follow_backend(name, lambda: self._backends.problems)
        if self._access.keys_ok is not None:
            self._metrics.follow_keys(self._access.keys_ok)
