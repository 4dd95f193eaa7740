"""Ask processes on this machine whether they are ready: quick, and never raising."""

from __future__ import annotations

import contextlib
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_TIMEOUT_S: Final = 1.0
_UNREACHABLE: Final = (OSError, UnicodeError, OverflowError)
"""What `socket` raises; the last two for impossible host names and ports."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a process said.

    Attributes:
        ok: Whether it is ready.
        said: Its own words where it is not, or what stood in the way of asking.
    """

    ok: bool
    said: str


def probe_redis(host: str, port: int, context: ssl.SSLContext | None = None) -> Probe:
    """PING a redis-server, over TLS with a context; one that still loads its file is not ready."""
    try:
        with contextlib.ExitStack() as stack:
            connection = stack.enter_context(
                socket.create_connection((host, port), timeout=_TIMEOUT_S)
            )
            if context is not None:
                connection = stack.enter_context(
                    context.wrap_socket(connection, server_hostname=host)
                )
            connection.sendall(b"PING\r\n")
            said = connection.recv(256).decode("ascii", "replace").strip()
    except ssl.SSLError as error:
        return Probe(False, _tls_fault(error))
    except _UNREACHABLE as error:
        return Probe(False, str(error))
    # A server with a password answers NOAUTH: it is there, and the URL has the password.
    return Probe(said.startswith(("+PONG", "-NOAUTH")), said)


def probe_port(host: str, port: int) -> Probe:
    """Connect to a TCP port."""
    try:
        socket.create_connection((host, port), timeout=_TIMEOUT_S).close()
    except _UNREACHABLE as error:
        return Probe(False, str(error))
    return Probe(True, "")


def probe_tls(host: str, port: int, context: ssl.SSLContext) -> Probe:
    """Shake hands over TLS; what is said of a certificate that was checked is when it ends."""
    try:
        with (
            socket.create_connection((host, port), timeout=_TIMEOUT_S) as connection,
            context.wrap_socket(connection, server_hostname=host) as encrypted,
        ):
            return Probe(True, str((encrypted.getpeercert() or {}).get("notAfter", "")))
    except ssl.SSLError as error:
        return Probe(False, _tls_fault(error))
    except _UNREACHABLE as error:
        return Probe(False, str(error))


def _tls_fault(error: ssl.SSLError) -> str:
    return getattr(error, "verify_message", "") or error.reason or str(error)


def probe_http(url: str) -> Probe:
    """Read a probe such as http://127.0.0.1:9100/readyz."""
    if urlsplit(url).scheme != "http":
        return Probe(False, f"not an http address: {url}")
    try:
        return _read_probe(url)
    except (OSError, ValueError) as error:
        return Probe(False, str(error))


def _read_probe(url: str) -> Probe:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http only
            return Probe(answer.status == 200, "")
    except urllib.error.HTTPError as error:
        # Its body may come late, or never, from a process that is busy.
        with error:
            return Probe(False, error.read(500).decode("utf-8", "replace").strip())
