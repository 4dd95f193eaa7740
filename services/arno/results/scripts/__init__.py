"""The Lua scripts that change a job. Each is atomic, and may run twice with the same effect.

They use commands of Redis 6.2 only. ``job.lua`` is put before each of the others: it holds what
they share.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def script_text(name: str) -> str:
    """Return the text of a script, with ``job.lua`` in front of it."""
    folder = resources.files(__name__)
    shared = (folder / "job.lua").read_text(encoding="utf-8")
    return shared + (folder / f"{name}.lua").read_text(encoding="utf-8")
