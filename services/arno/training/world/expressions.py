"""Referring expressions: words that fit one object of a scene and no other.

Stands alone: it searches a scene for words, and knows nothing of questions.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from arno.training.world.descriptions import (
    coloured,
    described,
    middle,
    of_kind,
    relation,
    size_word,
)
from arno.training.world.scene import Scene, Thing


def expression(rng: np.random.Generator, scene: Scene, thing: Thing) -> str | None:
    """Return one of the expressions that fit ``thing`` alone; None where there is none."""
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
