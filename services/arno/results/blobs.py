"""Large images in the result store: put there once, and counted for each tenant that sends them.

An image travels in parts. Redis does one command after another, and with ``appendfsync always`` it
writes each to the disk before the next: 16 MiB at once would hold up every caller's job.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from arno.bus.v1.records_pb2 import BlobReference
from arno.errors import BackendUnavailableError, QuotaExceededError
from arno.ops.cancellation import raise_if_cancelled
from arno.results.connection import REDIS_FAULTS, translated
from arno.results.keys import KeySpace
from arno.results.scripts import script_text
from arno.vocabulary import DEFAULT_TENANT

logger = logging.getLogger(__name__)

_RETRY_DELAY_S: Final = 60.0
"""What a tenant stores is counted by the minute in which it expires."""

PART_BYTES: Final = 256 * 1024
"""Takes Redis about a millisecond beside the disk's own time."""

_UPLOAD_LIFE_S: Final = 600
"""Longer than any upload takes; a gateway that dies leaves its upload behind for so long."""


_AfterPart = Callable[[float], Awaitable[None]]

_Upload = tuple[str, str]
"""The key of a content that is being sent, and that of the parts of it that have been."""


async def _go_on(_: float) -> None:
    """Let the next part follow at once."""


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
        self._client = client
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
        sha256: str = "",
        after_part: Callable[[float], Awaitable[None]] | None = None,
    ) -> str:
        """Store an image for at least the given time; return its key: SHA-256, in hex.

        Args:
            content: The image file.
            time_to_live_s: How long it is needed, from now.
            tenant: Who sends it.
            stored_bytes_max: Most bytes that this tenant may store; None: no limit.
            sha256: Its digest where the caller has it.
            after_part: Called after each part that was sent, with the seconds that it took; the
                next is sent when it has returned.

        Raises:
            QuotaExceededError: It would store more.
            BackendUnavailableError: The store does not answer, is full, or lost a part. Retryable.
        """
        # Hashing 16 MiB takes tens of milliseconds, and lets other threads run.
        sha256 = sha256 or (await asyncio.to_thread(hashlib.sha256, content)).hexdigest()
        keys = [self._keys.blob(sha256), self._keys.stored(tenant)]
        facts = (1000 * time_to_live_s, sha256, len(content), stored_bytes_max or 0)
        with translated(f"keep image {sha256}"):
            # Asked without the content first: an image that is there is not sent again.
            reply = await self._run(keys, facts)
            if reply == [0]:
                reply = await self._send(keys, facts, content, after_part or _go_on)
        if reply[0] < 0:
            raise stored_bytes_error(reply[1], stored_bytes_max)
        if reply == [0]:
            raise BackendUnavailableError("the result store lost an image", backend="redis")
        return sha256

    async def _send(
        self, keys: list[str], facts: tuple[int | str, ...], content: bytes, after_part: _AfterPart
    ) -> Any:
        """Send the content, and run the script with it; return the script's reply."""
        if len(content) <= PART_BYTES:
            return await self._run(keys, (*facts, content))
        number = uuid.uuid4().hex
        upload = (self._keys.upload(number), self._keys.upload_parts(number))
        try:
            count = await self._upload(upload, content, after_part)
            return await self._run([*keys, *upload], (*facts, count))
        except NoPermissionError as error:
            # Rights of a user that were written before images travelled in parts.
            logger.warning("an image of %d bytes is sent at once: %s", len(content), error)
            await self._discard(upload)
        except (ResponseError, asyncio.CancelledError):
            # The store is full and needs the room now, or the caller has left.
            await self._discard(upload)
            raise
        return await self._run(keys, (*facts, content))

    async def _discard(self, upload: _Upload) -> None:
        with suppress(*REDIS_FAULTS):
            await self._do(("DEL", *upload))

    async def _upload(self, upload: _Upload, content: bytes, after_part: _AfterPart) -> int:
        """Send the content; return the number of its parts."""
        key, parts = upload
        view = memoryview(content)
        last, life_ms = len(content) - 1, 1000 * _UPLOAD_LIFE_S
        # The last byte first makes the string as long as it will be: one that grows is copied.
        await self._do(("SETRANGE", key, last, view[last:]), ("PEXPIRE", key, life_ms))
        starts = range(0, len(content), PART_BYTES)
        for start in starts:
            raise_if_cancelled()
            began_s = time.monotonic()
            await self._do(
                ("SETRANGE", key, start, view[start : start + PART_BYTES]),
                ("HSET", parts, start, ""),
                # Each time: a Redis that lost the first commands would keep them for ever.
                ("PEXPIRE", key, life_ms),
                ("PEXPIRE", parts, life_ms),
            )
            await after_part(time.monotonic() - began_s)
        return len(starts)

    async def _do(self, *commands: tuple[str | int | bytes | memoryview, ...]) -> None:
        """Run commands in one transaction."""
        # Without types in the library.
        trip: Any = self._client.pipeline(transaction=True)
        async with self._connections, trip:
            for command in commands:
                trip.execute_command(*command)
            await trip.execute()

    async def _run(self, keys: list[str], arguments: tuple[int | str | bytes, ...]) -> Any:
        async with self._connections:
            return await self._script(keys=keys, args=arguments)

    async def keep(self, blob: BlobReference, *, time_to_live_s: int, tenant: str) -> bool:
        """Return whether an image is stored, and keep it for at least the given time if so."""
        keys = [self._keys.blob(blob.sha256), self._keys.stored(tenant)]
        facts = (1000 * time_to_live_s, blob.sha256, blob.size_bytes, 0)
        with translated(f"keep image {blob.sha256}"):
            reply = await self._run(keys, facts)
        return bool(reply == [1])
