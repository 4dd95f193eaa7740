"""The Lua scripts that change a job. Each is atomic, and may run twice with the same effect.

They use commands of Redis 6.2 only. ``account.lua`` and ``job.lua`` are put before each of the
others: they hold what these share.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def script_text(name: str) -> str:
    """Return the text of a script, with what all share in front of it."""
    folder = resources.files(__name__)
    parts = ("account", "job", name)
    return "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
