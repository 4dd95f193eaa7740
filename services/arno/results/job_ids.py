"""Names of jobs: when they were made, in front of what nobody can guess.

The time says of a job that the store does not know whether it is older than the store's memory.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

_TIME_DIGITS: Final = 12
_RANDOM_BYTES: Final = 10
_SHAPE: Final = re.compile(r"[0-9a-f]{32}")


def new_job_id(now_at_ms: int) -> str:
    """Return a name that no other job has: 32 hex digits, sorted by time."""
    return f"{now_at_ms:0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"


def made_at_ms(job_id: str) -> int | None:
    """Return when a job was named, Unix ms; None where this is no name of ours."""
    return int(job_id[:_TIME_DIGITS], 16) if _SHAPE.fullmatch(job_id) else None
