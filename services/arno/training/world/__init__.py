"""A small world of rendered scenes whose truth is known exactly.

A scene is decided by one integer, its seed: the objects, their boxes, the background and the shape
of the picture. Seeds of different splits never meet (see ``seeds``). The world knows nothing of
models, tokens or tensors.
"""

from arno.training.world.captions import caption
from arno.training.world.categories import CATEGORIES, Category
from arno.training.world.render import Picture, SeenObject, render
from arno.training.world.scene import Placement, Scene, imagine
from arno.training.world.seeds import Split

__all__ = [
    "CATEGORIES",
    "Category",
    "Picture",
    "Placement",
    "Scene",
    "SeenObject",
    "Split",
    "caption",
    "imagine",
    "render",
]
