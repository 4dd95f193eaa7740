"""The words by which captions name the objects of a data set."""

from __future__ import annotations

from arno.training.evaluation.figures import Nouns
from arno.training.world import CATEGORIES

_WORLD = "world:"


def nouns_of(data: str) -> Nouns:
    """Return the nouns of the data of a name; only those of the world are known."""
    if not any(part.strip().startswith(_WORLD) for part in data.split(";")):
        return {}
    return {
        word: category.label
        for category in CATEGORIES
        for word in (category.label, category.plural)
    }
