"""The flags of a connection to a gateway: its address, TLS, the API key."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from arno.client import AsyncClient, Client, Tls
from arno.errors import ConfigurationError
from arno.ops.help_sections import InSection

Command = TypeVar("Command", bound=Callable[..., Any])

API_KEY_VARIABLE: Final = "ARNO_API_KEY"
"""Holds the key itself. No flag does: every user of a machine can read command lines."""

SECTION: Final = "Connection to the gateway"
"""The heading of these flags in the help of a verb."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How to connect to a gateway.

    Attributes:
        address: HOST:PORT; empty if none was given.
        tls: None for plain text.
        api_key: Empty for none.
    """

    address: str
    tls: Tls | None = None
    api_key: str = field(default="", repr=False)

    def client(self, *, timeout_s: float = 60.0) -> Client:
        """Return a client; it connects at its first call.

        Raises:
            ConfigurationError: A TLS file cannot be used, or the address is malformed.
        """
        return Client(self.address, timeout_s=timeout_s, tls=self.tls, api_key=self.api_key)

    def async_client(self) -> AsyncClient:
        """Return an asyncio client; to be called in the loop that uses it.

        Raises:
            ConfigurationError: A TLS file cannot be used, or the address is malformed.
        """
        return AsyncClient(self.address, tls=self.tls, api_key=self.api_key)


def connection_options(
    *,
    default: str | None,
    variable: str | None = "ARNO_ADDRESS",
    purpose: str = "Address of the gateway.",
) -> Callable[[Command], Command]:
    """Add the flags to a command, which gets them as ``gateway=``, a `Connection`.

    Args:
        default: Address to use if none is given; None leaves the address empty.
        variable: Environment variable that may hold the address; None reads the flag only.
        purpose: Help text of ``--address``.
    """

    def decorate(command: Command) -> Command:
        # As `wraps` copies attributes, the options of decorators below this one stay.
        @functools.wraps(command)
        def run(
            address: str | None,
            tls: bool,
            tls_ca: Path | None,
            tls_cert: Path | None,
            tls_key: Path | None,
            api_key_file: Path | None,
            **options: Any,
        ) -> Any:
            encrypted = tls or any((tls_ca, tls_cert, tls_key))
            gateway = Connection(
                address or "",
                tls=Tls(tls_ca, tls_cert, tls_key) if encrypted else None,
                api_key=_api_key(api_key_file),
            )
            return command(gateway=gateway, **options)

        for option in reversed([_address(default, variable, purpose), *_encryption()]):
            run = option(run)
        return run  # type: ignore[return-value] # click takes the flags, so the command need not

    return decorate


def _address(default: str | None, variable: str | None, purpose: str) -> Callable[..., Any]:
    return click.option(
        "--address",
        cls=InSection,
        section=SECTION,
        default=default,
        envvar=variable,
        show_envvar=variable is not None,
        show_default=default is not None,
        metavar="HOST:PORT",
        help=purpose,
    )


def _encryption() -> list[Callable[..., Any]]:
    file = click.Path(dir_okay=False, path_type=Path)
    shown: dict[str, Any] = {"show_envvar": True, "cls": InSection, "section": SECTION}
    return [
        click.option(
            "--tls",
            is_flag=True,
            envvar="ARNO_TLS",
            help="Use TLS; any --tls-* flag implies it.",
            **shown,
        ),
        click.option(
            "--tls-ca",
            type=file,
            envvar="ARNO_TLS_CA",
            help="PEM file of trusted certificate authorities.  [default: the system's]",
            **shown,
        ),
        click.option(
            "--tls-cert",
            type=file,
            envvar="ARNO_TLS_CERT",
            help="PEM file of the client certificate, for mutual TLS.",
            **shown,
        ),
        click.option(
            "--tls-key",
            type=file,
            envvar="ARNO_TLS_KEY",
            help="PEM file of its private key.",
            **shown,
        ),
        click.option(
            "--api-key-file",
            type=file,
            envvar="ARNO_API_KEY_FILE",
            help=f"File with an API key; {API_KEY_VARIABLE} may hold the key itself.",
            **shown,
        ),
    ]


def _api_key(file: Path | None) -> str:
    if file is None:
        return os.environ.get(API_KEY_VARIABLE, "").strip()
    try:
        return file.read_text(encoding="ascii").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"--api-key-file {file}: holds no API key") from None
    except OSError as error:
        sentence = f"--api-key-file {file}: {error.strerror or error}"
        raise ConfigurationError(sentence) from error
