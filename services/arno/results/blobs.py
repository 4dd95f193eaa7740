"""Large images in the result store: put there once, and counted for each tenant that sends them.

Stands alone: the jobs of ``gateway_store`` know nothing of it.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

from redis.asyncio import Redis

from arno.errors import QuotaExceededError
from arno.results.keys import KeySpace
from arno.results.scripts import script_text

_RETRY_DELAY_S: Final = 60.0
"""What a tenant stores is counted by the minute in which it expires."""


def stored_bytes_error(wanted_bytes: int, stored_bytes_max: int | None) -> QuotaExceededError:
    """Return the error of a tenant that would store more than it may."""
    return QuotaExceededError(
        quota="stored_bytes",
        limit=str(stored_bytes_max),
        wanted=str(wanted_bytes),
        retry_delay_s=_RETRY_DELAY_S,
    )


class BlobWriter:
    """Puts images under their digests. Lives in one asyncio loop."""

    def __init__(self, client: Redis, keys: KeySpace) -> None:
        """Take the client of commands and the key space."""
        self._keys = keys
        self._script = client.register_script(script_text("put_blob"))

    async def digest(self, content: bytes) -> str:
        """Return the name of an image: SHA-256, in hex."""
        # Hashing 16 MiB takes tens of milliseconds, and lets other threads run.
        digest = await asyncio.to_thread(hashlib.sha256, content)
        return digest.hexdigest()

    async def put(
        self,
        sha256: str,
        content: bytes,
        *,
        time_to_live_s: int,
        tenant: str,
        stored_bytes_max: int | None,
    ) -> None:
        """Store an image for at least the given time.

        Raises:
            QuotaExceededError: Its tenant would store more than it may.
        """
        keys = [self._keys.blob(sha256), self._keys.stored(tenant)]
        arguments: list[str | int | bytes] = [
            1000 * time_to_live_s,
            sha256,
            len(content),
            stored_bytes_max or 0,
        ]
        # Asked without the content first: an image that is there is not sent again.
        reply: Any = await self._script(keys=keys, args=arguments)
        if reply == [0]:
            reply = await self._script(keys=keys, args=[*arguments, content])
        if reply[0] < 0:
            raise stored_bytes_error(reply[1], stored_bytes_max)
