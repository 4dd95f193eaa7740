"""The gateway's settings: addresses, limits and waits. The bus's and the store's are mixed in."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, field_validator

from arno.bus.settings import BusSettings
from arno.ops.config import ObservabilitySettings, Settings, TenantMetricsSettings
from arno.results.settings import ResultSettings

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_DAY_S: Final = 24 * 3600
_PORTS: Final = 65_536

MESSAGE_OVERHEAD_BYTES: Final = 4 * _MIB
"""Room in a message beside the image: 64 tasks with 24 KiB of text and candidates each take
1.5 MiB. The rest lets an image a little above its limit arrive, so that it is refused by name and
not by gRPC."""


class RequestLimits(Settings):
    """What one request may hold. Every limit is checked before an image is decoded."""

    help_section = "Limits of a request"

    image_bytes_max: int = Field(
        16 * _MIB, ge=1, description="Largest image file that is taken, in bytes."
    )
    image_pixels_max: int = Field(
        50_000_000, ge=1, description="Most pixels (width x height) an image's header may state."
    )
    image_scans_max: int = Field(
        20,
        ge=1,
        description="Most scans of a JPEG of as many pixels; smaller ones may have more in "
        "proportion.",
    )
    tasks_max: int = Field(64, ge=1, le=1024, description="Most tasks in one request.")
    text_bytes_max: int = Field(
        8192, ge=1, description="Longest text of one task, or its classes together, in UTF-8 bytes."
    )
    classes_max: int = Field(64, ge=1, description="Most classes of one task.")
    candidates_max: int = Field(
        64, ge=1, description="Most given answers of one task that the model is to score."
    )
    candidates_bytes_max: int = Field(
        16 * _KIB, ge=1, description="Size of those answers together, in bytes of their messages."
    )


class StreamLimits(Settings):
    """What streams may hold."""

    help_section = "Limits of streams"

    streams_max: int = Field(256, ge=1, description="Most streams open at once in this gateway.")
    stream_in_flight_default: int = Field(
        4, ge=1, le=64, description="Frames of a stream open at once where it does not say."
    )
    stream_idle_s: float = Field(
        300.0, gt=0, description="A stream that sends no frame for so long is ended."
    )
    stream_backlog_max: int = Field(
        4096, ge=1, description="Frames of a stream waiting to be answered, dropped ones included."
    )


class GatewayLimits(RequestLimits, StreamLimits):
    """What the gateway takes, how long it waits, and how it listens."""

    help_section = "Server"

    listen: str = Field(
        "127.0.0.1:50051", description="Address of the gRPC server; port 0 takes a free one."
    )
    inline_image_bytes_max: int = Field(
        768 * _KIB, ge=0, description="Larger images go to the blob store, not into the record."
    )
    jobs_in_flight_max: int = Field(
        2048, ge=1, description="Most jobs that calls of this gateway submit or wait for at once."
    )
    store_uploads_max: int = Field(
        2,
        ge=1,
        description="Large images that are sent to the result store at once; a tenant may have "
        "`tenant_open_share` of them, at least one.",
    )
    bytes_in_flight_max: int = Field(
        256 * _MIB, ge=1, description="Most bytes of images held by those calls together."
    )
    stream_budget_share: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Part of both budgets that may be full for a job of the stream lane to enter.",
    )
    batch_budget_share: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Part of both budgets that may be full for a job of the batch lane to enter.",
    )
    interactive_wait_s_max: float = Field(
        30.0, gt=0, description="Longest predicted wait for workers on the interactive lane."
    )
    stream_wait_s_max: float = Field(
        30.0, gt=0, description="Longest predicted wait for workers on the stream lane."
    )
    batch_wait_s_max: float = Field(
        float(_DAY_S), gt=0, description="Longest predicted wait for workers on the batch lane."
    )
    backlog_interval_s: float = Field(
        1.0, gt=0, description="How often the bus and the workers are asked how much work waits."
    )
    overload_retry_s: float = Field(1.0, gt=0, description="Retry delay in refusals for overload.")
    default_deadline_s: float = Field(
        30.0, gt=0, description="How long Infer may take where the call has no deadline."
    )
    deadline_s_max: float = Field(
        600.0, gt=0, description="Longest that Infer may take, whatever the call's deadline."
    )
    answer_margin_s: float = Field(
        0.25, gt=0, description="How long before the deadline work stops, to answer in time."
    )
    job_time_to_live_s: int = Field(
        _DAY_S, ge=1, description="How long a submitted job may take where it does not say."
    )
    job_time_to_live_s_max: int = Field(
        7 * _DAY_S, ge=1, description="Longest time_to_live that SubmitJob takes."
    )
    unkeyed_infer_time_to_live_s: int = Field(
        300,
        ge=60,
        le=30 * _DAY_S,
        description="How long a job of Infer or InferStream without an idempotency key, and its "
        "large image, are kept after its deadline, in seconds: its answer has reached the caller.",
    )
    publish_timeout_s: float = Field(
        5.0, gt=0, description="How long the bus may take to acknowledge a record."
    )
    backend_check_interval_s: float = Field(
        1.0, gt=0, description="How often the bus and the store are asked whether they answer."
    )
    backend_check_timeout_s: float = Field(
        2.0, gt=0, description="How long they may take to acknowledge it."
    )
    loop_silence_s_max: float = Field(
        5.0,
        gt=0,
        description="A gateway whose event loop has not turned for longer is not alive.",
    )
    drain_s: float = Field(
        30.0, ge=0, description="How long calls in flight may go on after SIGTERM."
    )
    drain_notice_s: float = Field(
        0.0, ge=0, description="How long to say NOT_SERVING, and serve, before calls are refused."
    )
    receives_max: int = Field(
        128,
        ge=1,
        description="Messages of unary calls that are received at once; more wait, unread.",
    )
    receive_timeout_s: float = Field(
        10.0,
        gt=0,
        description="How long a message may take to arrive, and how long it waits for its turn.",
    )
    calls_max: int = Field(
        8192, ge=1, description="Most calls open at once in this gateway, streams included."
    )
    health_streams_max: int = Field(
        4096,
        ge=2,
        description="Most streams of gRPC's health and reflection services open at once; one host, "
        "or tenant, may have `tenant_open_share` of them.",
    )
    keepalive_time_s: float = Field(
        60.0, gt=0, description="A silent connection is pinged after this long."
    )
    keepalive_timeout_s: float = Field(
        20.0, gt=0, description="A connection that does not answer a ping for this long is closed."
    )
    ping_interval_s_min: float = Field(
        10.0,
        gt=0,
        description="Clients that ping more often than this are disconnected; those of the SDK "
        "do so every 30 s.",
    )
    connection_age_s: float = Field(
        300.0,
        gt=0,
        description="A connection as old as this, more or less by a tenth, takes no new calls, so "
        "that clients look for gateways anew; its open calls go on.",
    )
    metadata_bytes_max: int = Field(
        16 * _KIB, ge=1024, description="Largest metadata of a call, keys and traces included."
    )
    http2_streams_max: int = Field(
        1024, ge=1, description="Calls open at once on one connection; more wait in the client."
    )

    @field_validator("listen")
    @classmethod
    def _has_a_port(cls, listen: str) -> str:
        # gRPC takes an address without a port, and listens on a port of its own choice.
        host, _, port = listen.rpartition(":")
        if listen.startswith("unix:") or (host and port.isdecimal() and int(port) < _PORTS):
            return listen
        raise ValueError(f"needs HOST:PORT, with a port below {_PORTS}, or unix:PATH")

    @property
    def message_bytes_max(self) -> int:
        """Largest gRPC message that is read."""
        return self.image_bytes_max + MESSAGE_OVERHEAD_BYTES


class AccessSettings(Settings):
    """TLS, API keys, reflection. Not just `tls_*`: the client's settings may share a file."""

    help_section = "TLS, keys and tenants"

    tls_server_cert: Path | None = Field(
        None,
        description="PEM file of the gateway's certificate chain: with it the gateway speaks TLS.",
    )
    tls_server_key: Path | None = Field(
        None, description="PEM file of that certificate's key, without a passphrase."
    )
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file of authorities: every client must show a certificate of theirs.",
    )
    keys_file: Path | None = Field(
        None,
        description="File of API keys, made by `arno keys`: with it every call needs a key.",
    )
    keys_check_interval_s: float = Field(
        1.0, gt=0, le=60, description="How often that file is looked at for changes, in seconds."
    )
    quota_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Part of every tenant's quota that this gateway grants; 0: 1 / the number of "
        "gateways on its result store, counted every second.",
    )
    tenant_open_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Part of `calls_max`, `streams_max`, `jobs_in_flight_max`, "
        "`bytes_in_flight_max` and `receives_max` that one tenant may take where its limits do not "
        "say; with API keys only.",
    )
    tenant_loop_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Part of the event loop's time that the calls of one tenant may take while "
        "other tenants call; above it they wait, unread; with API keys only. 1: no bound.",
    )
    tenant_upload_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Part of the time for which parts of one tenant's large images may be on their "
        "way to the result store while other tenants call; with API keys only. 1: no bound.",
    )
    tenant_stored_bytes_max: int = Field(
        4 * 1024 * _MIB,
        ge=1,
        description="Most bytes of jobs, results and large images that one tenant may have in the "
        "result store where its limits do not say; with API keys only.",
    )
    reflection: Literal["open", "key", "off"] = Field(
        "open", description="Access to the API's description: for all, with a key, or off."
    )


class GatewaySettings(
    GatewayLimits,
    AccessSettings,
    BusSettings,
    ResultSettings,
    TenantMetricsSettings,
    ObservabilitySettings,
):
    """All settings of the gateway process."""
