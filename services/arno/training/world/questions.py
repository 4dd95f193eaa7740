"""Questions about a scene with short answers: how many, which colour, where, and whether."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from arno.training.world.categories import Category, with_article
from arno.training.world.descriptions import NUMBERS, of_kind, position, relation
from arno.training.world.options import WorldOptions
from arno.training.world.scene import Scene, Thing

MARK: Final = "<VQA>"
"""What Florence-2's own training put before questions."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, its answer, and the objects that it is about."""

    text: str
    answer: str
    about: tuple[Thing, ...]


def question(rng: np.random.Generator, scene: Scene, options: WorldOptions) -> Question:
    """Return one question that the scene answers."""
    if not scene.things:
        kinds = [_how_many, _whether]
        asked = kinds[rng.integers(2)](rng, scene, options)
        return Question(MARK + asked.text, asked.answer, asked.about)
    askers = [_how_many, _how_many, _which_colour, _which_colour, _where, _where, _whether, _what]
    while True:
        put = askers[rng.integers(len(askers))](rng, scene, options)
        if put is not None:
            return Question(MARK + put.text, put.answer, put.about)


_Asker = Callable[[np.random.Generator, Scene, WorldOptions], Question | None]


def _how_many(rng: np.random.Generator, scene: Scene, options: WorldOptions) -> Question:
    category = _any(rng, scene).category if scene.things else _any_category(rng, options)
    about = of_kind(scene, category.label)
    return Question(f"How many {category.plural} are there?", NUMBERS[len(about)], about)


def _which_colour(rng: np.random.Generator, scene: Scene, options: WorldOptions) -> Question | None:
    thing = _single(rng, scene)
    if thing is None:
        return None
    return Question(f"Which colour is the {thing.category.label}?", thing.colour, (thing,))


def _where(rng: np.random.Generator, scene: Scene, options: WorldOptions) -> Question | None:
    thing = _single(rng, scene)
    if thing is None:
        return None
    return Question(f"Where is the {thing.category.label}?", position(thing), (thing,))


def _whether(rng: np.random.Generator, scene: Scene, options: WorldOptions) -> Question:
    if rng.random() < 0.5 and scene.things:
        category = _any(rng, scene).category
    else:
        category = _any_category(rng, options)
    about = of_kind(scene, category.label)
    return Question(f"Is there {with_article(category.label)}?", "yes" if about else "no", about)


def _what(rng: np.random.Generator, scene: Scene, options: WorldOptions) -> Question | None:
    anchor = _single(rng, scene)
    if anchor is None or len(scene.things) < 2:
        return None
    found: dict[str, list[Thing]] = {}
    for thing in scene.things:
        if thing is not anchor:
            found.setdefault(relation(thing, anchor), []).append(thing)
    fitting = [(how, there[0]) for how, there in found.items() if how and len(there) == 1]
    if not fitting:
        return None
    how, thing = fitting[rng.integers(len(fitting))]
    return Question(f"What is {how} the {anchor.category.label}?", thing.category.label, (thing,))


def _any_category(rng: np.random.Generator, options: WorldOptions) -> Category:
    return options.categories[rng.integers(len(options.categories))]


def _any(rng: np.random.Generator, scene: Scene) -> Thing:
    return scene.things[rng.integers(len(scene.things))]


def _single(rng: np.random.Generator, scene: Scene) -> Thing | None:
    """Return an object that is the only one of its kind."""
    single = [one for one in scene.things if len(of_kind(scene, one.category.label)) == 1]
    return single[rng.integers(len(single))] if single else None
