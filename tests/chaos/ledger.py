"""What the gateway was asked, what it said, and when: the run's only witness."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Entry:
    """One question and what became of it.

    Attributes:
        durable: Whether it was submitted as a job; else a caller waited.
        job_ids: Every id that an acceptance named; more than one would be a visible duplicate.
        answers: Every different end that was ever read of it.
        faults: What was false about an answer.
    """

    durable: bool
    job_ids: set[str] = field(default_factory=set)
    answers: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)


class Ledger:
    """Written by the load as it happens, to memory and to a file. Any thread."""

    def __init__(self, path: Path) -> None:
        """Begin a file of JSON lines."""
        self._lock = threading.Lock()
        self._file = path.open("w", encoding="utf-8")
        self._began_s = time.monotonic()
        self.entries: dict[int, Entry] = {}
        self.accepted_at_s: list[float] = []
        self.answered_at_s: list[float] = []
        self.refusals: Counter[str] = Counter()

    def now_s(self) -> float:
        """Return seconds since the beginning."""
        return time.monotonic() - self._began_s

    def asked(self, number: int, *, durable: bool) -> None:
        """Note a question before it is asked."""
        with self._lock:
            self.entries[number] = Entry(durable)
            self._write("asked", number, durable=durable)

    def accepted(self, number: int, job_id: str) -> None:
        """Note that the gateway said "accepted"."""
        with self._lock:
            self.entries[number].job_ids.add(job_id)
            self.accepted_at_s.append(self.now_s())
            self._write("accepted", number, job_id=job_id)

    def answered(self, number: int, *, end: str, fault: str = "") -> None:
        """Note an end that was read: its fingerprint, and what is false about it."""
        with self._lock:
            entry = self.entries[number]
            if not entry.answers:
                self.answered_at_s.append(self.now_s())
            entry.answers.add(end)
            if fault:
                entry.faults.append(fault)
            self._write("answered", number, end=end, fault=fault)

    def refused(self, number: int, reason: str) -> None:
        """Note a call that failed and was, or will be, tried again."""
        with self._lock:
            self.refusals[reason] += 1
            self._write("refused", number, reason=reason)

    def counts(self) -> tuple[int, int]:
        """Return how many jobs were accepted, and how many questions answered."""
        with self._lock:
            accepted = sum(bool(entry.job_ids) for entry in self.entries.values())
            return accepted, len(self.answered_at_s)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, event: str, number: int, **facts: object) -> None:
        line = {"at_s": round(self.now_s(), 3), "event": event, "number": number, **facts}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
