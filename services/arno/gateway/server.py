"""The gRPC server: its limits, its services, health and reflection."""

from __future__ import annotations

from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from arno.api.v1 import job_pb2_grpc, vision_pb2_grpc
from arno.errors import ConfigurationError
from arno.gateway.interceptor import GatewayInterceptor
from arno.gateway.job_service import JobService
from arno.gateway.lifecycle import SERVICE_NAMES, ServingState
from arno.gateway.settings import GatewayLimits
from arno.gateway.vision_service import VisionService

_PENDING_CALLS_MAX: Final = 16_384
"""Calls that have arrived and are not being served yet.

Above gRPC's own default of 1,000 it drops some at random with CANCELLED: callers in a burst would
learn of no limit, and no client retries that code. Each takes some 10 kB until it is refused.
"""


def build_server(
    *,
    limits: GatewayLimits,
    interceptor: GatewayInterceptor,
    vision: VisionService,
    jobs: JobService,
    serving: ServingState,
    reflected: bool = True,
) -> grpc.aio.Server:
    """Return the server with everything registered; its port is still to be added."""
    server = grpc.aio.server(
        interceptors=[interceptor],
        options=_options(limits),
        # The interceptor refuses what is above `calls_max`, and says why; this bounds refusals.
        maximum_concurrent_rpcs=2 * limits.calls_max,
    )
    vision_pb2_grpc.add_VisionServiceServicer_to_server(vision, server)
    job_pb2_grpc.add_JobServiceServicer_to_server(jobs, server)
    health_pb2_grpc.add_HealthServicer_to_server(serving.servicer, server)
    if reflected:
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection(
            (*SERVICE_NAMES, health_name, reflection.SERVICE_NAME), server
        )
    return server


def listen(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None = None
) -> int:
    """Bind the address, encrypted where there are credentials, and return its port.

    Raises:
        ConfigurationError: The address cannot be had.
    """
    try:
        port: int = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        # gRPC does not say why; its own log line, which stands before this one, does.
        sentence = f"--listen {address}: cannot listen there; another process may do so already"
        raise ConfigurationError(sentence) from error
    return port


def _options(limits: GatewayLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.message_bytes_max),
        # Answers hold text and regions; only a client's own limit bounds what it takes.
        ("grpc.max_send_message_length", limits.message_bytes_max),
        ("grpc.max_concurrent_streams", limits.http2_streams_max),
        ("grpc.server.max_pending_requests", _PENDING_CALLS_MAX),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_CALLS_MAX),
        ("grpc.max_metadata_size", limits.metadata_bytes_max),
        # gRPC refuses some of what is between the two limits, at random.
        ("grpc.absolute_max_metadata_size", limits.metadata_bytes_max),
        # Core varies it by a tenth for each connection. No grace is set: a stream may be older.
        ("grpc.max_connection_age_ms", round(limits.connection_age_s * 1000)),
        ("grpc.keepalive_time_ms", round(limits.keepalive_time_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_timeout_s * 1000)),
        # `client/channel.py` says why.
        ("grpc.http2.ping_timeout_ms", round(limits.keepalive_timeout_s * 1000)),
        ("grpc.http2.min_ping_interval_without_data_ms", round(limits.ping_interval_s_min * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Two gateways on one port would answer in turns, without a warning.
        ("grpc.so_reuseport", 0),
    ]
