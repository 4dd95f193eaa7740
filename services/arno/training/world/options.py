"""The difficulty of scenes as one frozen value, shared by runs, tests and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from arno.training.world.categories import (
    CATEGORIES,
    HELD_OUT_GLYPHS,
    TRAINED_GLYPHS,
    Category,
)
from arno.training.world.families import HELD_OUT_FAMILIES, TRAINED_FAMILIES, Family


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """The limits that a scene keeps to.

    Attributes:
        categories: What objects there can be.
        objects_max: Most objects of a scene; the least is one.
        side_min: Least width and height of an object, in sides of the picture.
        side_max: Largest width and height.
        covered_max: Part of the smaller of two boxes that the other may cover.
        visible_min: Part of an object that must stay visible; one that shows less is taken away.
        tinted_part: Part of the objects that are painted in one colour instead of their own.
        landscape_part: Part of the pictures with a landscape instead of a plain colour.
        words_max: Most printed words of a scene.
        letters_max: Most letters of a word.
        random_word_part: Part of the words that are letters or digits at random.
        lower_case_part: Part of the words that are not in capitals.
        letter_height_min: Least height of a capital, in sides of a square picture of equal area.
        letter_height_max: Largest height of a capital.
        rotated_part: Part of the words that do not stand upright.
        rotation_max_degrees: How far those turn, either way.
        outline_points_max: Most points of one polygon of a mask.
        region_jitter: How far a side of a region that is asked about may be off, in parts of the
            region's own side: people and detectors do not draw exactly.
        families: The families of backgrounds in arbitrary colours.
        family_part: Part of the pictures with one of those.
        empty_part: Part of the pictures without any object.
        distractors_max: Most shapes and glyphs of a scene that are no object.
        distractor_glyphs: The glyphs among them.
        finished_part: Part of the pictures with blur, other light or the artefacts of JPEG.
        absent_part: Part of the questions with a phrase for something that is not in the picture.
    """

    categories: tuple[Category, ...] = CATEGORIES
    objects_max: int = 12
    side_min: float = 0.07
    side_max: float = 0.55
    covered_max: float = 0.45
    visible_min: float = 0.4
    tinted_part: float = 0.5
    landscape_part: float = 0.4
    words_max: int = 4
    letters_max: int = 10
    random_word_part: float = 0.3
    lower_case_part: float = 0.4
    letter_height_min: float = 0.04
    letter_height_max: float = 0.16
    rotated_part: float = 0.4
    rotation_max_degrees: float = 90.0
    outline_points_max: int = 24
    region_jitter: float = 0.04
    families: tuple[Family, ...] = TRAINED_FAMILIES
    family_part: float = 0.0
    empty_part: float = 0.0
    distractors_max: int = 0
    distractor_glyphs: tuple[str, ...] = TRAINED_GLYPHS
    finished_part: float = 0.0
    absent_part: float = 0.0


PLAIN: Final = WorldOptions(
    categories=CATEGORIES[:12],
    objects_max=3,
    side_min=0.2,
    side_max=0.5,
    covered_max=0.03,
    visible_min=0.9,
    tinted_part=0.0,
    landscape_part=0.0,
    words_max=0,
)
"""A dozen kinds of things on plain colours, hardly touching: the example images."""

FULL: Final = WorldOptions()
"""Everything that the generator can draw."""

TINY: Final = WorldOptions(
    objects_max=4,
    side_min=0.18,
    side_max=0.5,
    covered_max=0.12,
    visible_min=0.75,
    tinted_part=0.5,
    landscape_part=0.25,
    words_max=2,
    letters_max=5,
    random_word_part=0.3,
    lower_case_part=0.0,
    letter_height_min=0.11,
    letter_height_max=0.16,
    rotated_part=0.3,
    rotation_max_degrees=12.0,
    outline_points_max=10,
    region_jitter=0.03,
)
"""The part that a model of a few million parameters can learn on two cores at 128 pixels."""

OPEN: Final = replace(
    TINY,
    family_part=0.6,
    empty_part=0.15,
    distractors_max=3,
    finished_part=0.5,
    absent_part=0.3,
)
"""TINY among things that are no object, on any background, or with nothing in it: for training."""

HELD_OUT: Final = replace(
    OPEN,
    families=HELD_OUT_FAMILIES,
    family_part=1.0,
    empty_part=0.0,
    absent_part=0.0,
    distractor_glyphs=HELD_OUT_GLYPHS,
)
"""OPEN with backgrounds and distractors that training never draws: for measuring."""

HELD_OUT_EMPTY: Final = replace(HELD_OUT, empty_part=1.0)
"""HELD_OUT without any object."""

HELD_OUT_ABSENT: Final = replace(HELD_OUT, absent_part=1.0)
"""HELD_OUT with phrases for things that are not there in all questions that can have one."""

WORLDS: Final[Mapping[str, WorldOptions]] = MappingProxyType(
    {
        "plain": PLAIN,
        "full": FULL,
        "tiny": TINY,
        "open": OPEN,
        "held-out": HELD_OUT,
        "held-out-empty": HELD_OUT_EMPTY,
        "held-out-absent": HELD_OUT_ABSENT,
    }
)
"""The worlds by name."""
