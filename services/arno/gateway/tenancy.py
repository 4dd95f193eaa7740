"""Say whose call it is, and keep tenants' jobs apart.

One tenant for now; every path to a job already goes through here.
"""

from __future__ import annotations

from typing import Final

from arno.errors import UnknownJobError
from arno.results.ports import JobSnapshot

DEFAULT_TENANT: Final = "default"


def owned(snapshot: JobSnapshot | None, *, job_id: str, tenant: str) -> JobSnapshot:
    """Return the job if it is this tenant's.

    Raises:
        UnknownJobError: There is none, or it is another tenant's: nobody learns which.
    """
    if snapshot is None or snapshot.tenant != tenant:
        raise UnknownJobError(job_id)
    return snapshot
