"""Printed words of a scene: texts, faces, colours and places.

Lengths are in units of the picture's sides (0..1). Angles are those of the picture drawn in its own
aspect.
"""

from __future__ import annotations

import math
import string
from dataclasses import dataclass
from typing import Final

import numpy as np

from arno.training.world.backgrounds import Background
from arno.training.world.colours import Rgb
from arno.training.world.lettering import FACES, Lettering, lettering
from arno.training.world.options import WorldOptions
from arno.vocabulary import Box, Point

_SIGNS: Final = """
STOP GO OPEN SALE EXIT TAXI BUS HOTEL CAFE BAR SHOP FREE NEW HOT COLD ICE TEA MILK JUICE CAKE
BREAD SOUP FISH MEAT RICE EGGS SALT FOOD PIZZA MENU TOUR PARK ZOO SHOW FILM MUSIC RADIO NEWS
BOOK PRESS PLAY STAR SUN MOON SKY RAIN SNOW WIND FIRE WATER EARTH ROCK SAND LAKE RIVER ROAD
WEST EAST NORTH SOUTH LEFT RIGHT UP DOWN IN OUT YES NO ONE TWO THREE FOUR FIVE SIX SEVEN EIGHT
NINE TEN LOVE HOME LIFE TIME GAME TEAM WIN GOLD CASH BANK POST MAIL GATE WAY SLOW FAST QUIET
LOUD PUSH PULL KEEP OFF LOOK HELP HI HELLO THANKS WELCOME MARKET STREET GARDEN SUMMER WINTER
BAKERY LIBRARY TICKETS STATION CENTRE PARKING DELIVERY BREAKFAST
"""
LEXICON: Final = tuple(_SIGNS.split())
"""Words of signs. A model can learn them by heart, and must read random ones."""

_PLATE_PART: Final = 0.6
PLATE_RIM: Final = 0.35
"""Rim of a plate around its word, in heights of a capital."""
_LIGHT: Final = 128.0


@dataclass(frozen=True, slots=True)
class Word:
    """A printed word.

    Attributes:
        text: What it says.
        face: Which of the faces it is set in.
        ink: The colour of the letters.
        plate: The colour of the sign under it; None where it stands on the background.
        angle_degrees: How far it is turned, clockwise.
        quad: The corners of its tight box, clockwise from the top left of the text.
        box: The upright box around the quad, and around the plate where there is one.
        letters: The middle of each letter.
    """

    text: str
    face: int
    ink: Rgb
    plate: Rgb | None
    angle_degrees: float
    quad: tuple[Point, Point, Point, Point]
    box: Box
    letters: tuple[Point, ...]

    @property
    def region(self) -> Box:
        """The upright box around the letters."""
        xs, ys = [point.x for point in self.quad], [point.y for point in self.quad]
        return Box(min(xs), min(ys), max(xs), max(ys))


def imagine_word(
    rng: np.random.Generator, aspect: float, background: Background, options: WorldOptions
) -> Word | None:
    """Choose a word and a place for it; None where it is too long for the picture."""
    text = _text(rng, options)
    face = int(rng.integers(len(FACES)))
    turned = rng.random() < options.rotated_part
    limit = options.rotation_max_degrees
    angle = rng.uniform(-limit, limit) if turned else 0.0
    on_plate = bool(rng.random() < _PLATE_PART) or not background.is_plain
    ink, plate = _colours(rng, background, on_plate=on_plate)
    height = rng.uniform(options.letter_height_min, options.letter_height_max)
    placed = _Turned(lettering(text, face), height, angle, aspect, rim=PLATE_RIM * on_plate)
    if max(placed.width, placed.height) > 0.98:
        return None
    x = rng.uniform(placed.width / 2, 1 - placed.width / 2)
    y = rng.uniform(placed.height / 2, 1 - placed.height / 2)
    middle = Point(x, y)
    return Word(
        text=text,
        face=face,
        ink=ink,
        plate=plate,
        angle_degrees=angle,
        quad=placed.quad(middle),
        box=placed.box(middle),
        letters=placed.letters(middle),
    )


class _Turned:
    """A word of some height and angle in a picture of some aspect: where its points come to lie.

    Lengths inside are in sides of a square picture of equal area, where angles are what they seem.
    """

    def __init__(
        self, shape: Lettering, letter_height: float, angle: float, aspect: float, *, rim: float
    ) -> None:
        self._shape, self._scale = shape, letter_height / shape.capital_px
        self._turn = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        self._sides = math.sqrt(aspect), 1 / math.sqrt(aspect)
        half_width = shape.width_px * self._scale / 2 + rim * letter_height
        half_height = shape.height_px * self._scale / 2 + rim * letter_height
        cos, sin = abs(self._turn[0]), abs(self._turn[1])
        self.width = 2 * (half_width * cos + half_height * sin) / self._sides[0]
        self.height = 2 * (half_width * sin + half_height * cos) / self._sides[1]

    def quad(self, middle: Point) -> tuple[Point, Point, Point, Point]:
        """Return the corners of the letters' tight box."""
        x, y = self._shape.width_px / 2, self._shape.height_px / 2
        return (
            self._point(middle, -x, -y),
            self._point(middle, x, -y),
            self._point(middle, x, y),
            self._point(middle, -x, y),
        )

    def box(self, middle: Point) -> Box:
        """Return the upright box around the word and its rim."""
        x, y = self.width / 2, self.height / 2
        return Box(middle.x - x, middle.y - y, middle.x + x, middle.y + y)

    def letters(self, middle: Point) -> tuple[Point, ...]:
        """Return the middle of each letter."""
        left = self._shape.width_px / 2
        return tuple(self._point(middle, x - left, 0.0) for x in self._shape.letters_px)

    def _point(self, middle: Point, x_px: float, y_px: float) -> Point:
        x, y = x_px * self._scale, y_px * self._scale
        cos, sin = self._turn
        return Point(
            middle.x + (x * cos - y * sin) / self._sides[0],
            middle.y + (x * sin + y * cos) / self._sides[1],
        )


def _text(rng: np.random.Generator, options: WorldOptions) -> str:
    if rng.random() < options.random_word_part:
        alphabet = string.digits if rng.random() < 0.4 else string.ascii_uppercase
        length = rng.integers(2, min(5, options.letters_max) + 1)
        text = "".join(alphabet[index] for index in rng.integers(len(alphabet), size=length))
    else:
        fitting = [word for word in LEXICON if len(word) <= options.letters_max]
        text = fitting[rng.integers(len(fitting))]
    if rng.random() < options.lower_case_part:
        return text.lower() if rng.random() < 0.5 else text.capitalize()
    return text


def _colours(
    rng: np.random.Generator, background: Background, *, on_plate: bool
) -> tuple[Rgb, Rgb | None]:
    """Return ink and plate that can be told apart, and from the background."""
    light, dark = _shade(rng, 215, 255), _shade(rng, 0, 70)
    if on_plate:
        return (dark, light) if rng.random() < 0.5 else (light, dark)
    return (dark if background.brightness > _LIGHT else light), None


def _shade(rng: np.random.Generator, least: float, most: float) -> Rgb:
    red, green, blue = rng.uniform(least, most, size=3).tolist()
    return (red, green, blue)
