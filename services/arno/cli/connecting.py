"""The flags that say where a gateway is, how to encrypt, and which key to show."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from arno.client import Client, Tls
from arno.errors import ConfigurationError

Command = TypeVar("Command", bound=Callable[..., Any])

API_KEY_VARIABLE: Final = "ARNO_API_KEY"
"""Holds the key itself. There is no such flag: everybody on a machine can read command lines."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A gateway, and how to speak to it.

    Attributes:
        address: HOST:PORT; empty where none was named.
        tls: None for plain text.
        api_key: Empty for none.
    """

    address: str
    tls: Tls | None = None
    api_key: str = field(default="", repr=False)

    def client(self, *, timeout_s: float = 60.0) -> Client:
        """Return a client; it connects with its first call.

        Raises:
            ConfigurationError: A file cannot be used.
        """
        return Client(self.address, timeout_s=timeout_s, tls=self.tls, api_key=self.api_key)


def connection_options(
    *,
    default: str | None,
    variable: str | None = "ARNO_ADDRESS",
    purpose: str = "Ask this gateway.",
) -> Callable[[Command], Command]:
    """Add the flags; the command gets them as ``gateway=``, a `Connection`.

    Args:
        default: Where the gateway is if nobody says so; None leaves the address empty.
        variable: What may say so; None leaves it to the flag.
        purpose: What the flag is for.
    """

    def decorate(command: Command) -> Command:
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

        run.__name__, run.__doc__ = command.__name__, command.__doc__
        # Keep the options that decorators below this one have already added.
        vars(run)["__click_params__"] = list(getattr(command, "__click_params__", []))
        for option in reversed([_address(default, variable, purpose), *_encryption()]):
            run = option(run)
        return run  # type: ignore[return-value] # click takes the flags, so the command need not

    return decorate


def _address(default: str | None, variable: str | None, purpose: str) -> Callable[..., Any]:
    return click.option(
        "--address",
        default=default,
        envvar=variable,
        show_envvar=variable is not None,
        show_default=default is not None,
        metavar="HOST:PORT",
        help=purpose,
    )


def _encryption() -> list[Callable[..., Any]]:
    file = click.Path(dir_okay=False, path_type=Path)
    said: dict[str, Any] = {"show_envvar": True}
    return [
        click.option(
            "--tls", is_flag=True, envvar="ARNO_TLS", help="Encrypt; any --tls-* does so.", **said
        ),
        click.option(
            "--tls-ca",
            type=file,
            envvar="ARNO_TLS_CA",
            help="PEM file of authorities to trust.  [default: the system's]",
            **said,
        ),
        click.option(
            "--tls-cert",
            type=file,
            envvar="ARNO_TLS_CERT",
            help="PEM file of a certificate of yours, for mutual TLS.",
            **said,
        ),
        click.option(
            "--tls-key", type=file, envvar="ARNO_TLS_KEY", help="PEM file of its key.", **said
        ),
        click.option(
            "--api-key-file",
            type=file,
            envvar="ARNO_API_KEY_FILE",
            help=f"File that holds an API key; {API_KEY_VARIABLE} may hold the key itself.",
            **said,
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
