"""A small world of rendered scenes whose truth is known exactly.

A seed and the difficulty of scenes (``WorldOptions``) determine a scene: the objects, what hides
them, the printed words, the background and the shape of the picture. Seeds of different splits are
disjoint (see ``seeds``). The world does not depend on models, tokens or tensors.
"""

from arno.training.world.captions import caption
from arno.training.world.categories import CATEGORIES, Category
from arno.training.world.inquiries import Inquiry, inquire
from arno.training.world.options import (
    FULL,
    HELD_OUT,
    HELD_OUT_ABSENT,
    HELD_OUT_EMPTY,
    OPEN,
    PLAIN,
    TINY,
    WORLDS,
    WorldOptions,
)
from arno.training.world.placement import Placement
from arno.training.world.render import Picture, SeenObject, draw, render
from arno.training.world.scene import Scene, Thing, imagine
from arno.training.world.seeds import Split
from arno.training.world.words import Word

__all__ = [
    "CATEGORIES",
    "FULL",
    "HELD_OUT",
    "HELD_OUT_ABSENT",
    "HELD_OUT_EMPTY",
    "OPEN",
    "PLAIN",
    "TINY",
    "WORLDS",
    "Category",
    "Inquiry",
    "Picture",
    "Placement",
    "Scene",
    "SeenObject",
    "Split",
    "Thing",
    "Word",
    "WorldOptions",
    "caption",
    "draw",
    "imagine",
    "inquire",
    "render",
]
