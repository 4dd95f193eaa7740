"""Images with labels of another tool, and how they become a data set."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arno.data_engine.annotators.annotator import LIMITS
from arno.dataset import (
    DatasetWriter,
    Granularity,
    ImageRecord,
    Manifest,
    Provenance,
    RegionKind,
    RegionText,
    Text,
)
from arno.dataset.folder import relative
from arno.dataset.shards import ShardFormat
from arno.errors import ArnoError, InvalidFieldError
from arno.images.decode import ImageHeader, inspect_image


@dataclass(frozen=True, slots=True)
class ForeignRegion:
    """A region of another tool.

    Attributes:
        label: Its text.
        place: Field of a place to its numbers: ``{"box": (10, 20, 50, 60)}``.
        kind: What the text is.
        score: How sure its annotator was; None where it says nothing.
        shares: Whether the numbers are parts of the image, 0..1, in place of pixels.
    """

    label: str
    place: dict[str, Any]
    kind: str = "category"
    score: float | None = None
    shares: bool = False


@dataclass(frozen=True, slots=True)
class ForeignImage:
    """An image of another tool.

    Attributes:
        path: Its file.
        image_id: Its id in the data set that it was exported from; empty where it is not known.
        regions: What it is said to show.
        texts: What is said of the whole.
    """

    path: Path
    image_id: str = ""
    regions: Sequence[ForeignRegion] = ()
    texts: Sequence[tuple[Granularity, str]] = ()


@dataclass(slots=True)
class Foreign:
    """A source of such images, read anew each time.

    Attributes:
        name: As it was written.
        path: Of its file or folder.
        images: The folder of the images, where that is not said in the file.
        read: Yields the images.
    """

    name: str
    path: Path
    images: Path | None
    read: Callable[[Path, Path | None], Iterator[ForeignImage]] = field(repr=False)

    def __iter__(self) -> Iterator[ForeignImage]:
        return self.read(self.path, self.images)


def import_images(
    source: Foreign,
    out: Path,
    *,
    annotator: str,
    form: ShardFormat = ShardFormat.PARQUET,
    shard_records: int = 1000,
    on_progress: Callable[[int, int | None], None] = lambda done, total: None,
) -> Counter[str]:
    """Write a data set of what another tool exported; one that was cut short is gone on with.

    Args:
        source: The images.
        out: Folder of the data set.
        annotator: The name that the provenance of each annotation says.
        form: Of the shards.
        shard_records: Records of a shard.
        on_progress: Called with the number of images that are done, and of all where it is known.

    Returns:
        How many images, texts and regions there are, and what was left out, by the reason.

    Raises:
        InvalidFieldError: The file is not of its format, or no image of it is there.
        ConfigurationError: The folder holds another data set.
    """
    root = source.images or _common_folder(one.path for one in source)
    if root is None:
        raise InvalidFieldError(field=source.name, problem="names no image")
    step = {"step": "import", "annotator": annotator, "source": source.name}
    manifest = Manifest(
        format=form, shard_records=shard_records, images=relative(root, out), steps=(step,)
    )
    counts: Counter[str] = Counter({"images": 0, "texts": 0, "regions": 0})
    seen: set[str] = set()
    with DatasetWriter(out, manifest) as writer:
        begun_at = writer.next_position
        for position, image in enumerate(source):
            record = _record(image, position, root, annotator, counts)
            if record is not None and record.image_id in seen:
                counts["left out: image named twice"] += 1
            elif record is not None:
                seen.add(record.image_id)
                counts["images"] += 1
                counts["texts"] += len(record.texts)
                counts["regions"] += len(record.regions)
                if position >= begun_at:
                    writer.write(record)
            on_progress(position + 1, None)
        if not counts["images"]:
            problem = f"no image of it can be read; they are looked for in {root}"
            raise InvalidFieldError(field=source.name, problem=problem, limit="images=DIR")
        writer.close(step_counts=dict(counts))
    return counts


def _record(
    image: ForeignImage, position: int, root: Path, annotator: str, counts: Counter[str]
) -> ImageRecord | None:
    """Return the record of an image; None where its file cannot be read."""
    try:
        content = image.path.read_bytes()
        header = inspect_image(content, LIMITS, field=str(image.path))
    except (OSError, ArnoError):
        counts["left out: image cannot be read"] += 1
        return None
    provenance = Provenance(annotator=annotator)
    regions = (_region(one, header, annotator, counts) for one in image.regions)
    texts = [(grain, words.strip()) for grain, words in image.texts if words.strip()]
    return ImageRecord(
        image_id=image.image_id or relative(image.path, root),
        file=relative(image.path, root),
        width_px=header.width_px,
        height_px=header.height_px,
        sha256=hashlib.sha256(content).hexdigest(),
        position=position,
        texts=tuple(
            Text(id=f"t{at}", granularity=grain, text=words, provenance=provenance)
            for at, (grain, words) in enumerate(texts)
        ),
        regions=tuple(one for one in regions if one is not None),
    )


def _region(
    region: ForeignRegion, header: ImageHeader, annotator: str, counts: Counter[str]
) -> RegionText | None:
    place = region.place
    if region.shares:
        sides = (header.width_px, header.height_px)
        place = {name: _scaled(numbers, sides) for name, numbers in place.items()}
    try:
        said = Provenance(annotator=annotator, score=region.score)
        label = region.label.strip()
        kind = RegionKind(region.kind)
        return RegionText(**place, kind=kind, text=label, provenance=said)
    except ValueError:  # pydantic's too
        counts["left out: not a region"] += 1
        return None


def _scaled(numbers: Any, sides: tuple[int, int]) -> Any:
    if numbers and isinstance(numbers[0], tuple):
        return tuple(_scaled(outline, sides) for outline in numbers)
    return tuple(one * sides[at % 2] for at, one in enumerate(numbers))


def _common_folder(paths: Iterable[Path]) -> Path | None:
    """Return the folder that all files are in, directly or below."""
    folders = {path.resolve().parent for path in paths}
    return Path(os.path.commonpath(folders)) if folders else None
