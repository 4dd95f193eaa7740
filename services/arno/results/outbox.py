"""The jobs that have ended: a stream, with a consumer group for each subscription.

A script that ends a job appends its id here in the same step. Each subscription takes every entry,
at its own pace; an entry leaves the stream when all of them are done with it. An entry that a
process has taken and not finished is taken over by another one after a time of silence.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError

from arno.ops.redis_access import holds_foreign_type
from arno.results.connection import translated, warn_of_unsafe_settings
from arno.results.jobs import JobSnapshot, read_snapshot
from arno.results.keys import KeySpace
from arno.results.settings import ResultSettings

_UNDELIVERED_COUNT_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Ended:
    """An entry of the outbox that one subscription holds.

    Attributes:
        id: Of the entry: MILLISECONDS-NUMBER, by the clock of Redis.
        job_id: The job that has ended; empty, or one that is not there, where a foreign writer
            left the entry, or the bound of the stream has removed it.
    """

    id: str
    job_id: str

    @property
    def ended_at_ms(self) -> int:
        """When it was noted, Unix milliseconds."""
        return int(self.id.partition("-")[0])


class Outbox:
    """The stream, as one process uses it. Lives in one asyncio loop.

    Every method may raise BackendUnavailableError.
    """

    def __init__(self, settings: ResultSettings, *, member: str) -> None:
        """Take the settings, and a name that no other process has; nothing is connected yet."""
        self._keys = KeySpace(settings.redis_key_prefix)
        self._stream = self._keys.outbox()
        self._member = member
        self._redis = redis.asyncio.Redis.from_url(
            settings.redis_url,
            **settings.redis_options(),
            socket_timeout=settings.redis_timeout_s,
            socket_connect_timeout=settings.redis_connect_timeout_s,
            retry=AsyncRetry(NoBackoff(), 0),
        )

    async def subscribe(self, name: str) -> None:
        """Take part from now on; ends before the first time are not seen. Idempotent."""
        with translated(f"begin the subscription {name}"):
            await warn_of_unsafe_settings(self._redis)
            try:
                await self._redis.xgroup_create(self._stream, name, "$", mkstream=True)
            except ResponseError as fault:
                if not str(fault).startswith("BUSYGROUP"):
                    raise

    async def take(self, name: str, count: int, *, block_s: float) -> list[Ended]:
        """Return entries that no process has taken for this subscription, once there are some."""
        with translated(f"read for the subscription {name}"):
            reply: Any = await self._redis.xreadgroup(
                name, self._member, {self._stream: ">"}, count=count, block=round(1000 * block_s)
            )
        return _entries(reply[0][1]) if reply else []

    async def take_over(self, name: str, count: int, *, silence_s: float) -> list[Ended]:
        """Return entries whose process has been silent, and claim them."""
        with translated(f"take over for the subscription {name}"):
            reply: Any = await self._redis.xautoclaim(
                self._stream, name, self._member, round(1000 * silence_s), "0", count=count
            )
        return _entries(reply[1])

    async def renew(self, name: str, entry: Ended) -> None:
        """Renew the hold on the entry."""
        with translated(f"renew for the subscription {name}"):
            await self._redis.xclaim(self._stream, name, self._member, 0, [entry.id], justid=True)

    async def release(self, name: str, entry: Ended, *, silence_s: float) -> None:
        """Let another process take the entry over at once: it looks as silent as that."""
        with translated(f"release for the subscription {name}"):
            await self._redis.xclaim(
                self._stream,
                name,
                self._member,
                0,
                [entry.id],
                idle=round(1000 * silence_s),
                justid=True,
            )

    async def done(self, name: str, entry: Ended) -> None:
        """Say that the subscription is done with the entry."""
        with translated(f"finish for the subscription {name}"):
            await self._redis.xack(self._stream, name, entry.id)

    async def give_up(self, name: str, entry: Ended, reason: str) -> None:
        """Keep an event that could not be delivered among the undelivered."""
        fields: dict[Any, Any] = {"job": entry.job_id, "subscription": name, "reason": reason}
        with translated(f"keep what the subscription {name} did not take"):
            await self._redis.xadd(
                self._keys.undelivered(), fields, maxlen=_UNDELIVERED_COUNT_MAX, approximate=True
            )

    async def job(self, entry: Ended) -> JobSnapshot | None:
        """Return the job, or None where it is deleted or its time has passed."""
        with translated(f"read job {entry.job_id}"):
            try:
                fields: Any = await cast(
                    Awaitable[Any], self._redis.hgetall(self._keys.job(entry.job_id))
                )
            except ResponseError as fault:
                if not holds_foreign_type(fault):
                    raise
                fields = {}
        return read_snapshot(entry.job_id, fields)

    async def waiting_count(self, name: str) -> int:
        """Return how many entries the subscription is not done with; 0 where it is unknown."""
        with translated("say what waits"):
            for group in await self._groups():
                if group["name"] == name.encode():
                    # Redis 7 has `lag`; unread entries can be counted in any version.
                    unread: Any = await self._redis.xrange(
                        self._stream, f"({group['last-delivered-id'].decode()}", "+", count=10_000
                    )
                    return int(group["pending"]) + len(unread)
        return 0

    async def trim(self) -> None:
        """Remove the entries with which every subscription is done."""
        with translated("trim the outbox"):
            oldest = []
            for group in await self._groups():
                pending: Any = await self._redis.xpending(self._stream, group["name"])
                oldest.append(pending["min"] or group["last-delivered-id"])
            if oldest:
                least = min(oldest, key=_place)
                await self._redis.xtrim(self._stream, minid=least, approximate=False)

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._redis.aclose()

    async def _groups(self) -> Sequence[Any]:
        try:
            groups: Sequence[Any] = await self._redis.xinfo_groups(self._stream)
        except ResponseError as fault:
            if "no such key" not in str(fault):
                raise
            return []
        return groups


def _entries(found: Sequence[Any]) -> list[Ended]:
    # All of them, so that each gets done: one that stays with its subscription, unseen, would keep
    # the outbox from being trimmed.
    return [
        Ended(entry_id.decode(), (fields or {}).get(b"job", b"").decode(errors="replace"))
        for entry_id, fields in found
    ]


def _place(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.decode().partition("-")
    return int(milliseconds), int(number or 0)
