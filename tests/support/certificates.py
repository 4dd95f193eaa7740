"""An authority of a test's own, and the certificates that it signs for 127.0.0.1."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as PEM files.

    Attributes:
        certificate: The chain.
        key: PKCS#8, without a passphrase.
    """

    certificate: Path
    key: Path

    @property
    def together(self) -> bytes:
        """Key and chain in one, as Kafka wants them."""
        return self.key.read_bytes() + self.certificate.read_bytes()


class Authority:
    """Signs certificates; ``ca`` is the file that trusts them."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        """Make an authority; its files land in the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        signed = _builder(self._name, self._name, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.ca = folder / f"{name.replace(' ', '-')}.pem"
        self.ca.write_bytes(_pem(signed.sign(self._key, hashes.SHA256())))

    def pair(self, name: str, *, hosts: Sequence[str] = ()) -> Pair:
        """Make a certificate for 127.0.0.1 and localhost, good for servers and clients.

        A second one of the same name takes the place of the first.

        Args:
            name: Its subject, and that of its files.
            hosts: More names of hosts.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [
            *map(x509.DNSName, ("localhost", *hosts)),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        signed = (
            _builder(_name(name), self._name, key)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pair = Pair(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        pair.certificate.write_bytes(_pem(signed))
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return pair


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now_at = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now_at - _LIFE)
        .not_valid_after(now_at + _LIFE)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
