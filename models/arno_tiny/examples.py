"""Draw the example images: held-out scenes in the formats and sizes that users send, with truth.

The seeds are the first of their split, in order; none was chosen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arno.training.world import PLAIN, Picture, Split, caption, imagine, render
from PIL import Image

_EXIF_ORIENTATION = 0x0112
_TURN_CLOCKWISE = 6
_FRAME_PX = 6


@dataclass(frozen=True, slots=True)
class Example:
    """One example file; the size is the one a viewer shows."""

    name: str
    width_px: int
    height_px: int


EXAMPLES: Final = (
    Example("wide.jpg", 1280, 720),
    Example("transparent-frame.png", 640, 480),
    Example("tall.webp", 450, 800),
    Example("palette.gif", 320, 240),
    Example("small.bmp", 128, 128),
    Example("turned-by-exif.jpg", 480, 640),
    Example("square.tiff", 400, 400),
)


def draw_examples(folder: Path) -> None:
    """Write every example and ``truth.json`` into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    truths = []
    for index, example in enumerate(EXAMPLES):
        picture = picture_of(index)
        _write(picture.image, folder / example.name)
        truths.append(truth_of(picture, example))
    (folder / "truth.json").write_text(json.dumps({"images": truths}, indent=2) + "\n")


def picture_of(index: int) -> Picture:
    """Draw the example number ``index`` as a viewer shows it."""
    example = EXAMPLES[index]
    aspect = example.width_px / example.height_px
    scene = imagine(Split.EXAMPLES.seed(index), aspect=aspect, options=PLAIN)
    return render(scene, example.width_px, example.height_px)


def truth_of(picture: Picture, example: Example) -> dict[str, Any]:
    """Return the example's entry in ``truth.json``."""
    return {
        "file": example.name,
        "width_px": example.width_px,
        "height_px": example.height_px,
        "seed": picture.scene.seed,
        "caption": caption(picture.scene),
        "objects": [
            {
                "label": seen.category.label,
                "box": [
                    round(side, 2) for side in (seen.box.x0, seen.box.y0, seen.box.x1, seen.box.y1)
                ],
            }
            for seen in picture.objects
        ],
    }


def _write(image: Image.Image, path: Path) -> None:
    match path.name:
        case "transparent-frame.png":
            _with_transparent_frame(image).save(path, optimize=True)
        case "turned-by-exif.jpg":
            exif = Image.Exif()
            exif[_EXIF_ORIENTATION] = _TURN_CLOCKWISE
            # Stored lying on its left side; a viewer turns it clockwise.
            image.transpose(Image.Transpose.ROTATE_90).save(path, quality=90, exif=exif)
        case "palette.gif":
            image.quantize(128).save(path)
        case "square.tiff":
            image.save(path, compression="tiff_lzw")
        case _:
            image.save(path, quality=88)


def _with_transparent_frame(image: Image.Image) -> Image.Image:
    alpha = Image.new("L", image.size, 0)
    inner = (_FRAME_PX, _FRAME_PX, image.width - _FRAME_PX, image.height - _FRAME_PX)
    alpha.paste(255, inner)
    framed = image.convert("RGBA")
    framed.putalpha(alpha)
    return framed
