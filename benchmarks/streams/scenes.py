"""Rendered videos of which the truth is known: objects that move at steady speeds and cross.

A scene repeats itself after ``PERIOD_S``, so that a long video costs the encoding of a short one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from arno.training.world.categories import CATEGORIES
from arno.training.world.sprites import MARGIN_PX, sprite
from arno.vocabulary import Box
from PIL import Image

PERIOD_S: Final = 20.0
_GREEN: Final = (120, 170, 110)
_ENCODER: Final = {"preset": "veryfast", "crf": "20", "bf": "0", "x264-params": "scenecut=0"}


@dataclass(frozen=True, slots=True)
class Walker:
    """An object that goes from one place to another and back within a period.

    Attributes:
        label: Its category in the world.
        begin: Left and upper edge at the beginning, as parts of the picture's sides.
        turn: Likewise in the middle of the period.
        height: Of its box, as a part of the picture's height.
    """

    label: str
    begin: tuple[float, float]
    turn: tuple[float, float]
    height: float


@dataclass(frozen=True, slots=True)
class Film:
    """How a scene is filmed.

    Attributes:
        walkers: The hindmost first.
        size_px: Width and height.
        rate: Pictures a second.
        key_every: Pictures from one key frame to the next.
        noise: Shades by which pixels differ at random, as those of a camera's sensor do.
    """

    walkers: tuple[Walker, ...]
    size_px: tuple[int, int] = (320, 320)
    rate: int = 10
    key_every: int = 10
    noise: int = 0

    def truth(self, at_s: float) -> Mapping[int, Box]:
        """Return the box of each walker at a moment, by its place in the list."""
        return {number: self._box(one, at_s) for number, one in enumerate(self.walkers)}

    def picture(self, at_s: float) -> Image.Image:
        """Return what is seen at a moment."""
        picture = Image.new("RGB", self.size_px, _GREEN)
        for one in self.walkers:
            box = self._box(one, at_s)
            drawn = _drawn(one.label, round(box.x1 - box.x0), round(box.y1 - box.y0))
            picture.paste(drawn, (round(box.x0), round(box.y0)), drawn)
        return self._noisy(picture, round(at_s * self.rate)) if self.noise else picture

    def _noisy(self, picture: Image.Image, seed: int) -> Image.Image:
        shades = np.asarray(picture, dtype=np.int16)
        random = np.random.default_rng(seed)
        shades = shades + random.integers(-self.noise, self.noise + 1, shades.shape, dtype=np.int16)
        return Image.fromarray(shades.clip(0, 255).astype(np.uint8))

    def write(self, path: Path, *, seconds: float) -> Path:
        """Write so much of it as an MP4 file with H.264."""
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("libx264", rate=self.rate, options=dict(_ENCODER))
            stream.width, stream.height = self.size_px
            stream.pix_fmt = "yuv420p"
            stream.gop_size = self.key_every
            stream.time_base = Fraction(1, self.rate)
            packets = list(self._encoded(stream))
            for number in range(int(seconds * self.rate)):
                place = number % len(packets)
                content, key = packets[place]
                packet = av.Packet(content)
                packet.pts = packet.dts = number
                packet.time_base = Fraction(1, self.rate)
                packet.stream, packet.is_keyframe = stream, key
                container.mux(packet)
        return path

    def _encoded(self, stream: Any) -> Iterator[tuple[bytes, bool]]:
        """Yield the packets of a period, which begins with a key frame; none waits for a later."""
        new_frame: Any = av.VideoFrame.from_image
        for number in range(int(PERIOD_S * self.rate)):
            frame = new_frame(self.picture(number / self.rate))
            frame.pts = number
            for packet in stream.encode(frame):
                yield bytes(packet), packet.is_keyframe
        for packet in stream.encode():
            yield bytes(packet), packet.is_keyframe

    def _box(self, one: Walker, at_s: float) -> Box:
        # There in the first half of the period, back in the second.
        part = (at_s % PERIOD_S) / PERIOD_S * 2
        part = part if part <= 1 else 2 - part
        width_px, height_px = self.size_px
        x, y = (
            (begin + (turn - begin) * part) * side
            for begin, turn, side in zip(one.begin, one.turn, self.size_px, strict=True)
        )
        tall = one.height * height_px
        return Box(x, y, min(width_px, x + tall * _aspect(one.label)), y + tall)


def crossing(labels: Sequence[str] = ("car", "cat", "bus", "dog")) -> Film:
    """Return two pairs of objects that pass each other, each hiding a part of the other."""
    one, other, third, fourth = labels
    return Film(
        (
            Walker(one, (0.02, 0.10), (0.70, 0.10), 0.22),
            Walker(other, (0.72, 0.16), (0.04, 0.16), 0.22),
            Walker(third, (0.70, 0.62), (0.02, 0.62), 0.22),
            Walker(fourth, (0.04, 0.70), (0.72, 0.70), 0.22),
        )
    )


def alone(label: str) -> Film:
    """Return one object that crosses the picture."""
    return Film((Walker(label, (0.02, 0.40), (0.66, 0.40), 0.32),))


@cache
def _glyph(label: str) -> str:
    return next(one.glyph for one in CATEGORIES if one.label == label)


def _aspect(label: str) -> float:
    drawn = sprite(_glyph(label), mirrored=False)
    return drawn.width_px / drawn.height_px


@cache
def _drawn(label: str, width_px: int, height_px: int) -> Image.Image:
    drawn = sprite(_glyph(label), mirrored=False)
    box = (MARGIN_PX, MARGIN_PX, MARGIN_PX + drawn.width_px, MARGIN_PX + drawn.height_px)
    return drawn.image.crop(box).resize((max(1, width_px), max(1, height_px)))
