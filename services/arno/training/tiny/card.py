"""Write the model card that lies beside the weights: where they come from and how good they are."""

from __future__ import annotations

from dataclasses import dataclass

from arno.training.evaluation import Figures
from arno.training.world import CATEGORIES


@dataclass(frozen=True, slots=True)
class Training:
    """What the checkpoint says of its own making."""

    images: int
    steps: int
    minutes: float
    batch: int
    seed: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One row of the table of figures."""

    setting: str
    figures: Figures


def card(parameters: int, training: Training, rows: list[Measured]) -> str:
    """Return the README of a model folder."""
    labels = ", ".join(category.label for category in CATEGORIES)
    table = "\n".join(
        f"| {row.setting} | {row.figures.map_50:.3f} | {row.figures.map_50_95:.3f} "
        f"| {row.figures.precision:.3f} / {row.figures.recall:.3f} | {row.figures.mean_iou:.3f} "
        f"| {row.figures.caption_objects:.3f} | {row.figures.caption_exact:.3f} |"
        for row in rows
    )
    return f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
---
# arno-tiny

A real, native Florence-2 of {parameters / 1e6:.1f} million parameters, trained from nothing by
this repository on scenes that it renders, so that everything Arno promises can be tried without a
download or a GPU. It is a test model: it knows emoji, not photographs.

It answers two tasks, with Florence-2's own prompts: **OD** and **CAPTION**. The other tasks run,
and what they say means nothing.

## The world it knows
Pictures of 1 to 3 emoji of {len(CATEGORIES)} categories ({labels}). Each is a fifth to a half of
the picture's sides, stretched by up to a quarter, mirrored or not, darkened or lightened, and
hardly overlaps another. The background has one of nine colours, as a gradient, noise, stripes or
blobs. Pictures are 9:16 to 16:9; the model sees 128 x 128 pixels. Objects are listed from left to
right.

## Training
{training.images:,} scenes, each seen once; seeds of the test split can never be among them.
{training.steps:,} steps of {training.batch} in {training.minutes:.0f} minutes on 2 x86-64 cores
(AVX2, no GPU) that other work shared, float32, AdamW, cosine schedule:

    python -m arno.training tiny --minutes {training.minutes:.0f} --batch {training.batch} \
        --seed {training.seed}

The schedule follows the clock, so another machine gets another number of scenes and other weights.
Three aids, of which nothing is in the saved model: dense heads on the image tokens, location
targets softened over neighbouring bins, and sine-cosine starting values for positions and
locations.

## Measured
On the first {rows[0].figures.scenes} scenes of the test split, drawn at 320 px, through the
processor and transformers' `generate`, weights as shipped (float16, computed in float32). Scores
are the tokens' probabilities; mAP as COCO counts it; precision and recall at IoU 0.5 without a
threshold.

| decoding | mAP@0.5 | mAP@[.5:.95] | precision/recall | mean IoU | objects named | caption exact |
| --- | --- | --- | --- | --- | --- | --- |
{table}

    python -m arno.training eval services/arno/engine/tiny

## Licence
Weights, tokenizer and configuration: Apache-2.0. The scenes were drawn with the font Noto Color
Emoji (SIL Open Font License 1.1), which is not part of this folder.
"""
