"""A real Kafka broker whose clients need TLS, a SCRAM password, and the right to what they do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from arno.ops.ports import free_port
from support.certificates import Pair
from support.kafka_broker import KafkaBroker

ADMIN = "admin"
MECHANISM = "SCRAM-SHA-512"


class SecureKafkaBroker(KafkaBroker):
    """One broker; a second listener in plain text is for the broker itself alone."""

    def __init__(self, folder: Path, *, pair: Pair, ca: Path, users: Mapping[str, str]) -> None:
        """Prepare a broker in an empty folder; nothing runs yet.

        Args:
            folder: For this broker alone.
            pair: Its certificate.
            ca: Authority of clients' certificates.
            users: Names to passwords; the user `ADMIN` may do everything.
        """
        super().__init__(folder)
        self._pair = pair
        self._ca = ca
        self._users = users
        self._inner_port = free_port()

    def _properties(self) -> str:
        store = self.folder / "broker.pem"
        store.write_bytes(self._pair.together)
        outer, inner = f"127.0.0.1:{self.port}", f"127.0.0.1:{self._inner_port}"
        listeners = f"SASL_SSL://{outer},INNER://{inner}"
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        changed = {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"{listeners},CONTROLLER://127.0.0.1:{self.controller_port}",
            "listener.security.protocol.map": "SASL_SSL:SASL_SSL,INNER:PLAINTEXT,"
            "CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "INNER",
            "sasl.enabled.mechanisms": MECHANISM,
            f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": login,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(store),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self._ca),
            # Without the prefix Kafka asks nobody for a certificate where there is SASL.
            "listener.name.sasl_ssl.ssl.client.auth": "required",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # The inner listener and the controller's know no names.
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
        }
        kept = [
            line
            for line in super()._properties().splitlines()
            if line.partition("=")[0] not in changed
        ]
        return "\n".join([*kept, *(f"{name}={value}" for name, value in changed.items()), ""])

    def _identity(self) -> list[str]:
        words = super()._identity()
        for name, password in self._users.items():
            words += ["--add-scram", f"{MECHANISM}=[name={name},password={password}]"]
        return words
