"""The key space: every key that jobs and their results have in Redis.

Keys begin with a prefix, ``arno`` by default.

============================== ====== ======================= ==================================
Key                            Type   Lives until             Written by
============================== ====== ======================= ==================================
arno:job:{job}                 hash   deadline + time to live every script
arno:watchers:{job}            hash   as its job              gateways: claim, look, sweep
arno:idempotency:{tenant}:{k}  string as its job              gateways: claim, forget
arno:done:{gateway}            stream 600 s after its newest  every script that changes a job
                                      entry; 10,000 entries
arno:blob:{sha256}             string as its writer asks      gateways: blobs.put
arno:upload:{number}           string 600 s, or until it is a gateways: blobs.put
                                      blob
arno:upload:{number}:parts     hash   as its upload           gateways: blobs.put
arno:stored:{tenant}           hash   the last of what it     gateways: claim, put_blob, forget;
                                      counts                  workers: finish
arno:since                     string 30 days after a gateway gateways: ping, is_newer_than
                                      asked
arno:probe                     string 10 s after a ping        gateways: ping
arno:outbox                    stream until it is removed;     every script that ends a job,
                                      1,000,000 entries       where the stream is there
arno:undelivered               stream until it is removed;    `arno notify`
                                      10,000 entries
arno:paces, arno:models        hash   5 s after its newest    workers: report_pace
                                      field
arno:gateways                  hash   5 s after its newest    gateways: gateways
                                      field
arno:worker:{worker}           string half a claim timeout    workers: begin, report_alive,
                                      after its newest sign,  report_gone
                                      30 days after its end
============================== ====== ======================= ==================================

``arno:job:{job}`` holds the truth about a job:

==================== ============================================================================
Field                Meaning
==================== ============================================================================
state                A ``JobState``, or DELETED: then the hash is a tombstone with no other field
revision             Counts the changes since the hash was made
incarnation          When the hash was made, Unix microseconds of Redis: a job that Redis has lost
                     and that was made again counts from another beginning. May be absent
tenant, lane         As accepted; lane is for operators, and absent in a job made again
submitted_at_ms      As accepted
deadline_at_ms       As accepted
body_sha256          What the idempotency key stands for
notify               Subscriptions that the caller named, with commas between; may be absent
idempotency          The key that points here, so that forgetting the job frees it
published            1 where the job has such a key and the bus has acknowledged its record
publishing           Until then: until which Unix ms only one caller may publish it, and which
attempt_count        The fencing token of the newest attempt
begin_token          Names the newest begin, so that one sent twice counts once
decoded_token_count  Of the newest attempt
result:{index}       A serialized ``TaskResult`` of the newest attempt; gone when the job has ended
holder:{key}         The newest attempt of the worker with this key, unless it left; gone when
                     the job has ended
cancel_requested     1 where a caller asked to cancel it
outcome              The serialized ``JobOutcome`` that counts
ended_by             The attempt that wrote it; 0 for a job cancelled before any
duplicate_count      Ends that came later and were dropped
stored               The bytes that its tenant's account counts for it, the minute in which it
                     expires, and the key of that account; absent in a job made again
==================== ============================================================================

``arno:paces`` maps each worker to the cost that it completes in a second, and to the Unix time at
which it reported it.

``arno:models`` maps each worker to the Unix time of the same report and a serialized ``Model``.

``arno:gateways`` maps each gateway that shares quotas to the Unix time at which it noted itself.

``arno:worker:{worker}`` is ``alive`` while the worker gives signs of life, ``left`` after it left
in order, and ``died`` where it could still report its own failure. A holder of a job without such
a key has died while it held the job.

``arno:outbox`` has an entry, with the ``job``'s id, for each job that ended since ``arno notify``
first ran; each of its subscriptions is a consumer group. ``arno:undelivered`` has the events that
it gave up: ``job``, ``subscription`` and ``reason``.

``arno:watchers:{job}`` maps the wake-up stream of each gateway that waits to what wakes it: ``end``
or ``change``. An entry of a stream is a hint to read ``job``, which is now in ``state``.

``arno:stored:{tenant}`` counts what a tenant stores: bytes by the Unix minute in which they expire,
their sum as ``total``, the minute up to which it was cleared as ``swept``, and for each image
``blob:{sha256}`` the minute until which it is counted.

One Redis primary is assumed. The scripts take the keys of a job as KEYS; the streams and the
idempotency key they find in values, which a Redis Cluster would refuse, so there are no hash tags
either. Jobs are small and short-lived: a primary takes thousands of them a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

PACE_TIME_TO_LIVE_S: Final = 5
"""A worker that has not reported its pace for this time counts as gone."""

GATEWAY_TIME_TO_LIVE_S: Final = 5
"""A gateway that has not noted itself for this time has no part in quotas."""

WORKER_END_TIME_TO_LIVE_S: Final = 30 * 86_400
"""How long a worker's end is remembered: a job that it has handed back may wait meanwhile."""


@dataclass(frozen=True, slots=True)
class KeySpace:
    """Builds the names of keys.

    Attributes:
        prefix: The first part of every key.
    """

    prefix: str = "arno"

    def job(self, job_id: str) -> str:
        """Return the key of a job's hash."""
        return f"{self.prefix}:job:{job_id}"

    def watchers(self, job_id: str) -> str:
        """Return the key of the hash of gateways that a job wakes."""
        return f"{self.prefix}:watchers:{job_id}"

    def idempotency(self, tenant: str, idempotency_key: str) -> str:
        """Return the key that points to the job with a tenant's idempotency key."""
        # Quoted, so that no tenant and key can look like another tenant with another key.
        return f"{self.prefix}:idempotency:{quote(tenant, safe='')}:{idempotency_key}"

    def wake_ups(self, gateway: str) -> str:
        """Return the key of the stream that wakes a gateway."""
        return f"{self.prefix}:done:{gateway}"

    def since(self) -> str:
        """Return the key that holds since when the store has its memory."""
        return f"{self.prefix}:since"

    def probe(self) -> str:
        """Return the key that a ping writes, to find out whether the store takes anything."""
        return f"{self.prefix}:probe"

    def outbox(self) -> str:
        """Return the key of the stream of jobs that have ended."""
        return f"{self.prefix}:outbox"

    def undelivered(self) -> str:
        """Return the key of the stream of events that were given up."""
        return f"{self.prefix}:undelivered"

    def paces(self) -> str:
        """Return the key of the hash of the workers' paces."""
        return f"{self.prefix}:paces"

    def models(self) -> str:
        """Return the key of the hash of the workers' models."""
        return f"{self.prefix}:models"

    def gateways(self) -> str:
        """Return the key of the hash of the gateways that share quotas."""
        return f"{self.prefix}:gateways"

    def worker(self, worker: str) -> str:
        """Return the key that holds whether a worker is alive."""
        return f"{self.prefix}:worker:{worker}"

    def stored(self, tenant: str) -> str:
        """Return the key of the account of what a tenant stores."""
        return f"{self.prefix}:stored:{quote(tenant, safe='')}"

    def blob(self, sha256: str) -> str:
        """Return the key of the content with this digest."""
        return f"{self.prefix}:blob:{sha256}"

    def upload(self, number: str) -> str:
        """Return the key of a content that is being sent in parts."""
        return f"{self.prefix}:upload:{number}"

    def upload_parts(self, number: str) -> str:
        """Return the key of the hash of the parts of it that have been sent."""
        return f"{self.upload(number)}:parts"
