"""A real gateway in the loop of a test, on a free port, over real parts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from arno.api.v1 import job_pb2_grpc, vision_pb2_grpc
from arno.bus import Publisher, make_admin, make_publisher
from arno.gateway import lifecycle
from arno.gateway.gateway import Gateway
from arno.gateway.settings import GatewaySettings
from arno.results.gateway_store import GatewayStore
from prometheus_client import CollectorRegistry


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that serves, its parts, and a channel to it."""

    gateway: Gateway
    settings: GatewaySettings
    publisher: Publisher
    store: GatewayStore
    registry: CollectorRegistry
    channel: grpc.aio.Channel

    @property
    def vision(self) -> vision_pb2_grpc.VisionServiceAsyncStub:
        return vision_pb2_grpc.VisionServiceStub(self.channel)

    @property
    def jobs(self) -> job_pb2_grpc.JobServiceAsyncStub:
        return job_pb2_grpc.JobServiceStub(self.channel)


@asynccontextmanager
async def running(
    settings: GatewaySettings, gateway_id: str = "one"
) -> AsyncIterator[RunningGateway]:
    """Run a gateway for as long as the block lasts; the id tells it from others of the test.

    A gateway whose settings give no notice is left by its callers before the block ends.
    """
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    publisher = make_publisher(settings)
    store = GatewayStore(settings, gateway=gateway_id)
    registry = CollectorRegistry()
    gateway = Gateway(
        settings,
        publisher=publisher,
        store=store,
        registry=registry,
    )
    await gateway.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
            yield RunningGateway(gateway, settings, publisher, store, registry, channel)
    finally:
        with pytest.MonkeyPatch.context() as patch:
            if not settings.drain_notice_s:
                # No calls are left, and each of some hundred tests would wait to be sure of it.
                patch.setattr(lifecycle, "QUIET_S_MAX", 0.0)
            await gateway.stop()
