"""How the gateway is reached: TLS, API keys, reflection."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from arno.ops.config import Settings


class AccessSettings(Settings):
    """Files that say who may call. Named apart from the client's `tls_*`: one file may set both."""

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
        1.0,
        gt=0,
        le=1,
        description="Part of every tenant's quota that this gateway grants: 1 / their number.",
    )
    reflection: Literal["open", "key", "off"] = Field(
        "open", description="Who may ask for the API's description: all, holders of a key, nobody."
    )
