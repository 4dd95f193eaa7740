"""The character error rate of read text.

Definition: the fewest insertions, deletions and substitutions of characters that turn the answer
into the truth (Levenshtein 1966), over all questions, divided by the characters of all truths. 0 is
perfect; it exceeds 1 where far too much was read. Case counts; runs of white space count as one
space.

Source: rapidfuzz's Levenshtein distance; the tests compare with the plain table of distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True, slots=True)
class ReadText:
    """One question's text.

    Attributes:
        edit_count: Edits from the answer to the truth. true_count: Characters of the truth.
    """

    edit_count: int
    true_count: int

    @property
    def error_rate(self) -> float:
        """Edits a character of the truth; where there is none, 0 for silence and else 1."""
        if not self.true_count:
            return float(self.edit_count > 0)
        return self.edit_count / self.true_count


def read_text(said: str, true: str) -> ReadText:
    """Compare an answer with the truth."""
    said, true = spaced(said), spaced(true)
    return ReadText(Levenshtein.distance(said, true), len(true))


def error_rate(texts: Sequence[ReadText]) -> float:
    """Return the character error rate over all questions."""
    together = ReadText(sum(one.edit_count for one in texts), sum(one.true_count for one in texts))
    return together.error_rate


def spaced(text: str) -> str:
    """Return the text with single spaces, and none around it."""
    return " ".join(text.split())
