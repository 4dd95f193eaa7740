"""Reads the Lua scripts out of the package."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def script_text(name: str) -> str:
    """Return a script with what all of them share put before it."""
    folder = resources.files("arno.results.scripts")
    shared = (folder / "job.lua").read_text(encoding="utf-8")
    return shared + (folder / f"{name}.lua").read_text(encoding="utf-8")
