"""The identity of a call: its caller, the jobs that it may see, and the fields of its log line."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from arno.errors import BackendUnavailableError, UnknownJobError
from arno.results.jobs import JobSnapshot
from arno.vocabulary import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Caller:
    """The identity behind a call.

    Attributes:
        tenant: The owner of the jobs that the call makes and sees.
        key_id: The public part of the key that was sent; empty where no key is needed.
        key_sha256: Digest of that key, by which another key with this id is known.
    """

    tenant: str
    key_id: str = ""
    key_sha256: str = field(default="", repr=False, compare=False)


ANONYMOUS: Final = Caller(DEFAULT_TENANT)
"""Every caller, while no keys file is set."""


@dataclass(slots=True)
class CallNotes:
    """Facts gathered while a call runs.

    Attributes:
        caller: The identity behind the call.
        job_id: The last job that the call submitted or asked about; empty before.
        job_count: How many jobs it submitted or asked about.
    """

    caller: Caller = ANONYMOUS
    job_id: str = ""
    job_count: int = 0


_NOTES: ContextVar[CallNotes | None] = ContextVar("arno_call_notes", default=None)


def begin_call(caller: Caller) -> CallNotes:
    """Open the notes of the call that the current asyncio task serves."""
    notes = CallNotes(caller)
    _NOTES.set(notes)
    return notes


def this_caller() -> Caller:
    """Return the caller of the call that the current asyncio task serves.

    Raises:
        LookupError: It serves none; a call that bypassed the interceptor is a bug.
    """
    notes = _NOTES.get()
    if notes is None:
        raise LookupError("no call is being served")
    return notes.caller


def note_job(job_id: str) -> None:
    """Add a job to the notes of the current call; outside a call nothing happens."""
    notes = _NOTES.get()
    if notes is not None:
        notes.job_id = job_id
        notes.job_count += 1


def require_tenant(snapshot: JobSnapshot, *, job_id: str, tenant: str) -> JobSnapshot:
    """Return the job if it belongs to the tenant. Every path from a caller to a job passes here.

    Raises:
        UnknownJobError: It belongs to another tenant; the answer does not reveal that it exists.
    """
    if snapshot.tenant != tenant:
        raise UnknownJobError(job_id)
    return snapshot


def store_lost_job_error(job_id: str) -> BackendUnavailableError:
    """Return the error of a job that was accepted and that the store no longer holds.

    A store that came back without its data says nothing about the job: it may still run, and be
    known again.
    """
    return BackendUnavailableError(
        f"the result store has lost sight of job {job_id}; ask again", job_id=job_id
    )
