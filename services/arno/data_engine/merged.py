"""Merge data sets of the same images, and the annotators within each."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from arno.data_engine.blocks import BLOCK_RECORDS, ONE_PROCESS, Workers, over_items
from arno.dataset import Dataset, DatasetWriter, ImageRecord
from arno.dataset.folder import relative
from arno.dataset.merging import FUSION, MergeSettings, join, merge, voters_of
from arno.dataset.records import RegionKind
from arno.errors import InvalidFieldError


def merge_datasets(
    sources: Sequence[Dataset],
    out: Path,
    settings: MergeSettings,
    *,
    workers: Workers = ONE_PROCESS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Counter[str]:
    """Write a data set of all images, each once, with the annotations of all sources merged.

    Images are the same where their ids are. The first source comes first, then what only the
    others have.

    Returns:
        How many images there are, how many regions and triplets before and after, and how many of
        those after are by several annotators.

    Raises:
        InvalidFieldError: An image has different sizes in two sources.
        ConfigurationError: The folder holds another data set.
        MissingExtraError: Ray is asked for, and not installed.
    """
    first = sources[0]
    voters = voters_of(itertools.chain.from_iterable(sources))
    step = {"step": "merge", **asdict(settings), "sources": [one.digest for one in sources]}
    manifest = first.manifest.model_copy(
        update={
            "complete": False,
            "images": first.images_from(out),
            "steps": (*first.manifest.steps, step),
        }
    )
    counts: Counter[str] = Counter()
    blocks = _blocks(sources)
    total = sum(map(len, blocks))
    work = _MergeWork(tuple(source.folder.resolve() for source in sources), voters, settings)
    with DatasetWriter(out, manifest) as writer:
        begun_at = writer.next_position
        for pairs in over_items(work, blocks, workers):
            for before, after in pairs:
                _count(counts, before, after)
                if after.position >= begun_at:
                    writer.write(after)
            on_progress(counts["images"], total)
        writer.close(step_counts=dict(counts))
    return counts


@dataclass(frozen=True, slots=True)
class _Image:
    """Where an image is: its position in what is written, and its source and number in each."""

    position: int
    image_id: str
    places: tuple[tuple[int, int], ...]


def _blocks(sources: Sequence[Dataset]) -> list[list[_Image]]:
    """Return each image once, in the order of the sources, in parts."""
    places: dict[str, list[tuple[int, int]]] = {}
    for which, source in enumerate(sources):
        for number, record in enumerate(source):
            places.setdefault(record.image_id, []).append((which, number))
    images = [
        _Image(position, image_id, tuple(found))
        for position, (image_id, found) in enumerate(places.items())
    ]
    return [images[at : at + BLOCK_RECORDS] for at in range(0, len(images), BLOCK_RECORDS)]


@dataclass(frozen=True, slots=True)
class _MergeWork:
    """Joins what the sources say of images, and merges it; gives both for each image."""

    folders: tuple[Path, ...]
    voters: Mapping[RegionKind, frozenset[str]]
    settings: MergeSettings

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[list[_Image]], list[tuple[ImageRecord, ImageRecord]]]]:
        sources = [Dataset(folder) for folder in self.folders]

        def work(images: list[_Image]) -> list[tuple[ImageRecord, ImageRecord]]:
            before = [_joined(sources, image) for image in images]
            return list(zip(before, merge(before, self.voters, self.settings), strict=True))

        yield work


def _joined(sources: Sequence[Dataset], image: _Image) -> ImageRecord:
    """Return an image with the annotations of all sources."""
    root = sources[0].folder / sources[0].manifest.images
    records = [sources[which][number] for which, number in image.places]
    path = sources[image.places[0][0]].image_path(records[0])
    try:
        record = join(records)
    except ValueError as error:
        raise InvalidFieldError(field=image.image_id, problem=str(error)) from error
    return record.model_copy(update={"position": image.position, "file": relative(path, root)})


def _count(counts: Counter[str], before: ImageRecord, after: ImageRecord) -> None:
    counts["images"] += 1
    for kind in ("regions", "triplets"):
        merged = getattr(after, kind)
        counts[f"{kind} before"] += len(getattr(before, kind))
        counts[f"{kind} after"] += len(merged)
        counts[f"{kind} by several annotators"] += sum(
            one.provenance.annotator == FUSION for one in merged
        )
