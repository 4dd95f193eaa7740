"""Turn a run's checkpoint into the folder that Arno bundles: measured, with its model card."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from arno.training.data.world import WorldScenes
from arno.training.evaluation.answering import DecodingChoice
from arno.training.evaluation.figures import nouns_of
from arno.training.evaluation.local import open_model
from arno.training.evaluation.questions import questions_of
from arno.training.evaluation.run import evaluate
from arno.training.trainer.log import LOG_FILE
from arno.training.world import CATEGORIES, OPEN, TINY, Split
from arno.vocabulary import Task

from models.arno_tiny.architecture import build_model, save
from models.arno_tiny.measure import Row, as_table, measure_held_out, write
from models.arno_tiny.tokenizer import build_tokenizer

HELD_OUT_FILE: Final = "held_out.json"
"""The file of a model folder with the figures on what training never draws."""
_SEED: Final = 0
_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class Making:
    """How a checkpoint was made.

    Attributes:
        steps: Number of steps of the run.
        batch: Scenes a step.
        minutes: Time that training took.
        precision: Number format of the matrix products.
        seed: Seed of the starting weights.
        earlier_scenes: Number of scenes that the starting weights had been trained on; 0 for random
            ones.
        commit: Commit of the code.
        machine: The machine, in words.
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
    """The result of ``arno eval``: figures by task and name, the main one first."""

    scenes: int
    figures: Mapping[Task, Mapping[str, float]]


def ship(checkpoint: Path, folder: Path, scenes: int) -> Measurement:
    """Write weights, configuration, card, figures and the run's log; return the figures.

    Raises:
        FileNotFoundError: There is no checkpoint, or no log beside it.
    """
    state = torch.load(checkpoint, weights_only=True)
    model = build_model(build_tokenizer())
    average = state["average"]["average"]
    with torch.no_grad():
        for parameter, kept in zip(model.parameters(), average, strict=True):
            parameter.copy_(kept)
    save(model, folder)
    shutil.copyfile(checkpoint.with_name(LOG_FILE), folder / "training.jsonl")
    measured, held_out = measure(folder, scenes), measure_held_out(str(folder), scenes)
    write(held_out, folder / HELD_OUT_FILE, model="tiny", scenes=scenes)
    facts = state["facts"]
    making = Making(
        steps=state["step"],
        batch=facts["batch"],
        minutes=state["trained_s"] / 60,
        precision=facts["precision"],
        seed=facts["seed"],
        earlier_scenes=facts["first_scene"],
        commit=facts["commit"],
        machine=facts["machine"],
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    (folder / "README.md").write_text(card(parameters, making, measured, held_out))
    return measured


def measure(folder: Path, scenes: int) -> Measurement:
    """Measure a saved model on test scenes, as ``arno eval`` does."""
    decoding = DecodingChoice()
    answerer = open_model(str(folder), decoding, device="cpu")
    asked = questions_of(WorldScenes(seed=_SEED, count=scenes, split=Split.TEST))
    try:
        found = evaluate(answerer, asked, decoding=decoding, nouns=nouns_of("world:"))
    finally:
        answerer.close()
    return Measurement(
        scenes, {task: judged.figures.values for task, judged in found.tasks.items()}
    )


def card(parameters: int, making: Making, measured: Measurement, held_out: tuple[Row, ...]) -> str:
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
this repository on scenes that it renders, so that all of Arno can be tried without a download or a
GPU. It is a test model: it knows emoji, not photographs.

It answers all sixteen tasks with Florence-2's own prompts; questions in words go to `PROMPT` as
`<VQA>How many cats are there?`.

## The world it knows

Pictures of 1 to {TINY.objects_max} emoji of {len(CATEGORIES)} categories ({labels}), half of them
painted in red, yellow, green, blue, purple or pink. Each takes {TINY.side_min:.0%} to
{TINY.side_max:.0%} of the picture's sides, stretched by up to a quarter, mirrored or not; another
may hide a little of it. The background is one of nine colours as a gradient, noise, stripes or
blobs, or a meadow, a beach, snow or night; in {OPEN.family_part:.0%} of the pictures of training
it is a gradient, stripes, checkers, dots, noise or a clutter of shapes in arbitrary colours, or a
printed page. Up to {OPEN.distractors_max} shapes and emoji of no category lie among the objects,
{OPEN.empty_part:.0%} of the pictures hold no object at all, and {OPEN.finished_part:.0%} are
blurred, lighter, darker, or were a JPEG of low quality. Up to {TINY.words_max} words of at most
{TINY.letters_max} capitals or digits are printed, as high as a ninth of the picture or more, turned
by at most {TINY.rotation_max_degrees:.0f} degrees. Pictures are 9:16 to 16:9; the model sees
128 x 128 pixels.

Left out, so that two cores can train it: small things and small print, crowds, words turned
on their side, small letters. The generator has them (`WorldOptions`, `FULL`).

## Training

{making.earlier_scenes + making.steps * making.batch:,} scenes, each seen once; seeds of the test
split are never among them. {_before(making)}{making.steps:,} steps of
{making.batch} in {making.minutes:.0f} minutes on {making.machine}, {making.precision}, Muon and
AdamW, seed {making.seed}, commit {making.commit}; `models/arno_tiny` has the recipe.

`training.jsonl` is the run's log. Used in training, and not in the saved model: dense heads on the
image tokens (kind, colour, box, letters), location targets softened over neighbouring bins, and
sine-cosine starting values for positions and locations.

## Measured

On {measured.scenes} scenes of the test split, by Arno's engine, 3 beams:

| task | figures |
| --- | --- |
{table}

    arno eval --model tiny --data world:seed=0,n={measured.scenes}

{_outside(held_out, measured.scenes)}

## Licence

Weights, tokenizer and configuration: Apache-2.0. The scenes were drawn with the fonts Noto Color
Emoji (SIL Open Font License 1.1) and DejaVu (Bitstream Vera licence), of which nothing is in this
folder.
""")


def _outside(held_out: tuple[Row, ...], scenes: int) -> str:
    return f"""Outside of what it was trained on: backgrounds of smooth blobs and of mosaics in
arbitrary colours, and emoji of no category, none of which training draws. Precision, recall and
accuracy count places with an overlap of at least 0.5; phantoms are objects found where there is
none; an absent phrase names what is not in the picture, and its score is that of the surest place,
0 without any.

{as_table(held_out)}

    python -m models.arno_tiny measure tiny --scenes {scenes}"""


def _before(making: Making) -> str:
    if not making.earlier_scenes:
        return ""
    return f"{making.earlier_scenes:,} of them in earlier runs, from whose weights it started. "


def _filled(page: str) -> str:
    """Fill the lines of paragraphs; tables, titles and code keep their lines."""
    return (
        "\n\n".join(
            block
            if block.startswith(("---", "#", "|", " "))
            else textwrap.fill(block, _WIDTH, break_long_words=False, break_on_hyphens=False)
            for block in page.rstrip("\n").split("\n\n")
        )
        + "\n"
    )
