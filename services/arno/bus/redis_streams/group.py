"""The commands of a consumer group, as one member uses them.

For every entry that was delivered and not acknowledged, Redis keeps which member has it, and since
when it is idle. Any member may claim an entry that has been idle for longer than the claim timeout,
so a live member resets the idle time of its entries regularly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from arno.bus.ports import topic_name
from arno.bus.redis_streams.admin import create_group
from arno.bus.redis_streams.entries import Entry
from arno.bus.settings import BusSettings

# Sets the idle time of entries, but only of the member's own: a member that slept past the claim
# timeout must not take its entries back from the member that has them now.
_SET_IDLE = """
local lost = {}
for i = 4, #ARGV do
  local own = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if #own == 0 then
    lost[#lost + 1] = ARGV[i]
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[3], 'JUSTID')
  end
end
return lost
"""

# Removes members that have gone. A member with entries stays: they would be removed with it.
_TIDY = """
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local fields = {}
  for i = 1, #consumer, 2 do fields[consumer[i]] = consumer[i + 1] end
  local gone = fields['name'] == ARGV[3] or fields['idle'] > tonumber(ARGV[2])
  if fields['pending'] == 0 and gone then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], fields['name'])
  end
end
"""

_START = "0-0"


class Group:
    """One member's view of the workers' group. Belongs to one thread."""

    def __init__(self, client: redis.Redis, settings: BusSettings, member: str) -> None:
        """Take a connection of the member's own, and the member's unique name."""
        self._client = client
        self._settings = settings
        self._member = member
        self._claim_timeout_ms = int(settings.claim_timeout_s * 1000)
        self._set_idle = client.register_script(_SET_IDLE)
        self._tidy = client.register_script(_TIDY)
        self._cursors: dict[str, str] = {}

    def create(self, channels: Sequence[str]) -> None:
        """Create what is missing of the group, from the beginning of each stream."""
        for channel in channels:
            create_group(self._client, self._settings, channel)

    def read(self, shares: Mapping[str, int]) -> list[Entry]:
        """Return new entries without waiting, up to a number for each channel."""
        pipeline = self._client.pipeline(transaction=False)
        for channel, count in shares.items():
            pipeline.xreadgroup(
                self._settings.group, self._member, {self._key(channel): ">"}, count=count
            )
        return [entry for reply in pipeline.execute() for entry in self._entries(reply)]

    def wait(self, channels: Sequence[str], timeout_s: float) -> list[Entry]:
        """Wait for new entries; return at most one of each channel."""
        reply = self._client.xreadgroup(
            self._settings.group,
            self._member,
            {self._key(channel): ">" for channel in channels},
            count=1,
            # Zero would wait without end.
            block=max(1, int(timeout_s * 1000)),
        )
        return self._entries(reply)

    def adopt(self, channel: str, count: int) -> list[Entry]:
        """Claim entries that have been idle for longer than the claim timeout."""
        reply: Any = self._client.xautoclaim(
            self._key(channel),
            self._settings.group,
            self._member,
            self._claim_timeout_ms,
            start_id=self._cursors.get(channel, _START),
            count=count,
        )
        self._cursors[channel] = reply[0].decode()
        return [
            Entry(channel, position.decode(), fields, repeated=True)
            for position, fields in reply[1]
            # An entry that was removed meanwhile comes without id or fields.
            if position is not None and fields is not None
        ]

    def remove(self, channel: str, positions: Sequence[str]) -> None:
        """Acknowledge and delete finished entries, both or neither."""
        key = self._key(channel)
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xack(key, self._settings.group, *positions)
            pipeline.xdel(key, *positions)
            pipeline.execute()

    def renew(self, channel: str, positions: Sequence[str]) -> list[str]:
        """Reset the idle time of these entries; return those that another member has now."""
        return self._mark(channel, positions, idle_ms=0)

    def release(self, channel: str, positions: Sequence[str]) -> None:
        """Let other members claim these entries at once."""
        self._mark(channel, positions, idle_ms=self._claim_timeout_ms)

    def tidy(self, channel: str, *, leaving: bool = False) -> None:
        """Remove members without entries that have gone: long idle ones, or this one."""
        gone_ms = 10 * self._claim_timeout_ms
        self._tidy(
            keys=[self._key(channel)],
            args=[self._settings.group, gone_ms, self._member if leaving else ""],
        )

    def length(self, channel: str) -> int:
        """Return how many entries are in the stream, waiting or delivered."""
        return int(self._client.xlen(self._key(channel)))

    def _mark(self, channel: str, positions: Sequence[str], *, idle_ms: int) -> list[str]:
        reply: Any = self._set_idle(
            keys=[self._key(channel)],
            args=[self._settings.group, self._member, idle_ms, *positions],
        )
        return [position.decode() for position in reply]

    def _entries(self, reply: Any) -> list[Entry]:
        return [
            Entry(key.decode().rpartition(".")[2], position.decode(), fields)
            for key, entries in reply or []
            for position, fields in entries
        ]

    def _key(self, channel: str) -> str:
        return topic_name(self._settings.topic_prefix, channel)
