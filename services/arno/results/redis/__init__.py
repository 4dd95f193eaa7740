"""The Redis adapter: ``RedisJobStore`` for gateways, ``RedisResultWriter`` for workers.

One Redis primary of version 6.2 or later, that never evicts (``maxmemory-policy noeviction``).
"""

from arno.results.redis.store import RedisJobStore
from arno.results.redis.writer import RedisResultWriter

__all__ = ["RedisJobStore", "RedisResultWriter"]
