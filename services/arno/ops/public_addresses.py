"""Keep calls to addresses that others name away from private networks.

The check is on the address that is connected to: a name that changes its meaning after a check
leads nowhere else. Needs aiohttp, which the extras ``notify``, ``ingest`` and ``web`` bring.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_TRANSLATED: Final = (
    (ipaddress.IPv6Network("::/96"), 0),  # IPv4-compatible
    (ipaddress.IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped
    (ipaddress.IPv6Network("::ffff:0:0:0/96"), 0),  # RFC 2765
    (ipaddress.IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (ipaddress.IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
"""IPv6 networks whose addresses hold an IPv4 address, and the bits that follow it."""

_LOCAL: Final = ipaddress.IPv6Network("64:ff9b:1::/48")
"""NAT64 of a network of one's own, RFC 8215: where in it an IPv4 address stands, only its owner
knows. Python counts it as global before 3.12."""


class PublicResolver(AbstractResolver):
    """Resolves names, and fails where one of the addresses is not on the public internet.

    The addresses that it returns are those that are connected to.
    """

    def __init__(self, *, setting: str = "allow_private") -> None:
        """Take the name of the setting that allows private addresses, for messages."""
        self._setting = setting
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: One of them is private, or there is none.
        """
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            _require_public(one["host"], of=host, setting=self._setting)
        return found

    async def close(self) -> None:
        """Disconnect."""
        await self._resolver.close()


def require_public_literal(url: str, *, setting: str = "allow_private") -> None:
    """Check an address that is written as a number, which no resolver sees.

    Raises:
        OSError: It is private.
    """
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    _require_public(host, of=host, setting=setting)


def _require_public(address: str, *, of: str, setting: str) -> None:
    found = ipaddress.ip_address(address.partition("%")[0])
    meant = _meant(found)
    if not meant.is_global or meant.is_multicast or meant in _LOCAL:
        sentence = f"{of} is {address}, which is private; {setting} allows it"
        raise OSError(errno.EPERM, sentence)


def _meant(address: _Address) -> _Address:
    """Return the address to which packets go in the end; an IPv6 address may hold an IPv4 address.

    A network translates such an address: by 64:ff9b::a00:1 it leads to 10.0.0.1.
    """
    for network, bits_behind in _TRANSLATED:
        if address in network:
            return ipaddress.IPv4Address((int(address) >> bits_behind) & 0xFFFF_FFFF)
    return address
