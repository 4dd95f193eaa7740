"""Address, user and encryption of Redis, for the store and for the bus on Redis."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr

from arno.errors import ConfigurationError
from arno.ops.config import Settings
from arno.ops.secret_text import secret_text
from arno.ops.tls import client_context


class RedisAccessSettings(Settings):
    """How to reach Redis. A password belongs into a file or a variable, not into the URL."""

    help_section = "Redis"

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        description="The Redis that holds jobs, results and large images, and the streams when bus "
        "is redis; rediss:// for TLS.",
    )
    redis_username: str = Field("", description="User of Redis; empty is its default user.")
    redis_password: SecretStr | None = Field(None, description="That user's password.")
    redis_password_file: Path | None = Field(
        None,
        description="File with that user's password, read for every new connection; "
        "ARNO_REDIS_PASSWORD may hold it itself.",
    )
    redis_ca: Path | None = Field(
        None, description="PEM file of authorities to trust for rediss://; default: the system's."
    )
    redis_client_cert: Path | None = Field(
        None, description="PEM file of our certificate, where Redis asks for one."
    )
    redis_client_key: Path | None = Field(None, description="PEM file of its key.")

    def redis_options(self) -> dict[str, Any]:
        """Return what a client of redis-py takes beside the URL.

        Raises:
            ConfigurationError: Files cannot be used, or settings contradict each other.
        """
        return {**self._who(), **self._encryption()}

    def _who(self) -> dict[str, Any]:
        if self.redis_password is None and self.redis_password_file is None:
            if self.redis_username:
                raise ConfigurationError("redis_username: needs redis_password or its file")
            return {}
        if "@" in self.redis_url:
            raise ConfigurationError("redis_url, redis_password: give the password in one of them")
        credentials = RedisCredentials(
            self.redis_username, self.redis_password, self.redis_password_file
        )
        # Once now, so that a file that cannot be read stops the start.
        credentials.get_credentials()
        return {"credential_provider": credentials}

    def _encryption(self) -> dict[str, Any]:
        files = {
            "ssl_ca_certs": self.redis_ca,
            "ssl_certfile": self.redis_client_cert,
            "ssl_keyfile": self.redis_client_key,
        }
        given = {name: str(path) for name, path in files.items() if path is not None}
        if not self.redis_url.startswith("rediss://"):
            if given:
                raise ConfigurationError("redis_ca, redis_client_*: need a rediss:// address")
            return {}
        client_context(self.redis_ca, self.redis_client_cert, self.redis_client_key, prefix="redis")
        return given


@dataclass(frozen=True, slots=True)
class RedisCredentials:
    """What redis-py asks for each new connection: a rotated password needs no restart.

    Satisfies its ``CredentialProvider`` by the names of the methods; this layer imports no client.
    """

    username: str
    password: SecretStr | None
    file: Path | None

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return user and password, or the password alone for the default user."""
        password = secret_text(self.password, self.file, name="redis_password")
        return (self.username, password) if self.username else (password,)

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the same. A small local file; no thread is worth it."""
        return self.get_credentials()


def holds_foreign_type(fault: Exception) -> bool:
    """Return whether Redis refused because a key holds a type that Arno does not keep there."""
    return str(fault).startswith("WRONGTYPE")
