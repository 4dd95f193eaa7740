"""Ids of jobs: the time they were made, followed by random digits that cannot be guessed.

By the time, a job that the store does not hold can be found to be older than the store's data.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

_TIME_DIGITS: Final = 12
_RANDOM_BYTES: Final = 10
_ID: Final = re.compile(r"[0-9a-f]{32}")


def new_job_id(now_at_ms: int) -> str:
    """Return a unique id: 32 hex digits that sort by time, the last 20 of them random."""
    return f"{now_at_ms:0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"


def made_at_ms(job_id: str) -> int | None:
    """Return when an id was made, Unix ms; None where ``new_job_id`` did not make it."""
    return int(job_id[:_TIME_DIGITS], 16) if _ID.fullmatch(job_id) else None
