"""What is known of the call at hand, for its log line: set deep inside, read by the interceptor."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class CallNotes:
    """Facts gathered while a call runs.

    Attributes:
        job_id: The last job that it submitted or asked about; empty before.
        job_count: How many it submitted.
    """

    job_id: str = ""
    job_count: int = field(default=0)


_NOTES: ContextVar[CallNotes | None] = ContextVar("arno_call_notes", default=None)


def begin_call() -> CallNotes:
    """Open the notes of the call that the present asyncio task serves."""
    notes = CallNotes()
    _NOTES.set(notes)
    return notes


def note_job(job_id: str) -> None:
    """Say which job the call is about; outside a call nothing happens."""
    notes = _NOTES.get()
    if notes is not None:
        notes.job_id = job_id
        notes.job_count += 1
