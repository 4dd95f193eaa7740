"""The settings of the web process: where it listens, and what it takes."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from arno.ops.config import LogSettings, ObservabilitySettings
from arno.ops.secret_text import secret_text

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_PORTS: Final = 65_536


class WebSettings(LogSettings):
    """All settings of the web process. Their names begin alike: variables may be shared."""

    help_section = "Server"

    web_listen: str = Field(
        "127.0.0.1:8080", description="Address of the HTTP server; port 0 takes a free one."
    )
    web_public: bool = Field(
        False, description="Allow an address that is not loopback: others can reach it then."
    )
    web_hosts: tuple[str, ...] = Field(
        (), description="Host names under which it is reached, beside localhost and IP addresses."
    )
    web_body_bytes_max: int = Field(
        28 * _MIB,
        ge=1,
        description="Largest body of a request: an image of 16 MiB in base64, and its tasks.",
    )
    web_bodies_bytes_max: int = Field(
        256 * _MIB, ge=1, description="Most bytes of the bodies of all requests in flight."
    )
    web_receive_timeout_s: float = Field(
        30.0, gt=0, description="How long a body may take to arrive."
    )
    web_timeout_s: float = Field(
        60.0, gt=0, description="How long an answer may take where the request does not say."
    )
    web_timeout_s_max: float = Field(
        600.0, gt=0, description="Longest `timeout_s` that a request may ask for."
    )
    web_connections_max: int = Field(
        1024, ge=1, description="Most connections and requests open at once; more get status 503."
    )
    web_drain_s: float = Field(
        10.0, ge=0, description="How long requests in flight may go on after SIGTERM."
    )
    web_previews: str = Field(
        "",
        pattern=r"^(http://[A-Za-z0-9.:\[\]_-]+)?$",
        description="http://HOST:PORT of the metrics of an `arno ingest` with `preview`: the page "
        "shows its cameras to everyone whom the gateway serves.",
    )
    web_previews_max: int = Field(
        16, ge=1, description="Most previews that are watched at once; more get status 503."
    )
    web_model: str = Field(
        "arno",
        min_length=1,
        description="Name of the served model in the OpenAI-compatible API.",
    )

    @field_validator("web_listen")
    @classmethod
    def _has_a_port(cls, listen: str) -> str:
        host, _, port = listen.rpartition(":")
        if host and port.isdecimal() and int(port) < _PORTS:
            return listen
        raise ValueError(f"needs HOST:PORT, with a port below {_PORTS}")

    @field_validator("web_hosts")
    @classmethod
    def _in_lower_case(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name.lower() for name in names)

    @model_validator(mode="after")
    def _public_only_when_asked(self) -> Self:
        if not self.web_public and not is_loopback(self.host):
            raise ValueError(
                f"--web-listen (ARNO_WEB_LISTEN): {self.web_listen} is not a loopback address; "
                "every client that reaches it may use this server with plain HTTP: put a proxy "
                "with TLS in front of it, or allow it by --web-public"
            )
        return self

    @property
    def host(self) -> str:
        """The host of the address, without brackets."""
        return self.web_listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of the address."""
        return int(self.web_listen.rpartition(":")[2])


class AppSettings(WebSettings, ObservabilitySettings):
    """What `arno web` takes beside what every HTTP server of Arno does."""

    help_section = "Label Studio"

    web_image_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts from which images of Label Studio's tasks are fetched, each as HOST or "
        "HOST:PORT; none else is asked.",
    )
    web_image_private: bool = Field(
        False,
        description="Allow these hosts to have addresses of private networks and of this machine.",
    )
    web_image_folders: tuple[Path, ...] = Field(
        (), description="Folders that hold what Label Studio serves from its local storage."
    )
    web_image_bytes_max: int = Field(
        16 * _MIB, ge=1, description="Largest image that is fetched or read for a task."
    )
    web_fetch_timeout_s: float = Field(
        20.0, gt=0, description="How long an image may take to arrive."
    )
    web_fetches_max: int = Field(
        8, ge=1, description="Images of tasks that are in flight at once; more wait."
    )
    web_label_studio_url: str = Field(
        "",
        description="Address of Label Studio: its uploads are fetched there, and late predictions "
        "sent there.",
    )
    web_label_studio_key: SecretStr | None = Field(
        None, description="Access token of Label Studio, legacy or personal."
    )
    web_label_studio_key_file: Path | None = Field(
        None, description="File with the token of a Label Studio user."
    )
    web_label_studio_wait_s: float = Field(
        30.0,
        gt=0,
        description="How long a request of Label Studio waits for predictions. It gives up after "
        "100 s, and proxies before it often after 60 s.",
    )
    web_label_studio_tasks_max: int = Field(
        1000, ge=1, description="Most tasks of a request of Label Studio."
    )
    web_label_studio_late_max: int = Field(
        4096, ge=0, description="Most predictions that are sent to Label Studio when they are done."
    )
    web_label_studio_score_min: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Least score of a region in a prediction, where the label config does not say.",
    )

    @field_validator("web_label_studio_url")
    @classmethod
    def _is_an_origin(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.query):
            raise ValueError("must be https://HOST or http://HOST, with a path at most")
        return url.rstrip("/")

    @field_validator("web_image_hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if "/" in host or "*" in host or not urlsplit(f"//{host}").hostname:
                raise ValueError(f"{host!r} is no HOST or HOST:PORT")
        return tuple(host.lower() for host in hosts)

    def label_studio_key(self) -> str:
        """Return the access token of Label Studio; empty for none.

        Raises:
            ConfigurationError: Its file cannot be read, or both ways were used.
        """
        key, file = self.web_label_studio_key, self.web_label_studio_key_file
        return secret_text(key, file, name="web_label_studio_key")


def is_loopback(host: str) -> bool:
    """Return whether only processes of this machine reach the host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
