"""Who we are to Kafka, and how to encrypt."""

from __future__ import annotations

from typing import Any, Final

from arno.bus.settings import BusSettings
from arno.errors import ConfigurationError
from arno.ops.masking import MASK
from arno.ops.secret_text import secret_text
from arno.ops.tls import client_context

_ENCRYPTED: Final = frozenset({"SSL", "SASL_SSL"})
_WITH_USER: Final = frozenset({"SASL_SSL", "SASL_PLAINTEXT"})


def security_config(settings: BusSettings) -> dict[str, Any]:
    """Return what a Kafka client takes for it.

    Raises:
        ConfigurationError: Files cannot be used, or settings contradict each other.
    """
    protocol = settings.kafka_security_protocol
    return {
        "security_protocol": protocol,
        **_encryption(settings, encrypted=protocol in _ENCRYPTED),
        **_who(settings, with_user=protocol in _WITH_USER),
    }


def _encryption(settings: BusSettings, *, encrypted: bool) -> dict[str, Any]:
    files = (settings.kafka_ca, settings.kafka_client_cert, settings.kafka_client_key)
    if encrypted:
        return {"ssl_context": client_context(*files, prefix="kafka")}
    if any(files):
        raise ConfigurationError(
            "kafka_ca, kafka_client_*: need kafka_security_protocol SSL or SASL_SSL"
        )
    return {}


def _who(settings: BusSettings, *, with_user: bool) -> dict[str, Any]:
    password = secret_text(
        settings.kafka_password, settings.kafka_password_file, name="kafka_password"
    )
    if with_user and not (settings.kafka_username and password):
        raise ConfigurationError(
            f"kafka_username, kafka_password: {settings.kafka_security_protocol} needs both"
        )
    if not with_user:
        if settings.kafka_username or password:
            raise ConfigurationError("kafka_username, kafka_password: need a SASL protocol")
        return {}
    return {
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_username,
        "sasl_plain_password": _Hidden(password),
    }


class _Hidden(str):
    """A password that does not show where the client logs its settings, as it does at DEBUG."""

    __slots__ = ()

    def __repr__(self) -> str:
        return MASK
