"""The Lua scripts that change a job. Each is atomic, and may run twice with the same effect.

They use commands of Redis 6.2 only. ``account.lua`` and ``job.lua`` are put before each of the
others: they hold what these share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from redis.commands.core import AsyncScript, Script
from redis.exceptions import NoScriptError


@cache
def script_text(name: str) -> str:
    """Return the text of a script, with what all share in front of it."""
    folder = resources.files(__name__)
    parts = ("account", "job", name)
    return "".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One of the scripts of a round trip, with its operands.

    The client's own pipeline would ask before each round trip which scripts Redis has.
    """

    script: Script | AsyncScript
    keys: Sequence[str]
    arguments: Sequence[str | bytes | int]

    def join(self, pipeline: Any) -> None:
        """Add it to a pipeline, of either client."""
        pipeline.evalsha(self.script.sha, len(self.keys), *self.keys, *self.arguments)

    def alone(self) -> Any:
        """Run it in a round trip of its own, which loads it; the async client's is awaited."""
        return self.script(keys=self.keys, args=self.arguments)


def script_is_lost(answer: object) -> bool:
    """Return whether a script of a pipeline did not run: a restarted Redis has lost it."""
    return isinstance(answer, NoScriptError)
