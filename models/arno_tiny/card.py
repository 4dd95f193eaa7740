"""Write the model card that lies beside the weights: where they come from and how good they are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from arno.training.world import CATEGORIES, TINY
from arno.vocabulary import Task

_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Making:
    """What a checkpoint says of how it was made.

    Attributes:
        steps: Steps of the run.
        batch: Scenes a step.
        minutes: Time that training took.
        precision: Of its matrix products.
        seed: Of the starting weights.
        earlier_scenes: What the weights had seen that it started from; 0 where it had none.
        commit: Of the code; unknown where it is installed.
        machine: What it ran on.
    """

    steps: int
    batch: int
    minutes: float
    precision: str
    seed: int
    earlier_scenes: int
    commit: str
    machine: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What ``arno eval`` found: figures by task and name, the main one first."""

    scenes: int
    figures: Mapping[Task, Mapping[str, float]]


def card(parameters: int, making: Making, measured: Measurement) -> str:
    """Return the README of a model folder."""
    labels = ", ".join(category.label for category in CATEGORIES)
    table = "\n".join(
        f"| {task} | " + ", ".join(f"{name} {value:.3f}" for name, value in values.items()) + " |"
        for task, values in measured.figures.items()
    )
    return _filled(f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---

# arno-tiny

A real, native Florence-2 of {parameters / 1e6:.1f} million parameters, trained from nothing by
this repository on scenes that it renders, so that everything Arno promises can be tried without a
download or a GPU. It is a test model: it knows emoji, not photographs.

It answers all sixteen tasks with Florence-2's own prompts; questions in words go to `PROMPT` as
`<VQA>How many cats are there?`.

## The world it knows

Pictures of 1 to {TINY.objects_max} emoji of {len(CATEGORIES)} categories ({labels}), half of them
painted in red, yellow, green, blue, purple or pink. Each takes {TINY.side_min:.0%} to
{TINY.side_max:.0%} of the picture's sides, stretched by up to a quarter, mirrored or not; another
may hide a little of it. The background is one of nine colours as a gradient, noise, stripes or
blobs, or a meadow, a beach, snow or night. Up to {TINY.words_max} words of at most
{TINY.letters_max} capitals or digits are printed, as high as a ninth of the picture or more, turned
by at most {TINY.rotation_max_degrees:.0f} degrees. Pictures are 9:16 to 16:9; the model sees
128 x 128 pixels.

What was given up so that two cores can train it: small things and small print, crowds, words turned
on their side, small letters. The generator has them (`WorldOptions`, `FULL`).

## Training

{making.earlier_scenes + making.steps * making.batch:,} scenes, each seen once; seeds of the test
split are never among them. {_before(making)}{making.steps:,} steps of
{making.batch} in {making.minutes:.0f} minutes on {making.machine}, {making.precision}, Muon and
AdamW, seed {making.seed}, commit {making.commit}:

    make tiny

`training.jsonl` is the run's log. Aids in training, of which nothing is in the saved model: dense
heads on the image tokens (kind, colour, box, letters), location targets softened over neighbouring
bins, and sine-cosine starting values for positions and locations.

## Measured

On {measured.scenes} scenes of the test split, by Arno's engine, 3 beams:

| task | figures |
| --- | --- |
{table}

    arno eval --model tiny --data world:seed=0,n={measured.scenes}

## Licence

Weights, tokenizer and configuration: Apache-2.0. The scenes were drawn with the fonts Noto Color
Emoji (SIL Open Font License 1.1) and DejaVu (Bitstream Vera licence), of which nothing is in this
folder.
""")


def _before(making: Making) -> str:
    if not making.earlier_scenes:
        return ""
    return f"{making.earlier_scenes:,} of them in earlier runs, whose weights this one took up. "


def _filled(page: str) -> str:
    """Fill the lines of the paragraphs; what has lines of its own keeps them."""
    return (
        "\n\n".join(
            block
            if block.startswith(("---", "#", "|", " "))
            else textwrap.fill(block, _WIDTH, break_long_words=False, break_on_hyphens=False)
            for block in page.rstrip("\n").split("\n\n")
        )
        + "\n"
    )
