"""Judge a model: ask it questions whose answers are known, and measure what it says.

`questions` are taken from samples, an `answering.Answerer` answers them (`local`: the engine of
this process), `replies` keeps the answers, `metrics` holds one measure a module, `figures` says
which measures a task has, `run` does it all, `report` writes it down. `quick` is the small
measurement inside the training of arno-tiny.
"""

from __future__ import annotations

from typing import Any

# Until its importers name the module: importing it here would load torch for every command.
_QUICK = frozenset({"Figures", "generate", "held_out", "measure", "vocabulary_of"})


def __getattr__(name: str) -> Any:
    """Return what `quick` defines, under the names by which it is known here."""
    if name in _QUICK:
        from arno.training.evaluation import quick

        return getattr(quick, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
