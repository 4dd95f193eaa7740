"""What is known of the call at hand: whose it is, and what its log line shall say."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field

from arno.gateway.access.caller import ANONYMOUS, Caller


@dataclass(slots=True)
class CallNotes:
    """Facts gathered while a call runs.

    Attributes:
        caller: Whose it is.
        job_id: The last job that it submitted or asked about; empty before.
        job_count: How many it submitted.
    """

    caller: Caller = ANONYMOUS
    job_id: str = ""
    job_count: int = field(default=0)


_NOTES: ContextVar[CallNotes | None] = ContextVar("arno_call_notes", default=None)


def begin_call(caller: Caller) -> CallNotes:
    """Open the notes of the call that the present asyncio task serves."""
    notes = CallNotes(caller)
    _NOTES.set(notes)
    return notes


def this_caller() -> Caller:
    """Return whose call the present asyncio task serves.

    Raises:
        LookupError: It serves none: a call that got past the interceptor is a bug, not a guest.
    """
    notes = _NOTES.get()
    if notes is None:
        raise LookupError("no call is being served")
    return notes.caller


def note_job(job_id: str) -> None:
    """Say which job the call is about; outside a call nothing happens."""
    notes = _NOTES.get()
    if notes is not None:
        notes.job_id = job_id
        notes.job_count += 1
