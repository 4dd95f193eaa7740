"""Open gRPC channels to a gateway: message sizes, keep-alive, retries, TLS."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import grpc

from arno.errors import ConfigurationError
from arno.ops.tls import tls_fault
from arno.vocabulary.job import HEALTH_OF_ROUTING

ChannelT = TypeVar("ChannelT", grpc.Channel, grpc.aio.Channel)

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
"""Where `arno up` and `arno gateway` listen by default."""

_RECEIVE_BYTES_MAX: Final = 64 * 1024 * 1024
"""An answer of 64 tasks full of polygons is far below; gRPC's own 4 MiB is not."""

_SERVICES: Final = ("arno.api.v1.VisionService", "arno.api.v1.JobService")

# UNAVAILABLE: AIP-194. CANCELLED: so gRPC's server ends the calls that reach it while it stops,
# before a gateway has seen them; a gateway's own CANCELLED forbids a retry (`gateway/status.py`).
# The backoff adds up to about six seconds: a gateway that restarts is back by then.
_SERVICE_CONFIG: Final = json.dumps(
    {
        # Over all addresses of a name: a headless service has one for each gateway.
        "loadBalancingConfig": [{"round_robin": {}}],
        # No call goes to a gateway that has begun to leave, once that is known here. A server
        # without the health service counts as healthy.
        "healthCheckConfig": {"serviceName": HEALTH_OF_ROUTING},
        "methodConfig": [
            {
                "name": [{"service": service} for service in _SERVICES],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.3s",
                    "maxBackoff": "4s",
                    "backoffMultiplier": 2.5,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ],
    }
)

OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.max_receive_message_length", _RECEIVE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    # Two clients of one process must not share a connection: closing one would disturb the other.
    ("grpc.use_local_subchannel_pool", 1),
    # A gateway whose machine has died, or whose connection a router has forgotten, says nothing any
    # more. TCP alone notices that only while something is sent: a watch would wait for ever. Both
    # together are shorter than the default time limit of a call, which is then sent to another
    # gateway. A gateway takes a ping every 10 s (`ping_interval_s_min`).
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A ping that is written before gRPC has noted that it is one for keep-alive, which is most of
    # them, has only this limit: a minute by default.
    ("grpc.http2.ping_timeout_ms", 10_000),
    # As often as needed: by default two pings at most while only the gateway speaks.
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
"""What every channel of the SDK is opened with."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS to a gateway.

    Attributes:
        root_certificates: PEM file of the authorities to trust; None trusts the system's.
        certificate: PEM file of this client's certificate chain, for mutual TLS.
        private_key: PEM file of its key; given together with the certificate or not at all.
    """

    root_certificates: str | PathLike[str] | None = None
    certificate: str | PathLike[str] | None = None
    private_key: str | PathLike[str] | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files for gRPC.

        Raises:
            ConfigurationError: A file cannot be used, or only half of a key pair was given.
        """
        # gRPC reports a file that is no PEM only after the timeout of the call.
        self.context()
        return grpc.ssl_channel_credentials(
            root_certificates=_read(self.root_certificates),
            private_key=_read(self.private_key),
            certificate_chain=_read(self.certificate),
        )

    def context(self) -> ssl.SSLContext:
        """Read the files for Python's ssl.

        Raises:
            ConfigurationError: A file cannot be used, or only half of a key pair was given.
        """
        if (self.certificate is None) != (self.private_key is None):
            raise ConfigurationError("tls: give certificate and private_key together")
        try:
            context = ssl.create_default_context(cafile=self.root_certificates)
        except (OSError, ValueError) as error:
            sentence = f"tls: {self.root_certificates}: {tls_fault(error)}"
            raise ConfigurationError(sentence) from error
        if self.certificate is not None and self.private_key is not None:
            try:
                # Without a password here, OpenSSL would ask the terminal for one.
                context.load_cert_chain(self.certificate, self.private_key, password="")
            except (OSError, ValueError) as error:
                sentence = f"tls: {self.certificate} with {self.private_key}: {tls_fault(error)}"
                raise ConfigurationError(sentence) from error
        return context


def with_key(channel: ChannelT, api_key: str) -> ChannelT:
    """Return what stubs are built on, so that each of their calls shows the key.

    Raises:
        ConfigurationError: It cannot stand in a header. The message does not repeat it.
    """
    if not api_key:
        return channel
    if not (api_key.isascii() and api_key.isprintable()):
        raise ConfigurationError("api_key: holds characters that no API key has")
    return cast("ChannelT", _Keyed(channel, (("authorization", f"Bearer {api_key}"),)))


class _Keyed:
    """Builds calls as its channel does: one class, where interceptors would take eight."""

    def __init__(self, channel: Any, metadata: tuple[tuple[str, str], ...]) -> None:
        self._channel = channel
        self._metadata = metadata

    def __getattr__(self, name: str) -> Any:
        build = getattr(self._channel, name)

        def call(*arguments: Any, **options: Any) -> Any:
            return partial(build(*arguments, **options), metadata=self._metadata)

        return call


def open_channel(address: str, tls: Tls | None) -> grpc.Channel:
    """Return a channel for blocking calls; it connects at the first call.

    Raises:
        ConfigurationError: The address has another form, or a file of `tls` cannot be read.
    """
    _check_address(address)
    if tls is None:
        return grpc.insecure_channel(address, options=OPTIONS)
    return grpc.secure_channel(address, tls.credentials(), options=OPTIONS)


def open_aio_channel(address: str, tls: Tls | None) -> grpc.aio.Channel:
    """Return a channel for the running asyncio loop; it connects at the first call.

    Raises:
        ConfigurationError: The address has another form, or a file of `tls` cannot be read.
    """
    _check_address(address)
    if tls is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    return grpc.aio.secure_channel(address, tls.credentials(), options=OPTIONS)


def _check_address(address: str) -> None:
    """Refuse what gRPC tells in sentences of its own, or only after all its retries."""
    if not address or not address.isprintable() or address.startswith(("http://", "https://")):
        raise ConfigurationError(f"address: must be HOST:PORT, not {address!r}")


def _read(path: str | PathLike[str] | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"tls: cannot read {path}: {error.strerror or error}") from error
