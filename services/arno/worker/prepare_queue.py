"""Order jobs for the prepare threads: fair by tenant, and quick images apart from slow ones.

A decode cannot be interrupted, so a job waits for whatever its thread is at. Images that are
expected to take longer than `QUICK_S` therefore have threads of their own, and one tenant gets only
a part of these and of the pixels that may be decoded at once: the large images of one tenant never
stand before the small ones of another, nor take all places for large ones. Of the quick threads a
tenant leaves free what others needed a moment ago.
`docs/decisions/0026-preparation-is-shared-by-tenant.md`: why so.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum
from typing import Final

from arno.batching import LanePolicy, Room, Turns
from arno.bus.v1.records_pb2 import JobRecord
from arno.images.pixel_budget import small_pixels
from arno.ops.clock import Clock
from arno.vocabulary import DEFAULT_TENANT, Lane
from arno.worker.job import Job

QUICK_S: Final = 0.05
"""Preparation that is expected to take longer is slow; three million pixels take about as long."""

_HEAD_START_S: Final = {Lane.INTERACTIVE.value: 5.0, Lane.STREAM.value: 4.0}
"""Among the jobs of one tenant, a job of the batch lane that has waited longer goes first."""

_WEIGHTS: Final = LanePolicy()

# Measured with Pillow on one thread of the machine of the benchmarks, rounded up; charges are
# corrected by what a preparation took, so they need only be about right.
_PIXEL_S: Final = 15e-9
_SCAN_PIXEL_S: Final = 0.7e-9
_BYTE_S: Final = 20e-9
_JOB_S: Final = 1e-3


class Pace(Enum):
    """Which threads prepare an image."""

    QUICK = "quick"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class PreparePlan:
    """How preparation is shared.

    Attributes:
        quick_count: Threads for quick images.
        slow_count: Threads for slow images.
        pixels_max: Most pixels that are decoded at once.
        tenant_share: Part of the slow threads, and of those pixels, for one tenant. Of
            the quick threads it leaves the rest free for what others needed lately.
    """

    quick_count: int
    slow_count: int
    pixels_max: int
    tenant_share: float


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """A job as the turns see it."""

    job: Job
    tenant: str
    cost: float
    size: float
    rank: tuple[float, int]
    pace: Pace


class PrepareQueue:
    """Jobs between the poll threads and the prepare threads; the consumers' windows bound it.

    Any thread. Of one tenant's jobs, those of urgent lanes go first, with a head start in seconds;
    between tenants goes who was charged least, by seconds of preparation over the lane's weight.
    """

    def __init__(self, clock: Clock, plan: PreparePlan) -> None:
        """Begin empty."""
        self._clock = clock
        self._quick_pixels_max = small_pixels(plan.pixels_max)
        self._turns: dict[Pace, Turns[_Entry]] = {
            Pace.QUICK: Turns(Room(plan.quick_count, reserve_share=1 - plan.tenant_share)),
            Pace.SLOW: Turns(
                Room(plan.slow_count, plan.pixels_max, plan.tenant_share, whole_for=DEFAULT_TENANT)
            ),
        }
        self._running: dict[int, _Entry] = {}
        # One for each pace, and one thread is woken for a job: all threads would wait for the
        # interpreter's lock, one after the other, to find that the first has taken it.
        self._lock = threading.Lock()
        self._changed = {pace: threading.Condition(self._lock) for pace in Pace}
        self._stopped = False

    def put(self, job: Job) -> None:
        """Read the record of a job and queue it; one that cannot be read is queued as it is."""
        job.read_record()
        with self._lock:
            entry = self._entry(job)
            self._turns[entry.pace].add(entry)
            self._changed[entry.pace].notify()

    def get(self, pace: Pace) -> Job | None:
        """Wait for the next job of a pace and return it; None after ``stop``. `done` follows."""
        with self._lock:
            while not self._stopped:
                entry = self._turns[pace].take(self._clock.monotonic_s())
                if entry is not None:
                    self._running[entry.job.serial] = entry
                    return entry.job
                self._changed[pace].wait()
        return None

    def done(self, job: Job, *, took_s: float) -> None:
        """Note that a job has left its thread, and charge what it took of the processor."""
        with self._lock:
            entry = self._running.pop(job.serial)
            turns = self._turns[entry.pace]
            turns.end(entry, _charge(took_s, job.channel))
            if len(turns):
                # The room that one large image leaves may be enough for several.
                self._changed[entry.pace].notify_all()

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._turns.values()))

    def stop(self) -> None:
        """End all readers at once; jobs that wait stay."""
        with self._lock:
            self._stopped = True
            for changed in self._changed.values():
                changed.notify_all()

    def _entry(self, job: Job) -> _Entry:
        record = JobRecord() if job.unreadable is not None else job.record
        pixels = _pixels(record)
        expected_s = expected_prepare_s(record)
        quick = expected_s <= QUICK_S and pixels <= self._quick_pixels_max
        ranked_s = self._clock.monotonic_s() - _HEAD_START_S.get(job.channel, 0.0)
        return _Entry(
            job,
            tenant=record.tenant or DEFAULT_TENANT,
            cost=_charge(expected_s, job.channel),
            size=float(pixels),
            rank=(ranked_s, job.serial),
            pace=Pace.QUICK if quick else Pace.SLOW,
        )


def expected_prepare_s(record: JobRecord) -> float:
    """Return how long the preparation of a job's image is expected to take, in seconds.

    A gateway of an older version does not tell the scans: then one is assumed.
    """
    scans = max(1, record.image_scan_count)
    size_bytes = max(record.blob.size_bytes, len(record.inline_image))
    return _JOB_S + _pixels(record) * (_PIXEL_S + scans * _SCAN_PIXEL_S) + size_bytes * _BYTE_S


def _pixels(record: JobRecord) -> int:
    # Numbers of a record that is not of a gateway's making may be negative.
    image = record.image_description
    return max(0, image.width_px) * max(0, image.height_px)


def _charge(seconds: float, channel: str) -> float:
    return seconds / _WEIGHTS.weight(channel)
