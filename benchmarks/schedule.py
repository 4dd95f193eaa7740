"""Decide what is asked, how long the answers are, and when requests arrive. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

CAPTION_TOKENS: Final = 12
"""Of COCO-like captions with begin and end; the other tasks' lengths are multiples of it."""

LENGTH_RATIOS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "CAPTION": 1.0,
        "DETAILED_CAPTION": 1.8,
        "MORE_DETAILED_CAPTION": 1.4,
        "OD": 4.6,
        "DENSE_REGION_CAPTION": 3.6,
        "REGION_PROPOSAL": 4.2,
        "OCR": 0.9,
        "OCR_WITH_REGION": 1.2,
    }
)
"""Length of an answer over that of a caption.

Source: the throughputs by task that triton-florence2 publishes (large-ft, 3 beams, RTX 4090: 26.6
captions/s against 5.8 detections/s and so on), inverted.
"""

_SPREAD: Final = 0.25
"""Lengths of one task differ: uniformly by this part, up and down."""

_FRAMES_A_CHANGE: Final = 6
"""Of 30 frames a second of a fixed camera, 5 show something new."""


@dataclass(frozen=True, slots=True)
class Item:
    """One request of a workload, before there are images.

    Attributes:
        task: Which.
        image_index: Which image; equal ones are one file.
        token_limit: How long the answer may be, or is.
    """

    task: str
    image_index: int
    token_limit: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run asks for.

    Attributes:
        name: On the command line and in results.
        description: For the page.
        tasks: With their weights.
        tasks_an_image: Consecutive requests that share an image, each with another task.
        frames_a_change: Consecutive requests that share an image and a task.
    """

    name: str
    description: str
    tasks: Mapping[str, float]
    tasks_an_image: int = 1
    frames_a_change: int = 1


WORKLOADS: Final[Mapping[str, Workload]] = MappingProxyType(
    {
        workload.name: workload
        for workload in (
            Workload("caption", "CAPTION only", {"CAPTION": 1}),
            Workload(
                "mix", "every task of the table, equally often", dict.fromkeys(LENGTH_RATIOS, 1)
            ),
            Workload("detection", "OD heavy: 7 OD for 1 CAPTION", {"OD": 7, "CAPTION": 1}),
            Workload(
                "three-tasks",
                "CAPTION, OD and DENSE_REGION_CAPTION of every image",
                {"CAPTION": 1, "OD": 1, "DENSE_REGION_CAPTION": 1},
                tasks_an_image=3,
            ),
            Workload(
                "three-images",
                "the requests of three-tasks, each with an image of its own",
                {"CAPTION": 1, "OD": 1, "DENSE_REGION_CAPTION": 1},
            ),
            Workload(
                "video",
                f"CAPTION of 30 fps video of which one frame in {_FRAMES_A_CHANGE} is new",
                {"CAPTION": 1},
                frames_a_change=_FRAMES_A_CHANGE,
            ),
        )
    }
)


def items(workload: Workload, count: int, *, seed: int, length_factor: float = 1.0) -> list[Item]:
    """Return the requests of a workload, the same for the same seed.

    Args:
        workload: Which.
        count: How many.
        seed: Another one gives other images, other lengths and another order.
        length_factor: Multiplies every length, to make a run shorter.
    """
    draw = random.Random(seed)
    tasks = _tasks(workload, count, draw)
    shared = workload.tasks_an_image * workload.frames_a_change
    return [
        Item(task, seed * 100_000 + place // shared, _limit(task, draw, length_factor))
        for place, task in enumerate(tasks)
    ]


def poisson_arrivals_s(count: int, rate: float, *, seed: int) -> list[float]:
    """Return when requests arrive, in seconds from the start, at a mean rate a second."""
    draw = random.Random(seed)
    moments, now_s = [], 0.0
    for _ in range(count):
        now_s += draw.expovariate(rate)
        moments.append(now_s)
    return moments


def steady_arrivals_s(count: int, rate: float) -> list[float]:
    """Return when the frames of a video arrive."""
    return [place / rate for place in range(count)]


def _tasks(workload: Workload, count: int, draw: random.Random) -> list[str]:
    """Return tasks in the exact proportions of the weights, but for the last round, shuffled."""
    deck = [task for task, weight in workload.tasks.items() for _ in range(int(weight))]
    chosen: list[str] = []
    while len(chosen) < count:
        hand = list(deck)
        if workload.name not in ("three-tasks", "three-images"):
            draw.shuffle(hand)
        chosen += hand
    return chosen[:count]


def _limit(task: str, draw: random.Random, factor: float) -> int:
    mean = CAPTION_TOKENS * LENGTH_RATIOS[task] * factor
    return max(4, round(mean * draw.uniform(1 - _SPREAD, 1 + _SPREAD)))


def mean_tokens(chosen: Sequence[Item]) -> float:
    """Return the mean limit of some requests."""
    return sum(item.token_limit for item in chosen) / len(chosen)
