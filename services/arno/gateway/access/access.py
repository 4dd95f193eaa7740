"""Build everything about access from the settings, and warn of what a gateway lacks."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass

import grpc

from arno.batching import RecentTenants
from arno.gateway.access.certificates import ServerCertificates, certificate_files
from arno.gateway.access.gatekeeper import Gatekeeper
from arno.gateway.access.key_file import TenantLimits
from arno.gateway.access.key_ring import KeyRing
from arno.gateway.access.loop_share import LoopShare
from arno.gateway.access.quotas import TenantQuotas
from arno.gateway.settings import AccessSettings, GatewayLimits


@dataclass(frozen=True, slots=True)
class Access:
    """The parts that decide on access.

    Attributes:
        gatekeeper: Checks every call and frame.
        quotas: Checks every job.
        recent: Knows which tenants have called lately.
        credentials: Makes those of a server; None is plain text.
        keys_ok: Returns whether the keys file was valid when it was last checked; None without
            such a file.
    """

    gatekeeper: Gatekeeper
    quotas: TenantQuotas
    recent: RecentTenants
    credentials: Callable[[], grpc.ServerCredentials] | None = None
    keys_ok: Callable[[], bool] | None = None


def open_access(settings: AccessSettings, *, limits: GatewayLimits) -> Access:
    """Read keys and certificates.

    Args:
        settings: Paths and shares.
        limits: The gateway's own, of which each tenant gets a share; and the retry delay of a
            tenant that has reached its quota.

    Raises:
        ConfigurationError: A file cannot be used, or settings contradict each other.
    """
    files = certificate_files(settings)
    path, interval_s = settings.keys_file, settings.keys_check_interval_s
    keys = None if path is None else KeyRing(path, check_interval_s=interval_s)
    quotas = TenantQuotas(
        keys.limits if keys else _no_limits,
        share=settings.quota_share or 1.0,
        retry_delay_s=limits.overload_retry_s,
        defaults=_defaults(settings, limits) if keys else _no_limits(""),
    )
    recent = RecentTenants()
    loop_share = LoopShare(
        settings.tenant_loop_share,
        recent=recent,
        wait_s_max=limits.receive_timeout_s,
        retry_delay_s=limits.overload_retry_s,
    )
    return Access(
        gatekeeper=Gatekeeper(
            keys, quotas, loop_share=loop_share, reflection_open=settings.reflection == "open"
        ),
        quotas=quotas,
        recent=recent,
        credentials=ServerCertificates(files).credentials if files else None,
        keys_ok=(lambda: keys.ok) if keys else None,
    )


def _defaults(settings: AccessSettings, limits: GatewayLimits) -> TenantLimits:
    share = settings.tenant_open_share
    return TenantLimits(
        jobs_in_flight=max(1, int(limits.jobs_in_flight_max * share)),
        bytes_in_flight=max(1, int(limits.bytes_in_flight_max * share)),
        calls_open=max(1, int(limits.calls_max * share)),
        streams_open=max(1, int(limits.streams_max * share)),
        stored_bytes=settings.tenant_stored_bytes_max,
    )


def _no_limits(_: str) -> TenantLimits:
    return TenantLimits()


def exposure_warnings(listen: str, settings: AccessSettings) -> list[str]:
    """Return a warning for each missing protection; none on a loopback address."""
    if _is_loopback(listen):
        return []
    warnings = []
    if settings.tls_server_cert is None:
        keyed = settings.keys_file is not None
        what = "images, answers and API keys" if keyed else "images and answers"
        warnings.append(
            f"listening on {listen} without TLS: {what} travel readable; set "
            "--tls-server-cert and --tls-server-key, or keep this port inside a trusted network"
        )
    if settings.keys_file is None and settings.tls_client_ca is None:
        warnings.append(
            f"listening on {listen} without API keys: every client that reaches this port may use "
            "it; set --keys-file (made by `arno keys create`)"
        )
    return warnings


def _is_loopback(listen: str) -> bool:
    if listen.startswith("unix:"):
        return True
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
