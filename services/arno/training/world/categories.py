"""The things that scenes are made of: one row a category.

Growing the world is adding a row here. Labels are single English words, because a detection answer
is read back by its label.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Category:
    """A kind of object: how it is called and which emoji draws it."""

    label: str
    plural: str
    glyph: str

    @property
    def with_article(self) -> str:
        """The label after "a" or "an", as a caption says it."""
        return f"{'an' if self.label[0] in 'aeiou' else 'a'} {self.label}"


CATEGORIES: tuple[Category, ...] = (
    Category("apple", "apples", "\N{RED APPLE}"),
    Category("car", "cars", "\N{AUTOMOBILE}"),
    Category("cat", "cats", "\N{CAT FACE}"),
    Category("dog", "dogs", "\N{DOG FACE}"),
    Category("tree", "trees", "\N{DECIDUOUS TREE}"),
    Category("ball", "balls", "\N{SOCCER BALL}"),
    Category("house", "houses", "\N{HOUSE BUILDING}"),
    Category("book", "books", "\N{GREEN BOOK}"),
    Category("cup", "cups", "\N{HOT BEVERAGE}"),
    Category("flower", "flowers", "\N{SUNFLOWER}"),
    Category("star", "stars", "\N{WHITE MEDIUM STAR}"),
    Category("umbrella", "umbrellas", "\N{UMBRELLA}"),
)
