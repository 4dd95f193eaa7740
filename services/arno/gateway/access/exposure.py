"""Say what a gateway that can be reached from elsewhere lacks."""

from __future__ import annotations

import ipaddress

from arno.gateway.access.settings import AccessSettings


def exposure_warnings(listen: str, settings: AccessSettings) -> list[str]:
    """Return a sentence for each protection that is missing; none on a loopback address."""
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
            f"listening on {listen} without API keys: whoever reaches this port may use it; set "
            "--keys-file (made by `arno keys create`)"
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
