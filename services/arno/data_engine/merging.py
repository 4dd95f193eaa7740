"""Merge data sets of the same images, and the annotators within each."""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import itertools
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np

from arno.data_engine.blocks import BLOCK_RECORDS, ONE_PROCESS, Workers, over_items
from arno.dataset import Dataset, DatasetWriter, ImageRecord
from arno.dataset.folder import relative
from arno.dataset.merging import FUSION, MergeSettings, join, merge, voters_of
from arno.dataset.records import RegionKind
from arno.errors import InvalidFieldError

_KEY_BYTES: Final = 16
"""Of an id: enough that no two of a billion are taken for one."""


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
    step = {
        "step": "merge",
        "source": " and ".join(one.name for one in sources),
        "digests": [one.digest for one in sources],
        **asdict(settings),
    }
    manifest = first.manifest.model_copy(
        update={
            "complete": False,
            "images": first.images_from(out),
            "steps": (*first.manifest.steps, step),
        }
    )
    counts: Counter[str] = Counter()
    images = _Images(sources)
    work = _MergeWork(tuple(source.folder.resolve() for source in sources), voters, settings)
    with DatasetWriter(out, manifest) as writer:
        begun_at = writer.next_position
        for pairs in over_items(work, images.blocks(), workers):
            for before, after in pairs:
                _count(counts, before, after)
                if after.position >= begun_at:
                    writer.write(after)
            on_progress(counts["images"], len(images))
        writer.close(step_counts=dict(counts))
    return counts


@dataclass(frozen=True, slots=True)
class _Image:
    """Where an image is: its position in what is written, and its source and number in each."""

    position: int
    places: tuple[tuple[int, int], ...]


class _Images:
    """Each image of the sources once, in the order of the sources.

    In numbers alone, some dozens of bytes a record: ids of a large data set would take far more.
    """

    def __init__(self, sources: Sequence[Dataset]) -> None:
        self._ends = list(itertools.accumulate(map(len, sources)))
        digests = array("Q")
        for record in itertools.chain.from_iterable(sources):
            key = hashlib.blake2b(record.image_id.encode(), digest_size=_KEY_BYTES)
            digests.frombytes(key.digest())
        keys = np.array(digests, np.uint64).reshape(-1, 2)
        # Stable, so that records of one image stay in the order of the sources.
        by_key = np.lexsort((keys[:, 1], keys[:, 0]))
        begins = np.ones(len(keys), np.bool_)
        begins[1:] = (keys[by_key[1:]] != keys[by_key[:-1]]).any(axis=1)
        first = by_key[begins]  # record of each image, in the order of the keys
        positions = np.empty(len(first), np.int64)
        positions[np.argsort(first)] = np.arange(len(first))
        owners = np.empty(len(keys), np.int64)
        owners[by_key] = positions[np.cumsum(begins) - 1]
        self._records = np.argsort(owners, kind="stable")
        self._starts = np.searchsorted(owners[self._records], np.arange(len(first) + 1))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def blocks(self) -> Iterator[list[_Image]]:
        """Yield the images in parts."""
        for at in range(0, len(self), BLOCK_RECORDS):
            positions = range(at, min(at + BLOCK_RECORDS, len(self)))
            yield [_Image(position, self._places(position)) for position in positions]

    def _places(self, position: int) -> tuple[tuple[int, int], ...]:
        numbers = self._records[self._starts[position] : self._starts[position + 1]].tolist()
        return tuple(map(self._place, numbers))

    def _place(self, number: int) -> tuple[int, int]:
        which = bisect.bisect_right(self._ends, number)
        return which, number - (self._ends[which - 1] if which else 0)


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
        raise InvalidFieldError(field=records[0].image_id, problem=str(error)) from error
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
