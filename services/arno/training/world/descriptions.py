"""Words for what an object is like, where it is, and which one of a scene is meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from arno.training.world.categories import with_article
from arno.training.world.scene import Scene, Thing
from arno.vocabulary import Box, Point

NUMBERS: Final = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
POSITIONS: Final = (
    ("top left", "top", "top right"),
    ("left", "centre", "right"),
    ("bottom left", "bottom", "bottom right"),
)
SMALL, LARGE = "small", "large"
RELATIONS: Final = ("left of", "right of", "above", "below")

_SMALL_MAX, _LARGE_MIN = 0.26, 0.36
"""Geometric means of an object's sides, in sides of the picture."""
_APART_MIN: Final = 0.15
"""Least distance of two middles, in sides of the picture, for one to be left of the other."""


def middle(box: Box) -> Point:
    """Return the middle of a box."""
    return Point((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)


def position(thing: Thing) -> str:
    """Return in which ninth of the picture an object has its middle."""
    at = middle(thing.box)
    return POSITIONS[min(2, int(at.y * 3))][min(2, int(at.x * 3))]


def size_word(thing: Thing) -> str:
    """Return "small", "large", or nothing for what is in between."""
    box = thing.placement.box
    side = ((box.x1 - box.x0) * (box.y1 - box.y0)) ** 0.5
    return SMALL if side < _SMALL_MAX else LARGE if side > _LARGE_MIN else ""


def coloured(thing: Thing) -> str:
    """Return an object's colour and kind: "red car"."""
    return f"{thing.colour} {thing.category.label}"


def described(thing: Thing) -> str:
    """Return an object's size, colour and kind: "small red car"."""
    return f"{size_word(thing)} {coloured(thing)}".strip()


def situated(thing: Thing) -> str:
    """Return a description with the place: "a small red car at the top left"."""
    return f"{with_article(described(thing))} at the {position(thing)}"


def relation(thing: Thing, other: Thing) -> str:
    """Return the relation of one object to another, or the empty text where none is clear."""
    one, two = middle(thing.box), middle(other.box)
    across, down = one.x - two.x, one.y - two.y
    if max(abs(across), abs(down)) < _APART_MIN:
        return ""
    # Diagonal neighbours are both beside and above, which is ambiguous.
    if 0.5 < abs(across) / max(abs(down), 1e-9) < 2:
        return ""
    if abs(across) > abs(down):
        return RELATIONS[0] if across < 0 else RELATIONS[1]
    return RELATIONS[2] if down < 0 else RELATIONS[3]


def of_kind(scene: Scene, label: str) -> tuple[Thing, ...]:
    """Return the scene's objects of a category."""
    return tuple(thing for thing in scene.things if thing.category.label == label)


def counted(count: int, singular: str, plural: str) -> str:
    """Return "a cat" or "two cats"."""
    return with_article(singular) if count == 1 else f"{NUMBERS[count]} {plural}"


def expression(rng: np.random.Generator, scene: Scene, thing: Thing) -> str | None:
    """Return one of the referring expressions that fit ``thing`` alone; None where none does."""
    found = list(dict.fromkeys(_expressions(scene, thing)))
    return found[rng.integers(len(found))] if found else None


def _expressions(scene: Scene, thing: Thing) -> Iterator[str]:
    others = [one for one in scene.things if one is not thing]
    label = thing.category.label
    alike = [one for one in others if one.category.label == label]
    if not alike:
        yield f"the {label}"
    if not any(coloured(one) == coloured(thing) for one in alike):
        yield f"the {coloured(thing)}"
    if size_word(thing) and not any(described(one) == described(thing) for one in alike):
        yield f"the {described(thing)}"
    if len(alike) == 1:
        other = alike[0]
        if relation(thing, other) in {"left of", "right of"}:
            left = middle(thing.box).x < middle(other.box).x
            yield f"the {label} on the {'left' if left else 'right'}"
    for anchor in others:
        if len(of_kind(scene, anchor.category.label)) > 1:
            continue
        how = relation(thing, anchor)
        if how and not any(relation(one, anchor) == how for one in alike):
            yield f"the {label} {how} the {anchor.category.label}"
