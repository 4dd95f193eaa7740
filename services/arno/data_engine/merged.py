"""Merge data sets of the same images, and the annotators within each."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from arno.dataset import Dataset, DatasetWriter, ImageRecord
from arno.dataset.folder import relative
from arno.dataset.merging import FUSION, MergeSettings, join, merge, voters_of
from arno.errors import InvalidFieldError

_BATCH_RECORDS: Final = 512


def merge_datasets(
    sources: Sequence[Dataset],
    out: Path,
    settings: MergeSettings,
    *,
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
    joined = _joined(sources)
    total = len({record.image_id for source in sources for record in source})
    with DatasetWriter(out, manifest) as writer:
        begun_at = writer.next_position
        while batch := list(itertools.islice(joined, _BATCH_RECORDS)):
            for before, after in zip(batch, merge(batch, voters, settings), strict=True):
                _count(counts, before, after)
                if after.position >= begun_at:
                    writer.write(after)
            on_progress(counts["images"], total)
        writer.close(step_counts=dict(counts))
    return counts


def _joined(sources: Sequence[Dataset]) -> Iterator[ImageRecord]:
    """Yield each image once, with the annotations of all sources."""
    places: dict[str, list[tuple[int, int]]] = {}
    for which, source in enumerate(sources):
        for number, record in enumerate(source):
            places.setdefault(record.image_id, []).append((which, number))
    root = sources[0].folder / sources[0].manifest.images
    for position, (image_id, found) in enumerate(places.items()):
        records = [sources[which][number] for which, number in found]
        path = sources[found[0][0]].image_path(records[0])
        try:
            record = join(records)
        except ValueError as error:
            raise InvalidFieldError(field=image_id, problem=str(error)) from error
        yield record.model_copy(update={"position": position, "file": relative(path, root)})


def _count(counts: Counter[str], before: ImageRecord, after: ImageRecord) -> None:
    counts["images"] += 1
    for kind in ("regions", "triplets"):
        merged = getattr(after, kind)
        counts[f"{kind} before"] += len(getattr(before, kind))
        counts[f"{kind} after"] += len(merged)
        counts[f"{kind} by several annotators"] += sum(
            one.provenance.annotator == FUSION for one in merged
        )
