"""Whether the result store answers and is full, and since when it has its memory."""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from arno.ops.clock import Clock, StoreClock
from arno.results.connection import translated
from arno.results.keys import KeySpace
from arno.results.scripts import script_text
from arno.vocabulary.job_id import made_at_ms

_PROBE_TIME_TO_LIVE_MS: Final = 10_000
_SINCE_TIME_TO_LIVE_MS: Final = 30 * 86_400_000
_JOB_AGE_MS_MAX: Final = 9 * 86_400_000
"""By default a job may take 7 days and is kept for one more; an older one is over in any case."""


class StoreHealth:
    """Asks Redis about itself. Lives in one asyncio loop."""

    def __init__(self, client: Redis, keys: KeySpace, clock: Clock) -> None:
        """Take the client; nothing is asked yet.

        Args:
            client: Of commands.
            keys: The key space.
            clock: The time; a `StoreClock` follows the store with every ping.
        """
        self._redis = client
        self._keys = keys
        self._clock = clock
        self._since_script = client.register_script(script_text("since"))

    async def ping(self) -> None:
        """Raise BackendUnavailableError unless Redis answers.

        Raises:
            BackendFullError: It answers, and has no memory left.
        """
        with translated("answer a ping"):
            # With every ping, so that it is known to the second when Redis came up empty.
            await self.since_ms()
            asked_s = self._clock.monotonic_s()
            seconds, microseconds = await self._redis.time()
        if isinstance(self._clock, StoreClock):
            self._clock.follow(seconds * 1000 + microseconds // 1000, asked_s=asked_s)
        with translated("take a write"):
            await self._redis.set(self._keys.probe(), b"", px=_PROBE_TIME_TO_LIVE_MS)

    async def since_ms(self) -> int:
        """Return since when Redis has its memory, Unix milliseconds."""
        since: Any = await self._since_script(
            keys=[self._keys.since()], args=[_SINCE_TIME_TO_LIVE_MS]
        )
        return int(since)

    async def is_newer_than(self, job_id: str) -> bool:
        """Return whether the store came up empty after the job was named.

        False for ids that Arno did not make, and for jobs that are over by their age.
        """
        made_ms = made_at_ms(job_id)
        if made_ms is None:
            return False
        with translated(f"say whether it is newer than job {job_id}"):
            since_ms = await self.since_ms()
        age_ms = self._clock.wall_ms() - made_ms
        return made_ms < since_ms and age_ms < _JOB_AGE_MS_MAX

    async def memory_bytes(self) -> tuple[int, int] | None:
        """Return used memory and its limit (or its machine's); None where we may not ask."""
        with translated("say how full it is"):
            try:
                found = await self._redis.info("memory")
            except ResponseError:
                return None
        return found["used_memory"], found["maxmemory"] or found["total_system_memory"]
