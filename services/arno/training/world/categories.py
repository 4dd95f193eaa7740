"""The kinds of objects in scenes: one row per category.

A new row adds a category to the world. Labels are single English words, because a detection answer
is read back by its label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of object.

    Attributes:
        label: Name of one object.
        plural: Name of several.
        glyph: The emoji that draws it.
        colour: Name of its own colour, where it is not painted in another.
    """

    label: str
    plural: str
    glyph: str
    colour: str

    @property
    def with_article(self) -> str:
        """The label after "a" or "an", as a caption says it."""
        return with_article(self.label)


def with_article(words: str) -> str:
    """Return words after the indefinite article that they take."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


CATEGORIES: Final = (
    Category("apple", "apples", "\N{RED APPLE}", "red"),
    Category("car", "cars", "\N{AUTOMOBILE}", "red"),
    Category("cat", "cats", "\N{CAT FACE}", "orange"),
    Category("dog", "dogs", "\N{DOG FACE}", "white"),
    Category("tree", "trees", "\N{DECIDUOUS TREE}", "green"),
    Category("ball", "balls", "\N{SOCCER BALL}", "white"),
    Category("house", "houses", "\N{HOUSE BUILDING}", "orange"),
    Category("book", "books", "\N{GREEN BOOK}", "green"),
    Category("cup", "cups", "\N{HOT BEVERAGE}", "white"),
    Category("flower", "flowers", "\N{SUNFLOWER}", "orange"),
    Category("star", "stars", "\N{WHITE MEDIUM STAR}", "yellow"),
    Category("umbrella", "umbrellas", "\N{UMBRELLA}", "purple"),
    Category("bus", "buses", "\N{BUS}", "grey"),
    Category("boat", "boats", "\N{SAILBOAT}", "orange"),
    Category("rocket", "rockets", "\N{ROCKET}", "grey"),
    Category("truck", "trucks", "\N{DELIVERY TRUCK}", "orange"),
    Category("tractor", "tractors", "\N{TRACTOR}", "green"),
    Category("banana", "bananas", "\N{BANANA}", "yellow"),
    Category("cherry", "cherries", "\N{CHERRIES}", "red"),
    Category("pineapple", "pineapples", "\N{PINEAPPLE}", "yellow"),
    Category("strawberry", "strawberries", "\N{STRAWBERRY}", "red"),
    Category("carrot", "carrots", "\N{CARROT}", "orange"),
    Category("mushroom", "mushrooms", "\N{MUSHROOM}", "red"),
    Category("cactus", "cacti", "\N{CACTUS}", "green"),
    Category("leaf", "leaves", "\N{MAPLE LEAF}", "orange"),
    Category("frog", "frogs", "\N{FROG FACE}", "green"),
    Category("rabbit", "rabbits", "\N{RABBIT FACE}", "grey"),
    Category("bear", "bears", "\N{BEAR FACE}", "brown"),
    Category("penguin", "penguins", "\N{PENGUIN}", "grey"),
    Category("owl", "owls", "\N{OWL}", "brown"),
    Category("fish", "fish", "\N{FISH}", "blue"),
    Category("butterfly", "butterflies", "\N{BUTTERFLY}", "orange"),
    Category("ladybug", "ladybugs", "\N{LADY BEETLE}", "red"),
    Category("snail", "snails", "\N{SNAIL}", "brown"),
    Category("turtle", "turtles", "\N{TURTLE}", "green"),
    Category("elephant", "elephants", "\N{ELEPHANT}", "grey"),
    Category("chair", "chairs", "\N{CHAIR}", "brown"),
    Category("clock", "clocks", "\N{CLOCK FACE ONE OCLOCK}", "blue"),
    Category("key", "keys", "\N{KEY}", "yellow"),
    Category("bell", "bells", "\N{BELL}", "yellow"),
    Category("guitar", "guitars", "\N{GUITAR}", "red"),
    Category("drum", "drums", "\N{DRUM WITH DRUMSTICKS}", "red"),
    Category("camera", "cameras", "\N{CAMERA}", "grey"),
    Category("phone", "phones", "\N{MOBILE PHONE}", "black"),
    Category("crown", "crowns", "\N{CROWN}", "yellow"),
    Category("hat", "hats", "\N{TOP HAT}", "black"),
    Category("balloon", "balloons", "\N{BALLOON}", "red"),
    Category("gift", "gifts", "\N{WRAPPED PRESENT}", "orange"),
)
"""Forty-eight, of which no two look alike."""

TRAINED_GLYPHS: Final = tuple(
    "🍕🍔🍟🍩🍪🧀🥚🥐🌽🍇🍆🔨🔧🧲💡🔦🧹🧺🛒🚲🛴✈🚁⚓🎲🎯🧩🎺🎷🪁👟👢👓👕👖🧦🧤👜🎒💎💍💰🦀🐙🐍🦒🐫🦂🦇🐝🐓"
    "🌙☁🌈🔥💧❄👻👽🤖💀❤✂🗿🗼🏆👍👂👀🦴🌶🍞📎📌🔗🧱🛑🚧💊🧬📐🖨"
)
"""Glyphs that are none of the categories and look like none."""
HELD_OUT_GLYPHS: Final = tuple("🍉🍭🔭🔬🛹🦓🦩🐊🦞🎭💈🏹🧵🥝🧄")
"""More of them, which are never drawn in training."""
