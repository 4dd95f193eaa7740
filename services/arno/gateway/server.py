"""The gRPC servers of one port: their limits, services, health and reflection.

gRPC hands a server its new calls one after the other, each some turns of the event loop after the
one before: some 400 a second where the loop is busy. Calls stand in that line before their tenant
is known. So several servers listen on the port, in one loop and with the same services; the kernel
gives each of them a part of the connections.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
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

_SERVERS: Final = 16
"""Four take as many calls. But where two connections share a server, which chance decides, the
calls of one wait behind a flood of the other: 60 ms at 430 calls a second. One costs 50 kB.
"""

_PENDING_CALLS_MAX: Final = 16_384
"""Calls that have arrived and are not being served yet.

Above gRPC's own default of 1,000 it drops some at random with CANCELLED: callers in a burst would
learn of no limit, and no client retries that code. Each takes some 10 kB until it is refused.
"""


class Servers:
    """Several servers that are one to those who call. Lives in one asyncio loop."""

    def __init__(self, servers: Sequence[grpc.aio.Server]) -> None:
        """Take servers with the same services, which listen nowhere yet."""
        self._servers = servers

    def listen(
        self, address: str, credentials: Callable[[], grpc.ServerCredentials] | None = None
    ) -> int:
        """Bind the address, encrypted where something makes credentials, and return its port.

        Raises:
            ConfigurationError: The address cannot be had.
        """
        host, _, named_port = address.rpartition(":")
        shared = named_port.isdecimal() and not address.startswith("unix")
        if shared:
            _require_unused(host, int(named_port), address)
        port = _bound(self._servers[0], address, credentials)
        # A socket of the file system has one listener.
        for server in self._servers[1:] if shared else ():
            _bound(server, f"{host}:{port}", credentials)
        return port

    async def start(self) -> None:
        """Let calls in."""
        for server in self._servers:
            await server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no further calls, and end those that are open after a while."""
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


def build_servers(
    *,
    limits: GatewayLimits,
    interceptor: GatewayInterceptor,
    vision: VisionService,
    jobs: JobService,
    serving: ServingState,
    reflected: bool = True,
) -> Servers:
    """Return the servers with everything registered; their port is still to be added."""

    def server() -> grpc.aio.Server:
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

    return Servers([server() for _ in range(_SERVERS)])


def _require_unused(host: str, port: int, address: str) -> None:
    """Refuse an address at which another process listens: sharing its port would not show it."""
    if not port:
        return
    with suppress(socket.gaierror):
        places = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, place in places:
            try:
                with socket.socket(family, kind, protocol) as trial:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    trial.bind(place)
            except OSError as error:
                # All else is for gRPC to judge: it does without IPv6 where the machine has none.
                if error.errno == errno.EADDRINUSE:
                    raise _cannot_listen(address) from error


def _bound(
    server: grpc.aio.Server, address: str, credentials: Callable[[], grpc.ServerCredentials] | None
) -> int:
    try:
        port: int = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials())
        )
    except RuntimeError as error:
        # gRPC does not say why; its own log line, which stands before this one, does.
        raise _cannot_listen(address) from error
    return port


def _cannot_listen(address: str) -> ConfigurationError:
    sentence = f"--listen {address}: cannot listen there; another process may do so already"
    return ConfigurationError(sentence)


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
        # For these servers alone; two gateways on one port would answer in turns, unnoticed.
        ("grpc.so_reuseport", 1),
    ]
