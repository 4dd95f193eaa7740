"""Annotate every image of a source: resumable, in order, with a bounded window in memory."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arno.bulk import Item, Place, Source
from arno.data_engine.annotators.annotator import LIMITS, Annotator, Work
from arno.data_engine.labels import stored_path
from arno.dataset import Dataset, DatasetWriter, ImageRecord, Manifest
from arno.dataset.answers import Annotations
from arno.dataset.folder import relative
from arno.dataset.shards import ShardFormat
from arno.errors import ArnoError, ConfigurationError, InvalidFieldError
from arno.images.decode import inspect_image

FAILURES_FILE: Final = "failures.jsonl"
WINDOW: Final = 512
"""Images that are under way at once: what a kill may cost, and what is held in memory."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run writes, and when it gives up.

    Attributes:
        form: Of the shards.
        shard_records: Records of a shard.
        window: Images that are under way at once; at its end the annotators run dry for a moment.
        failures_max: Failures of this run after which it stops; None is no limit.
    """

    form: ShardFormat = ShardFormat.PARQUET
    shard_records: int = 1000
    window: int = WINDOW
    failures_max: int | None = None


class Sources:
    """The images of a source of bulk runs, or of a data set with the annotations that it has."""

    def __init__(self, source: Source | Dataset) -> None:
        """Take the source, which must be the same in every run."""
        self._source = source
        if isinstance(source, Dataset):
            self.name = str(source.folder.absolute())
            self.root: Path | None = source.folder / source.manifest.images
            self.count: int | None = len(source)
            self.steps = source.manifest.steps
        else:
            self.name = source.name
            self.root = _folder_of(source)
            self.count = source.count()
            self.steps = ()

    def works(self, start: int) -> Iterator[Work]:
        """Yield the images from a position on."""
        if isinstance(self._source, Dataset):
            for number, record in enumerate(self._source):
                if record.position >= start:
                    place = Place(self._source.image_path(record))
                    said = Annotations(
                        list(record.texts), list(record.regions), list(record.triplets)
                    )
                    item = Item(record.image_id, place)
                    yield Work(item, record.position, said, number=number, size=record.size)
            return
        for position, item in enumerate(self._source):
            if position >= start:
                yield Work(item, position, number=position)


def annotate(
    sources: Sources,
    annotators: Sequence[Annotator],
    out: Path,
    options: RunOptions | None = None,
    *,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Counter[str]:
    """Show every image to every annotator, and write a data set of what they find.

    However it ends, the same call goes on behind the last record. An image of which every annotator
    fails has no record; each failure is a line of failures.jsonl.

    Args:
        sources: The images.
        annotators: Each with a name of its own.
        out: Folder of the data set.
        options: How it writes, and when it gives up.
        on_progress: Called with the number of images that are done, and of all where it is known.

    Returns:
        How many images have a record, and how many failures there were, in this run and those
        before it.

    Raises:
        ConfigurationError: The folder holds another data set, or two annotators have one name.
        ArnoError: An annotator cannot go on, or more images failed than may.
    """
    options = options or RunOptions()
    names = [annotator.name for annotator in annotators]
    if len(set(names)) < len(names):
        raise ConfigurationError(f"annotators need names of their own, not {', '.join(names)}")
    root = sources.root or out
    step = {
        "step": "annotate",
        "source": sources.name,
        "annotators": {one.name: dict(one.identity) for one in annotators},
    }
    manifest = Manifest(
        format=options.form,
        shard_records=options.shard_records,
        images=relative(root, out),
        steps=(*sources.steps, step),
    )
    with DatasetWriter(out, manifest) as writer:
        run = _Run(writer, out, root, options)
        works = sources.works(writer.next_position)
        while window := list(itertools.islice(works, options.window)):
            for work in _annotated(window, annotators):
                run.keep(work)
                on_progress(work.number + 1, sources.count)
        counts = run.totals()
        writer.close(step_counts=dict(counts))
    return counts


def _annotated(window: Sequence[Work], annotators: Sequence[Annotator]) -> Iterator[Work]:
    """Yield the images of a window in order, as soon as they and those before them are done."""
    unique = {work.item.key: work for work in reversed(window)}
    stream: Iterator[Work] = iter(sorted(unique.values(), key=lambda work: work.position))
    for annotator in annotators:
        stream = annotator.annotate(stream)
    waiting = sorted((work.position for work in unique.values()), reverse=True)
    done: dict[int, Work] = {}
    for work in stream:
        done[work.position] = work
        while waiting and waiting[-1] in done:
            yield done.pop(waiting.pop())


class _Run:
    """Writes what comes of images, and counts it."""

    def __init__(self, writer: DatasetWriter, out: Path, root: Path, options: RunOptions) -> None:
        self._writer, self._out, self._root = writer, out, root
        self._failures_max = options.failures_max
        self._failures = _Failures(out / FAILURES_FILE, before=writer.next_position)
        self._failed_count = 0

    def keep(self, work: Work) -> None:
        """Keep an image's record and failures; then let the annotators forget it."""
        for name, error in work.failures:
            self._fail(work, name, error)
        said = work.annotations
        if said.texts or said.regions or not work.failures:
            try:
                self._writer.write(self._record(work))
            except InvalidFieldError as error:  # broken for all: no annotator could tell
                self._fail(work, "image", error)
        for release in work.releases:
            release()
        if self._failures_max is not None and self._failed_count > self._failures_max:
            raise ArnoError(f"more than {self._failures_max} failures; see {self._failures.path}")

    def totals(self) -> Counter[str]:
        """Return the counts of the whole data set."""
        counts = Counter({"images": self._writer.record_count})
        counts["failures"] = self._failures.count()
        return counts

    def _fail(self, work: Work, name: str, error: ArnoError) -> None:
        self._failed_count += 1
        self._failures.add(work, name, error)

    def _record(self, work: Work) -> ImageRecord:
        content = work.item.open_image()
        header = inspect_image(content, LIMITS, field=f"image {work.item.key}")
        place = work.item.place
        if place is not None and place.offset == 0 and place.size_bytes is None:
            path = place.path
        else:
            path = stored_path(self._out, work.item.key, header.mime_type.partition("/")[2])
            _store(path, content)
        return ImageRecord(
            image_id=work.item.key,
            file=relative(path, self._root),
            width_px=header.width_px,
            height_px=header.height_px,
            sha256=hashlib.sha256(content).hexdigest(),
            position=work.position,
            **work.annotations.parts(),
        )


