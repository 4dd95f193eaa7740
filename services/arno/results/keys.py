"""The key space: every key that results and jobs have in Redis.

Keys begin with a prefix, ``arno`` by default.

============================== ====== ======================= ==================================
Key                            Type   Lives until             Written by
============================== ====== ======================= ==================================
arno:job:{job}                 hash   deadline + time to live every script
arno:watchers:{job}            hash   as its job              gateways: claim, look, sweep
arno:idempotency:{tenant}:{k}  string as its job              gateways: claim, forget
arno:done:{gateway}            stream 600 s after its newest  every script that moves a job
                                      entry; 10,000 entries
arno:blob:{sha256}             string what its writer asks    gateways: put_blob
arno:since                     string 30 days after a gateway gateways: ping, may_have_forgotten
                                      asked
arno:paces                     hash   5 s after its newest    workers: report_pace
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
tenant, lane         As accepted; lane is for people who look, and absent in a job made anew
submitted_at_ms      As accepted
deadline_at_ms       As accepted
body_sha256          What the idempotency key stands for
idempotency          The key that points here, so that forgetting the job frees it
published            1 where the job has such a key and the bus has acknowledged its record
publishing           Until then: up to which Unix ms only one may publish it, and who that is
attempt_count        The fencing token of the newest attempt
begin_token          Names the newest begin, so that one sent twice counts once
decoded_token_count  Of the newest attempt
result:{index}       A serialized ``TaskResult`` of the newest attempt; gone when the job has ended
holder:{key}         The newest attempt of the worker with this key, unless it left; gone when
                     the job has ended
cancel_requested     1 where somebody asked to stop it
outcome              The serialized ``JobOutcome`` that counts
ended_by             The attempt that wrote it; 0 for a job cancelled before any
duplicate_count      Ends that came later and were dropped
==================== ============================================================================

``arno:paces`` maps each worker to the cost that it gets done in a second, and to the Unix time at
which it said so.

``arno:worker:{worker}`` is ``alive`` while the worker says so, ``left`` after it left in order, and
``died`` where it could still say that it fails. A holder of a job that is silent has died at it.

``arno:watchers:{job}`` maps the wake-up stream of each gateway that waits to what wakes it: ``end``
or ``change``. An entry of a stream is a hint to look at ``job``, which is now in ``state``.

One Redis primary is assumed. The scripts take the keys of a job as KEYS; the streams and the
idempotency key they find in values, which a Redis Cluster would refuse, so there are no hash tags
either. Jobs are small and short-lived: a primary takes thousands of them a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

PACE_TIME_TO_LIVE_S: Final = 5
"""A worker that has not reported for so long counts as gone."""

FAREWELL_TIME_TO_LIVE_S: Final = 30 * 86_400
"""How long a worker's end is remembered: a job that it has handed back may wait meanwhile."""


@dataclass(frozen=True, slots=True)
class KeySpace:
    """Builds the names of keys.

    Attributes:
        prefix: The first part of every key.
    """

    prefix: str = "arno"

    def job(self, job_id: str) -> str:
        """Return the hash of a job."""
        return f"{self.prefix}:job:{job_id}"

    def watchers(self, job_id: str) -> str:
        """Return the hash of those whom a job wakes."""
        return f"{self.prefix}:watchers:{job_id}"

    def idempotency(self, tenant: str, idempotency_key: str) -> str:
        """Return what points to the job that holds a tenant's idempotency key."""
        # Quoted, so that no tenant and key can look like another tenant with another key.
        return f"{self.prefix}:idempotency:{quote(tenant, safe='')}:{idempotency_key}"

    def wake_ups(self, gateway: str) -> str:
        """Return the stream that wakes a gateway."""
        return f"{self.prefix}:done:{gateway}"

    def since(self) -> str:
        """Return what says since when the store has its memory."""
        return f"{self.prefix}:since"

    def paces(self) -> str:
        """Return the hash of what each worker gets done in a second."""
        return f"{self.prefix}:paces"

    def worker(self, worker: str) -> str:
        """Return what says whether a worker is alive."""
        return f"{self.prefix}:worker:{worker}"

    def blob(self, sha256: str) -> str:
        """Return where the content with this digest is kept."""
        return f"{self.prefix}:blob:{sha256}"
