"""TLS towards the servers that Arno connects to, and what is said of files that cannot be used."""

from __future__ import annotations

import ssl
from pathlib import Path

from arno.errors import ConfigurationError


def client_context(
    ca: Path | None, cert: Path | None, key: Path | None, *, prefix: str
) -> ssl.SSLContext:
    """Return a context that checks certificates and names of servers: TLS 1.2 at least.

    Args:
        ca: PEM file of the authorities to trust; None trusts the system's.
        cert: PEM file of our own certificate chain, where the server asks for one.
        key: PEM file of its key, without a passphrase.
        prefix: What the names of these settings begin with, for messages: ``kafka``.

    Raises:
        ConfigurationError: A file cannot be used, or only one of ``cert`` and ``key`` is given.
    """
    if (cert is None) != (key is None):
        names = f"{prefix}_client_cert, {prefix}_client_key"
        raise ConfigurationError(f"{names}: give both or neither")
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{prefix}_ca: {ca}: {tls_fault(error)}") from error
    if cert is not None:
        try:
            # Without a password here, OpenSSL would ask the terminal for one.
            context.load_cert_chain(cert, key, password="")
        except (OSError, ValueError) as error:
            sentence = f"{prefix}_client_cert: {cert} with {key}: {tls_fault(error)}"
            raise ConfigurationError(sentence) from error
    return context


def tls_fault(error: Exception) -> str:
    """Return what is wrong with a file, in words that help: OpenSSL's do not."""
    if isinstance(error, ssl.SSLError):
        # OpenSSL's words for a file that is anything else are "PEM lib", or none at all.
        mismatch = "MISMATCH" in (error.reason or "")
        return (
            "certificate and key do not fit together"
            if mismatch
            else "not the PEM file that belongs here"
        )
    return str(error.strerror if isinstance(error, OSError) and error.strerror else error)
