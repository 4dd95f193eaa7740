"""Make a scene from its seed: objects, words, their places, and the background.

Everything is in units of the picture's sides (0..1), so one scene can be drawn at any size.
``render``, ``backgrounds`` and ``lettering`` draw the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from arno.training.world.backgrounds import Background, imagine_background
from arno.training.world.categories import Category
from arno.training.world.distractors import Distractor, distract
from arno.training.world.finish import Finish, choose_finish
from arno.training.world.options import TINY, WorldOptions
from arno.training.world.placement import Placement, covered, place
from arno.training.world.visibility import View, view
from arno.training.world.words import Word, imagine_word
from arno.vocabulary import Box, Polygon

_ASPECT_MAX = 16 / 9
_WORD_ATTEMPTS_MAX = 8


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of a scene: how it is drawn, and what is seen of it."""

    placement: Placement
    seen: View

    @property
    def category(self) -> Category:
        """What it is."""
        return self.placement.category

    @property
    def colour(self) -> str:
        """The name of its colour."""
        return self.placement.colour

    @property
    def box(self) -> Box:
        """The tight box around what is seen."""
        return self.seen.box

    @property
    def outline(self) -> tuple[Polygon, ...]:
        """The outlines of what is seen."""
        return self.seen.outline


@dataclass(frozen=True, slots=True)
class Scene:
    """The scene of a seed.

    Attributes:
        seed: The seed.
        aspect: Width over height.
        background: The background.
        things: The objects in reading order (by left, then upper edge of what is seen).
        words: The printed words in reading order (by upper, then left edge).
        painted: The objects in the order in which they are drawn, the hindmost first.
        distractors: What is drawn behind them and is no object.
        finish: What is done to the finished picture.
    """

    seed: int
    aspect: float
    background: Background
    things: tuple[Thing, ...]
    words: tuple[Word, ...]
    painted: tuple[Placement, ...]
    distractors: tuple[Distractor, ...] = ()
    finish: Finish | None = None


def imagine(seed: int, aspect: float | None = None, options: WorldOptions = TINY) -> Scene:
    """Return the scene of ``seed``, which is always the same.

    Objects keep their natural shape, up to a small random stretch, when drawn in the right aspect.

    Args:
        seed: Taken from a ``Split``.
        aspect: Width over height of the picture to draw; None lets the seed decide.
        options: How hard the scene may be.
    """
    rng = np.random.default_rng(seed)
    own_aspect = math.exp(rng.uniform(-math.log(_ASPECT_MAX), math.log(_ASPECT_MAX)))
    aspect = own_aspect if aspect is None else aspect
    background = imagine_background(rng, options)
    words = _words(rng, aspect, background, options)
    placements: list[Placement] = []
    taken = [word.box for word in words]
    # Worlds without empty scenes draw no number for them: their scenes stay what they were.
    empty = bool(options.empty_part) and rng.random() < options.empty_part
    for _ in range(0 if empty else rng.integers(1, options.objects_max + 1)):
        placement = place(rng, aspect, placements, taken, background.colours, options)
        if placement is not None:
            placements.append(placement)
    # Any other scene needs at least one object, so words give way to the first.
    while not placements and not empty:
        placement = place(rng, aspect, placements, [], background.colours, options)
        words = []
        placements += [placement] if placement is not None else []
    things = _seen(placements, options)
    distractors = _distractors(rng, aspect, [thing.placement for thing in things], words, options)
    finished = bool(options.finished_part) and rng.random() < options.finished_part
    return Scene(
        seed=seed,
        aspect=aspect,
        background=background,
        things=tuple(sorted(things, key=lambda thing: (thing.box.x0, thing.box.y0))),
        words=tuple(sorted(words, key=lambda word: (word.region.y0, word.region.x0))),
        painted=tuple(thing.placement for thing in things),
        distractors=distractors,
        finish=choose_finish(rng) if finished else None,
    )


def _distractors(
    rng: np.random.Generator,
    aspect: float,
    objects: list[Placement],
    words: list[Word],
    options: WorldOptions,
) -> tuple[Distractor, ...]:
    if not options.distractors_max:
        return ()
    # Half of the scenes have none: a model has to learn objects too.
    wanted = max(0, int(rng.integers(-options.distractors_max, options.distractors_max + 1)))
    boxes, texts = [one.box for one in objects], [word.box for word in words]
    found = (distract(rng, aspect, boxes, texts, options.distractor_glyphs) for _ in range(wanted))
    return tuple(one for one in found if one is not None)


def _words(
    rng: np.random.Generator, aspect: float, background: Background, options: WorldOptions
) -> list[Word]:
    words: list[Word] = []
    if options.words_max == 0:
        return words
    # A third of the scenes has none, and few are better than many.
    wanted = min(
        int(rng.integers(0, 3) * rng.uniform(0.5, 1.0 + options.words_max / 2)), options.words_max
    )
    for _ in range(wanted):
        for _ in range(_WORD_ATTEMPTS_MAX):
            word = imagine_word(rng, aspect, background, options)
            if word and all(covered(word.box, other.box) == 0 for other in words):
                words.append(word)
                break
    return words


def _seen(placements: list[Placement], options: WorldOptions) -> list[Thing]:
    """Return the objects of which enough is seen; taking one away may bring others to light."""
    left = list(placements)
    while True:
        things = [
            Thing(one, view(one, left[index + 1 :], options.outline_points_max))
            for index, one in enumerate(left)
        ]
        hidden = [thing for thing in things if thing.seen.part < options.visible_min]
        if not hidden:
            return things
        left.remove(min(hidden, key=lambda thing: thing.seen.part).placement)