class _Failures:
    """The file of failures, a line each; what a run that goes on will see again is taken out."""

    def __init__(self, path: Path, *, before: int) -> None:
        self.path = path
        kept = [line for line in self._lines() if json.loads(line)["position"] < before]
        if path.exists():
            path.write_text("".join(kept), encoding="utf-8")

    def add(self, work: Work, name: str, error: ArnoError) -> None:
        line = {
            "image_id": work.item.key,
            "position": work.position,
            "annotator": name,
            "reason": error.reason,
            "message": error.message,
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def count(self) -> int:
        return sum(1 for _ in self._lines())

    def _lines(self) -> Iterator[str]:
        if self.path.exists():
            with self.path.open(encoding="utf-8") as file:
                # The last line of a killed run may be cut off.
                yield from (line for line in file if line.endswith("\n"))


def _store(path: Path, content: bytes) -> None:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f"{path.name}.tmp")
        unfinished.write_bytes(content)
        unfinished.rename(path)


def _folder_of(source: Source) -> Path | None:
    """Return the folder that files of a source are in; None where they are in no files."""
    first: Item | None = next(iter(source), None)
    place: Any = None if first is None else first.place
    if place is None or place.size_bytes is not None or place.offset:
        return None
    folder = Path(source.name)
    if folder.is_dir():
        return folder
    if source.name.startswith("files in "):
        return Path(source.name.removeprefix("files in "))
    return Path(os.path.dirname(source.name))  # noqa: PTH120 - of a list or of lines of JSON
