"""Captions, written from a scene's truth and therefore always right."""

from __future__ import annotations

from collections import Counter

from arno.training.world.categories import Category
from arno.training.world.scene import Scene

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def caption(scene: Scene) -> str:
    """Return a sentence: each kind of object once, in reading order, then the background."""
    counts = Counter(placement.category for placement in scene.placements)
    things = [_counted(category, count) for category, count in counts.items()]
    named = things[0] if len(things) == 1 else f"{', '.join(things[:-1])} and {things[-1]}"
    colour = scene.background.colour.name
    return f"{named[0].upper()}{named[1:]} on {_article(colour)} {colour} background."


def _counted(category: Category, count: int) -> str:
    return category.with_article if count == 1 else f"{NUMBERS[count]} {category.plural}"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
