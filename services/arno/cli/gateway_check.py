"""The finding of `arno doctor` about a gateway: ready, encrypted as expected, and open to us."""

from __future__ import annotations

import contextlib
import ssl
import time
from typing import Final

from arno.cli.checks import Finding, Level, split_address
from arno.cli.connecting import API_KEY_VARIABLE, Connection
from arno.cli.probes import probe_port, probe_tls
from arno.errors import (
    ArnoError,
    ConfigurationError,
    UnauthenticatedError,
    UnknownJobError,
)

_TIMEOUT_S: Final = 3.0
_NO_JOB: Final = "doctor"
_DAY_S: Final = 24 * 3600
_DAYS_MIN: Final = 14


def check_gateway(gateway: Connection) -> Finding:
    """Ask a gateway whether it is ready, and whether it would take our calls."""
    try:
        with gateway.client(timeout_s=_TIMEOUT_S) as client:
            if not client.ready(timeout_s=_TIMEOUT_S):
                return _silence(gateway)
            with contextlib.suppress(UnknownJobError):
                client.get(_NO_JOB)
    except UnauthenticatedError as error:
        advice = f"set {API_KEY_VARIABLE} or --api-key-file; operators: arno keys list"
        found = f"{gateway.address} is ready, but {error.message}"
        return Finding(Level.FAIL, "gateway", found, advice)
    except ConfigurationError as error:
        return Finding(Level.FAIL, "gateway", error.message, "correct --address or the --tls files")
    except ArnoError as error:
        found = f"{gateway.address}: {error.message}"
        return Finding(Level.FAIL, "gateway", found, "read its log")
    return _served(gateway)


def _served(gateway: Connection) -> Finding:
    found = f"{gateway.address} is ready"
    if gateway.tls is None:
        return Finding(Level.OK, "gateway", found)
    ends = probe_tls(*split_address(gateway.address), gateway.tls.context()).said
    if not ends:
        return Finding(Level.OK, "gateway", f"{found}, over TLS")
    days = (ssl.cert_time_to_seconds(ends) - time.time()) / _DAY_S
    found = f"{found}, over TLS; its certificate ends in {days:.0f} days"
    if days < _DAYS_MIN:
        return Finding(Level.WARN, "gateway", found, "renew it: the files are read again by itself")
    return Finding(Level.OK, "gateway", found)


def _silence(gateway: Connection) -> Finding:
    host, port = split_address(gateway.address)
    if not probe_port(host, port).ok:
        found = f"nothing listens on {gateway.address}"
        return Finding(Level.FAIL, "gateway", found, "start one: arno up")
    if gateway.tls is None and probe_tls(host, port, _trusting()).ok:
        found = f"{gateway.address} speaks TLS, and was asked in plain text"
        return Finding(Level.FAIL, "gateway", found, "--tls-ca FILE, or --tls")
    if gateway.tls is not None:
        handshake = probe_tls(host, port, gateway.tls.context())
        if not handshake.ok:
            found = f"{gateway.address} refuses the TLS handshake: {handshake.said}"
            return Finding(
                Level.FAIL, "gateway", found, "correct --tls-ca, --tls-cert and --tls-key"
            )
    found = f"{gateway.address} listens, but is not ready or is no gateway"
    return Finding(Level.FAIL, "gateway", found, "read its log, or GET /readyz on its metrics port")


def _trusting() -> ssl.SSLContext:
    # Only to find out whether TLS is spoken at all; nothing is sent.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
