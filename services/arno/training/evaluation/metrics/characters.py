"""The character error rate of read text.

Definition: the fewest insertions, deletions and substitutions of characters that turn the answer
into the truth (Levenshtein 1966), over all questions, divided by the characters of all truths. 0 is
perfect; it exceeds 1 where far too much was read. Case counts; runs of white space count as one
space.

Source: Myers's bit-parallel algorithm (J. ACM 46, 1999) as Hyyrö gives it (2003); the tests compare
with the plain table of distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
    return ReadText(edit_distance(said, true), len(true))


def error_rate(texts: Sequence[ReadText]) -> float:
    """Return the character error rate over all questions."""
    together = ReadText(sum(one.edit_count for one in texts), sum(one.true_count for one in texts))
    return together.error_rate


def edit_distance(one: str, other: str) -> int:
    """Return the Levenshtein distance of two texts."""
    if not one or not other:
        return max(len(one), len(other))
    mask = (1 << len(one)) - 1
    last = 1 << (len(one) - 1)
    places: dict[str, int] = {}
    for index, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << index
    # Bit i: the distance grows (plus) or falls (minus) from row i to row i + 1 of the column.
    plus, minus, distance = mask, 0, len(one)
    for character in other:
        here = places.get(character, 0)
        zero = ((((here & plus) + plus) ^ plus) | here | minus) & mask
        across_plus = (minus | ~(zero | plus)) & mask
        across_minus = plus & zero
        distance += bool(across_plus & last) - bool(across_minus & last)
        across_plus = across_plus << 1 | 1
        across_minus <<= 1
        plus = (across_minus | ~(zero | across_plus)) & mask
        minus = across_plus & zero & mask
    return distance


def spaced(text: str) -> str:
    """Return the text with single spaces, and none around it."""
    return " ".join(text.split())
