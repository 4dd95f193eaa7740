"""Answer folders without a server: items, an answerer whose answers a test chooses, folders."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from pathlib import Path

from arno.bulk import Answered, AnswerFolder, Item, JsonLinesShards, Manifest, ShardFormat
from arno.client import InferResult
from arno.errors import ArnoError
from arno.vocabulary.wire_results import infer_result
from support.answers import caption, detection, region, response

QUESTION = {"tasks": [{"task": "TASK_OD"}]}


def items(*keys: str) -> list[Item]:
    """Items with these keys and an image that no one looks at."""
    return [Item(key, lambda: b"image") for key in keys]


def seen(label: str = "cat") -> InferResult:
    """A result with one box and one caption."""
    return infer_result(response(detection(region(label, 1, 2, 3, 4)), caption("a cat")))


class ChosenAnswerer:
    """Answers each item as the test says, and notes what it was asked and what it may forget."""

    def __init__(
        self, choose: Callable[[Item], InferResult | ArnoError] = lambda item: seen(item.key)
    ) -> None:
        self._choose = choose
        self.asked: list[str] = []
        self.released: list[str] = []

    def answer(self, items: Iterable[Item]) -> Generator[Answered, None, None]:
        for item in items:
            self.asked.append(item.key)
            outcome = self._choose(item)
            yield Answered(item, outcome, lambda key=item.key: self.released.append(key))


def open_folder(
    path: Path,
    *,
    source: str = "/photos",
    question: dict[str, object] | None = None,
    shard_format: ShardFormat | None = None,
    shard_size: int = 1000,
) -> AnswerFolder:
    """An answer folder as a run opens it."""
    form = shard_format or JsonLinesShards()
    manifest = Manifest.new(source, QUESTION if question is None else question, form.name)
    return AnswerFolder(path, manifest, form, shard_size=shard_size)
