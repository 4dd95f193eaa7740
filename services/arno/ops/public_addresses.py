"""Keep calls to addresses that others name away from private networks.

The check is on the address that is connected to: a name that changes its meaning after a check
leads nowhere else. Needs aiohttp, which the extras ``notify``, ``ingest`` and ``web`` bring.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult


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
    inner = getattr(found, "ipv4_mapped", None) or found
    if not inner.is_global or inner.is_multicast:
        sentence = f"{of} is {address}, which is private; {setting} allows it"
        raise OSError(errno.EPERM, sentence)
