"""The gateway's certificate, read again when its files change: rotation needs no restart.

gRPC asks before every handshake. Connections that stand keep the certificate that they began with.
"""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc

from arno.errors import ConfigurationError
from arno.gateway.settings import AccessSettings
from arno.ops.tls import tls_fault
from arno.ops.watched_file import WatchedFile

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of the parts.

    Attributes:
        chain: The certificate and its intermediates, PEM.
        key: Its key, PEM, without a passphrase.
        client_ca: Authorities of clients' certificates, PEM; None asks clients for none.
    """

    chain: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All paths."""
        return tuple(path for path in (self.chain, self.key, self.client_ca) if path is not None)


def certificate_files(settings: AccessSettings) -> CertificateFiles | None:
    """Return the paths of the certificate, or None where the gateway listens in plain text.

    Raises:
        ConfigurationError: Only some of the settings that belong together are set.
    """
    chain, key, client_ca = (
        settings.tls_server_cert,
        settings.tls_server_key,
        settings.tls_client_ca,
    )
    if chain is not None and key is not None:
        return CertificateFiles(chain, key, client_ca)
    if chain is None and key is None and client_ca is None:
        return None
    raise ConfigurationError(
        "tls_server_cert, tls_server_key: give both; tls_client_ca asks for clients' certificates "
        "as well, and does nothing without them"
    )


class ServerCertificates:
    """Reads the files, and reads them again before the next handshake once they have changed.

    A pair that does not match is not used: a writer of two files has written only one of them for a
    moment. Any thread; gRPC calls from its own.
    """

    def __init__(self, files: CertificateFiles) -> None:
        """Read the files.

        Raises:
            ConfigurationError: They are invalid. Only fatal at the start.
        """
        self._files = files
        self._lock = threading.Lock()
        self._file = WatchedFile(files.paths, self._read)

    def credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of one server, which follow the files."""
        told = self._file.value

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # Several servers share the files: what one has read is new to each of the others.
            nonlocal told
            with self._lock:
                newest = self._newest()
                if newest is told:
                    return None
                told = newest
                return newest

        return grpc.dynamic_ssl_server_credentials(
            told,
            changed,  # type: ignore[arg-type] # None is "no change", as its docs say
            require_client_authentication=self._files.client_ca is not None,
        )

    def _newest(self) -> grpc.ServerCertificateConfiguration:
        try:
            if self._file.refresh():
                logger.info("certificate read again", extra={"file": str(self._files.chain)})
        except ConfigurationError as error:
            logger.warning("%s; the certificate read before stays in use", error.message)
        return self._file.value

    def _read(self) -> grpc.ServerCertificateConfiguration:
        _require_usable(self._files)
        client_ca = self._files.client_ca
        return grpc.ssl_server_certificate_configuration(
            [(self._files.key.read_bytes(), self._files.chain.read_bytes())],
            root_certificates=None if client_ca is None else client_ca.read_bytes(),
        )


def _require_usable(files: CertificateFiles) -> None:
    # gRPC itself only reports that the handshake failed.
    for path in files.paths:
        try:
            path.stat()
        except OSError as error:
            raise ConfigurationError(f"tls: {path}: {error.strerror or error}") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password here, OpenSSL would ask the terminal for one.
        context.load_cert_chain(files.chain, files.key, password="")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"tls: {files.chain} with {files.key}: {tls_fault(error)}"
        ) from error
    if files.client_ca is None:
        return
    try:
        context.load_verify_locations(files.client_ca)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"tls: {files.client_ca}: {tls_fault(error)}") from error
