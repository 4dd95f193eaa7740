"""The commands of a consumer group, as one member uses them.

Redis keeps, for every entry that was delivered and not acknowledged, who has it and since when. An
entry that has been silent for longer than the claim timeout may be taken by anybody; so a live
member says every now and then that it still works on its entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis

from arno.bus.ports import topic_name
from arno.bus.redis_streams.admin import create_group
from arno.bus.redis_streams.entries import Entry
from arno.bus.settings import BusSettings

# Sets the silence of entries, but only of those that are still the member's own: a member that
# slept past the claim timeout must not take its work back from whoever has it now.
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

# Removes the names of members that have gone. One with entries stays: they would go with it.
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
        self._silence_ms = int(settings.claim_timeout_s * 1000)
        self._set_idle = client.register_script(_SET_IDLE)
        self._tidy = client.register_script(_TIDY)
        self._cursors: dict[str, str] = {}

    def create(self, channels: Sequence[str]) -> None:
        """Create what is missing of the group, from the beginning of each stream."""
        for channel in channels:
            create_group(self._client, self._settings, channel)

    def read(self, shares: Mapping[str, int]) -> list[Entry]:
        """Return new entries, at most so many of each channel, without waiting."""
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
            # Zero would wait for ever.
            block=max(1, int(timeout_s * 1000)),
        )
        return self._entries(reply)

    def adopt(self, channel: str, count: int) -> list[Entry]:
        """Take entries that have been silent for longer than the claim timeout."""
        reply: Any = self._client.xautoclaim(
            self._key(channel),
            self._settings.group,
            self._member,
            self._silence_ms,
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
        """Acknowledge finished entries and free their memory, both or neither."""
        key = self._key(channel)
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.xack(key, self._settings.group, *positions)
            pipeline.xdel(key, *positions)
            pipeline.execute()

    def renew(self, channel: str, positions: Sequence[str]) -> list[str]:
        """Say that these entries are being worked on; return those that are no longer ours."""
        return self._mark(channel, positions, idle_ms=0)

    def release(self, channel: str, positions: Sequence[str]) -> None:
        """Let others take these entries at once."""
        self._mark(channel, positions, idle_ms=self._silence_ms)

    def tidy(self, channel: str, *, leaving: bool = False) -> None:
        """Remove members that hold nothing and have gone: long silent ones, or ourselves."""
        gone_ms = 10 * self._silence_ms
        self._tidy(
            keys=[self._key(channel)],
            args=[self._settings.group, gone_ms, self._member if leaving else ""],
        )

    def length(self, channel: str) -> int:
        """Return how many entries are in the stream: waiting, and in anybody's hand."""
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
