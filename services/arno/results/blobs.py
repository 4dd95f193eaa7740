"""Large images in the result store: put there once, and counted for each tenant that sends them.

Stands alone: the jobs of ``gateway_store`` do not depend on it.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any, Final

from redis.asyncio import Redis

from arno.bus.v1.records_pb2 import BlobReference
from arno.errors import QuotaExceededError
from arno.results.connection import translated
from arno.results.keys import KeySpace
from arno.results.scripts import script_text
from arno.vocabulary import DEFAULT_TENANT

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

    def __init__(self, client: Redis, keys: KeySpace, connections: asyncio.Semaphore) -> None:
        """Take the client of commands, the key space, and what callers queue for."""
        self._keys = keys
        self._connections = connections
        self._script = client.register_script(script_text("put_blob"))

    async def put(
        self,
        content: bytes,
        *,
        time_to_live_s: int,
        tenant: str = DEFAULT_TENANT,
        stored_bytes_max: int | None = None,
    ) -> str:
        """Store an image for at least the given time; return its key: SHA-256, in hex.

        Args:
            content: The image file.
            time_to_live_s: How long it is needed, from now.
            tenant: Who sends it.
            stored_bytes_max: Most bytes that this tenant may store; None: no limit.

        Raises:
            QuotaExceededError: It would store more.
            BackendUnavailableError: The store does not answer, or is full.
        """
        # Hashing 16 MiB takes tens of milliseconds, and lets other threads run.
        digest = await asyncio.to_thread(hashlib.sha256, content)
        sha256 = digest.hexdigest()
        keys = [self._keys.blob(sha256), self._keys.stored(tenant)]
        facts = (1000 * time_to_live_s, sha256, len(content), stored_bytes_max or 0)
        async with self._connections:
            with translated(f"keep image {sha256}"):
                # Asked without the content first: an image that is there is not sent again.
                reply: Any = await self._script(keys=keys, args=facts)
                if reply == [0]:
                    reply = await self._script(keys=keys, args=(*facts, content))
        if reply[0] < 0:
            raise stored_bytes_error(reply[1], stored_bytes_max)
        return sha256

    async def keep(self, blob: BlobReference, *, time_to_live_s: int, tenant: str) -> bool:
        """Return whether an image is stored, and keep it for at least the given time if so."""
        keys = [self._keys.blob(blob.sha256), self._keys.stored(tenant)]
        facts = (1000 * time_to_live_s, blob.sha256, blob.size_bytes, 0)
        async with self._connections:
            with translated(f"keep image {blob.sha256}"):
                reply: Any = await self._script(keys=keys, args=facts)
        return bool(reply == [1])
