"""Whether a short answer is the right one: accuracy.

Definition: the part of the questions whose answer equals one of the right ones, without regard to
case, runs of white space, and a full stop at the end. For categories of regions and read words.

Source: by this definition; hand-computed cases in the tests.

Stands alone: one metric a file, with its definition and source.
"""

from __future__ import annotations

from collections.abc import Sequence

from arno.training.evaluation.metrics.matching import plain


def is_right(said: str, references: Sequence[str]) -> bool:
    """Return whether an answer equals one of the right ones."""
    return _bare(said) in {_bare(reference) for reference in references}


def _bare(text: str) -> str:
    return plain(text).removesuffix(".").rstrip()
