"""Make docs/gallery.md and its pictures: every task, asked of the bundled arno-tiny.

Run it after the bundled model, a task or the drawing of regions has changed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import arno
from arno.client.drawing import draw
from arno.training.data.world import WorldScenes
from arno.training.world import Split
from arno.vocabulary import Box, Region, Shape, Task, TaskSpec, bounding_box
from arno.vocabulary.results import TaskResult
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "gallery.md"
PICTURES = ROOT / "docs" / "gallery"
SCENE = "scene.png"
LABELS_MAX = 8
WIDTH_PX = 640
HEAD = """# Gallery

Each task once, as the bundled arno-tiny answers it. arno-tiny is a Florence-2 of 6.0 million
parameters that recognises only a small world of rendered pictures: this page shows the form
of the answers, not how good a real checkpoint is. `scripts/make_gallery.py` makes it.

    arno up

![The picture that all tasks are asked about](gallery/scene.png)
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A task, what it is asked with, and how the command line asks the same."""

    spec: TaskSpec
    flags: str = ""


def main() -> int:
    """Run the command line."""
    PICTURES.mkdir(exist_ok=True)
    for old in PICTURES.iterdir():
        old.unlink()
    scene().save(PICTURES / SCENE)
    with arno.load("tiny") as florence:
        found = florence.ask(PICTURES / SCENE, "OD", "OCR_WITH_REGION")
        asked = questions(found["OD"].regions, found["OCR_WITH_REGION"].regions)
        parts = [section(one, florence.ask(PICTURES / SCENE, one.spec)[0]) for one in asked]
    PAGE.write_text("\n".join([HEAD, *parts]), encoding="utf-8")
    return 0


def scene() -> Image.Image:
    """Return a picture with three objects and two words that arno-tiny has not been trained on."""
    scenes = WorldScenes(seed=7, count=12, split=Split.TEST, tasks=(Task.OCR_WITH_REGION,))
    picture = scenes[1].open_image()
    height_px = round(picture.height * WIDTH_PX / picture.width)
    return picture.resize((WIDTH_PX, height_px), Image.Resampling.LANCZOS)


def questions(things: Sequence[Region], words: Sequence[Region]) -> Iterator[Shown]:
    """Yield every task; those that take a region are asked about what was found before."""
    thing = things[0]
    phrase = f"the {thing.label}"
    for task in Task:
        match task:
            case Task.REGION_TO_OCR:
                yield about(task, words[0].shape)
            case Task.REGION_TO_SEGMENTATION | Task.REGION_TO_CATEGORY | Task.REGION_TO_DESCRIPTION:
                yield about(task, thing.shape)
            case Task.CAPTION_TO_PHRASE_GROUNDING:
                *others, last = (f"a {one.label}" for one in things)
                text = f"{', '.join(others)} and {last}".capitalize()
                yield Shown(TaskSpec(task, text=text), f' --text "{text}"')
            case Task.REFERRING_EXPRESSION_SEGMENTATION:
                yield Shown(TaskSpec(task, text=phrase), f' --text "{phrase}"')
            case Task.OPEN_VOCABULARY_DETECTION:
                yield Shown(TaskSpec(task, classes=[thing.label]), f" --classes {thing.label}")
            case Task.PROMPT:
                text = f"<VQA>How many {thing.label}s are there?"
                yield Shown(TaskSpec(task, text=text), f' --text "{text}"')
            case _:
                yield Shown(TaskSpec(task))


def about(task: Task, shape: Shape) -> Shown:
    """Return a task that takes the box around a region."""
    box = bounding_box(shape)
    sides = [round(side) for side in (box.x0, box.y0, box.x1, box.y1)]
    return Shown(TaskSpec(task, region=Box(*sides)), f" --region {','.join(map(str, sides))}")


def section(shown: Shown, outcome: TaskResult) -> str:
    """Return the part of the page about one task, and write its picture if it found places."""
    task = shown.spec.task
    lines = [
        f"## {task}",
        "",
        f"    arno infer docs/gallery/{SCENE} --task {task}{shown.flags}",
        "",
    ]
    text = getattr(outcome.answer.value, "text", None)
    if text is not None:
        lines += [f"> {text or '(no text)'}", ""]
    places = [region for region in outcome.regions if region.shape]
    if places:
        name = f"{task.lower()}.webp"
        draw(PICTURES / SCENE, [outcome]).save(PICTURES / name, "WEBP", quality=85)
        lines += [f"![{alternative(places)}](gallery/{name})", ""]
    return "\n".join(lines)


def alternative(regions: Sequence[Region]) -> str:
    """Return what a picture shows, for those who do not see it."""
    labels = [region.label or "a region" for region in regions[:LABELS_MAX]]
    more = f" and {len(regions) - LABELS_MAX} more" if len(regions) > LABELS_MAX else ""
    return f"The picture with: {', '.join(labels)}{more}"


if __name__ == "__main__":
    sys.exit(main())
