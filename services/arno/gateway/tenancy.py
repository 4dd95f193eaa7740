"""Keep tenants' jobs apart: every path from a caller to a job goes through here."""

from __future__ import annotations

from arno.errors import BackendUnavailableError, UnknownJobError
from arno.results.jobs import JobSnapshot


def owned(snapshot: JobSnapshot, *, job_id: str, tenant: str) -> JobSnapshot:
    """Return the job if it is this tenant's.

    Raises:
        UnknownJobError: It is another tenant's: to others it is as if there were none.
    """
    if snapshot.tenant != tenant:
        raise UnknownJobError(job_id)
    return snapshot


def lost_sight(job_id: str) -> BackendUnavailableError:
    """Return the error of a job that a store has forgotten: it may still run, and be known again.

    That a store has come back without its memory says nothing about the job.
    """
    return BackendUnavailableError(
        f"the result store has lost sight of job {job_id}; ask again", job_id=job_id
    )
