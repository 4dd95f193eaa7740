"""Build everything about access from the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc

from arno.gateway.access.certificates import ServerCertificates, certificate_files
from arno.gateway.access.gatekeeper import Gatekeeper
from arno.gateway.access.key_file import TenantLimits
from arno.gateway.access.key_ring import KeyRing
from arno.gateway.access.quotas import TenantQuotas
from arno.gateway.access.settings import AccessSettings


@dataclass(frozen=True, slots=True)
class Access:
    """What the gateway needs to know who calls and how.

    Attributes:
        gatekeeper: Asked for every call and frame.
        quotas: Asked for every job.
        credentials: What the port is bound with; None is plain text.
        keys_ok: Says whether the keys file could be used when it was last looked at; None without
            such a file.
    """

    gatekeeper: Gatekeeper
    quotas: TenantQuotas
    credentials: grpc.ServerCredentials | None = None
    keys_ok: Callable[[], bool] | None = None


def open_access(settings: AccessSettings, *, retry_delay_s: float) -> Access:
    """Read keys and certificates.

    Args:
        settings: Where they are.
        retry_delay_s: What tenants are told that have too much in flight.

    Raises:
        ConfigurationError: A file cannot be used, or settings contradict each other.
    """
    files = certificate_files(settings)
    path, interval_s = settings.keys_file, settings.keys_check_interval_s
    keys = None if path is None else KeyRing(path, check_interval_s=interval_s)
    quotas = TenantQuotas(
        keys.limits if keys else _no_limits,
        share=settings.quota_share,
        retry_delay_s=retry_delay_s,
    )
    return Access(
        gatekeeper=Gatekeeper(keys, quotas, reflection_open=settings.reflection == "open"),
        quotas=quotas,
        credentials=ServerCertificates(files).credentials() if files else None,
        keys_ok=(lambda: keys.ok) if keys else None,
    )


def _no_limits(_: str) -> TenantLimits:
    return TenantLimits()
