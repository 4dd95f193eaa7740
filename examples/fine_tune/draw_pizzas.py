"""Draw a small data set with a category that arno-tiny has never seen, in Arno's own format.

    python examples/fine_tune/draw_pizzas.py pizzas

writes pizzas/train.jsonl, pizzas/test.jsonl and the images they name. Each picture holds a pizza
and up to two things that arno-tiny knows, so that it learns to tell them apart. README.md
goes on from here.
"""

from __future__ import annotations

import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

FONT_PATH = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"  # fonts-noto-color-emoji
FONT_SIZE = 109  # the only one that the font has

NEW = ("pizza", "\N{SLICE OF PIZZA}")
KNOWN = (
    ("apple", "\N{RED APPLE}"),
    ("car", "\N{AUTOMOBILE}"),
    ("cat", "\N{CAT FACE}"),
    ("tree", "\N{DECIDUOUS TREE}"),
    ("house", "\N{HOUSE BUILDING}"),
    ("star", "\N{WHITE MEDIUM STAR}"),
)
WIDTH, HEIGHT = 256, 192


@dataclass(frozen=True)
class Thing:
    """One object of a picture, with its box in pixels."""

    label: str
    box: tuple[int, int, int, int]

    def meets(self, other: Thing) -> bool:
        """Return whether the two overlap."""
        return (
            self.box[0] < other.box[2]
            and other.box[0] < self.box[2]
            and self.box[1] < other.box[3]
            and other.box[1] < self.box[3]
        )


def glyph(character: str) -> Image.Image:
    """Return an emoji without anything around it."""
    canvas = Image.new("RGBA", (192, 192))
    font = ImageFont.truetype(FONT_PATH, FONT_SIZE)
    ImageDraw.Draw(canvas).text((20, 20), character, font=font, embedded_color=True)
    return canvas.crop(canvas.getbbox())


def draw(rng: random.Random, glyphs: dict[str, Image.Image]) -> tuple[Image.Image, list[Thing]]:
    """Return a picture and what is in it, from left to right."""
    shade = tuple(rng.randrange(60, 256) for _ in range(3))
    picture = Image.new("RGB", (WIDTH, HEIGHT), shade)
    labels = [NEW[0], *rng.sample([label for label, _ in KNOWN], rng.randrange(3))]
    things: list[Thing] = []
    for label in labels:
        for _ in range(30):
            side = rng.randrange(50, 95)
            left, top = rng.randrange(WIDTH - side), rng.randrange(HEIGHT - side)
            shape = glyphs[label].copy()
            shape.thumbnail((side, side))
            thing = Thing(label, (left, top, left + shape.width, top + shape.height))
            if not any(thing.meets(other) for other in things):
                picture.paste(shape, (left, top), shape)
                things.append(thing)
                break
    return picture, sorted(things, key=lambda thing: thing.box)


def line(file: str, things: list[Thing]) -> dict[str, Any]:
    """Return a picture's line of the data set."""
    answer = [{"label": thing.label, "box": list(thing.box)} for thing in things]
    return {"file": file, "task": "OD", "answer": answer}


def main(folder: Path, counts: dict[str, int]) -> None:
    """Draw the pictures of each part, and write its lines."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    glyphs = {label: glyph(character) for label, character in (NEW, *KNOWN)}
    for seed, (part, count) in enumerate(counts.items()):
        rng = random.Random(seed)
        with (folder / f"{part}.jsonl").open("w") as lines:
            for number in range(count):
                picture, things = draw(rng, glyphs)
                file = f"images/{part}-{number}.png"
                picture.save(folder / file)
                lines.write(json.dumps(line(file, things)) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=400, help="pictures to learn from")
    parser.add_argument("--test", type=int, default=40, help="pictures to try it on")
    asked = parser.parse_args()
    main(asked.folder, {"train": asked.train, "test": asked.test})
