"""Scenes of the rendered world with the exact masks of their objects."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import numpy.typing as npt

from arno.engine.heads.description import BACKGROUND, HeadKind
from arno.training.data.world import natural_size
from arno.training.heads.truth import TrueImage, TrueObject, TruthSource
from arno.training.world import WORLDS, Scene, Split, draw, imagine
from arno.training.world.masks import object_numbers
from arno.training.world.shapes import scaled_box
from arno.vocabulary import ImageSize


class WorldTruth(TruthSource):
    """Some scenes of a split, chosen by a seed; rendered when they are read."""

    def __init__(self, kind: HeadKind, *, seed: int, count: int, split: Split, world: str) -> None:
        """Choose the scenes."""
        self._kind = kind
        self._options = WORLDS[world]
        self._world = world
        self._seeds = tuple(random.Random(seed).sample(split.value, count))  # noqa: S311 - no secret
        labels = [category.label for category in self._options.categories]
        self._places = {label: place for place, label in enumerate(labels)}
        self.has_masks = True
        self.categories = tuple(labels)
        if kind is HeadKind.SEGMENTATION:
            self.categories = (BACKGROUND, *labels)
        facts = f"{kind} {world} {seed} {count} {split.name}"
        self.digest = hashlib.sha256(facts.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, index: int) -> TrueImage:
        seed = self._seeds[index]
        scene = imagine(seed, options=self._options)
        size = natural_size(scene)
        name = f"world:{self._world}/{seed}"
        picture = draw(scene, size)
        numbers = object_numbers(scene, size)
        places = [self._places[thing.category.label] for thing in scene.things]
        if self._kind is HeadKind.DETECTION:
            return TrueImage(name, picture, objects=_objects(scene, places, numbers, size))
        # Nothing is number -1, the last of the table.
        table = np.array([*(place + 1 for place in places), 0], dtype=np.uint8)
        return TrueImage(name, picture, labels=table[numbers])


def _objects(
    scene: Scene, places: list[int], numbers: npt.NDArray[np.int64], size: ImageSize
) -> tuple[TrueObject, ...]:
    return tuple(
        TrueObject(place, scaled_box(thing.box, size), numbers == number)
        for number, (thing, place) in enumerate(zip(scene.things, places, strict=True))
    )
