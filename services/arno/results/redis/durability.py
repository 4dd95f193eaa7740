"""Say at the start what this Redis could forget: nobody would see it before it has happened."""

from __future__ import annotations

import logging
from typing import Final

from redis.asyncio import Redis

from arno.results.redis.faults import REDIS_FAULTS

logger = logging.getLogger(__name__)

_WANTED: Final = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""See "Redis must sync before it answers" in docs/delivery.md."""


async def warn_of_forgetting(client: Redis) -> None:
    """Log a warning for each setting with which accepted jobs or their ends can be lost."""
    try:
        found = await client.config_get("append*")
        found |= await client.config_get("maxmemory-policy")
    except REDIS_FAULTS:
        # A hosted Redis, or a user with few rights, does not tell.
        return
    for name, wanted in _WANTED.items():
        present = found.get(name, wanted)
        if present != wanted:
            logger.warning(
                "Redis has %s %s, with which it can lose what was accepted: %s is safe",
                name,
                present,
                wanted,
            )
