"""Labels that exist already, in any form that training reads, as a data set."""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from arno.dataset import DatasetWriter, ImageRecord, Manifest, Provenance
from arno.dataset.answers import ANNOTATING, Annotations
from arno.dataset.folder import relative
from arno.dataset.shards import ShardFormat
from arno.errors import InvalidFieldError
from arno.training.data import Sample, SampleSource
from arno.training.data.image_files import ImageFile

IMAGES: Final = "images"
"""Folder in the data set for images that were in no file."""
_NAME_CHARS_MAX: Final = 100
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with all samples of it; there is at least one."""

    image_id: str
    samples: tuple[Sample, ...]

    @property
    def file(self) -> Path | None:
        """The image's file; None where it is rendered."""
        opener = self.samples[0].open_image
        return opener.path if isinstance(opener, ImageFile) else None


class LabelledImages:
    """The images of a source of samples, each once, in the order of their first sample."""

    def __init__(self, source: SampleSource) -> None:
        """Find which samples are of which image; broken samples are counted and left out."""
        self._source = source
        self._places: dict[str, array[int]] = {}
        self.left_out: Counter[str] = Counter()
        self.first_broken = ""
        folders: set[Path] = set()
        self.rendered = False
        for index in range(len(source)):
            try:
                sample = source[index]
            except InvalidFieldError as error:
                self.left_out[f"broken sample: {error.problem}"] += 1
                self.first_broken = self.first_broken or error.message
                continue
            self._places.setdefault(sample.image_id, array("q")).append(index)
            if isinstance(sample.open_image, ImageFile):
                folders.add(sample.open_image.path.resolve().parent)
            else:
                self.rendered = True
        self._folders = folders

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[LabelledImage]:
        for image_id, places in self._places.items():
            yield LabelledImage(image_id, tuple(self._source[place] for place in places))

    def folder(self) -> Path | None:
        """Return the folder that all files are in, directly or below; None without files."""
        return Path(os.path.commonpath(self._folders)) if self._folders else None


def import_labels(  # noqa: PLR0913 - what the manifest and the shards say
    source: SampleSource,
    out: Path,
    *,
    annotator: str,
    name: str = "",
    form: ShardFormat = ShardFormat.PARQUET,
    shard_records: int = 1000,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Counter[str]:
    """Write a data set of labels; one that a kill has cut short is gone on with.

    Args:
        source: The samples. Those of tasks whose answers are no annotations are counted.
        out: Folder of the data set. Images that are in no file are written below it.
        annotator: The name that the provenance of each annotation says.
        name: Of the source, for the manifest; empty: its digest.
        form: Of the shards.
        shard_records: Records of a shard.
        on_progress: Called with the number of images that are done, and of all.

    Returns:
        How many images, texts, regions and triplets there are, and what was left out, by the
        reason.

    Raises:
        ConfigurationError: The folder holds another data set.
        InvalidFieldError: No sample of the source can be used.
    """
    images = LabelledImages(source)
    if not len(images):
        problem = f"no sample can be used; the first: {images.first_broken or 'there is none'}"
        raise InvalidFieldError(field="source", problem=problem)
    root = out if images.rendered else images.folder() or out
    step = {"step": "import", "annotator": annotator, "source": name or source.digest}
    if name:
        step["digest"] = source.digest
    manifest = Manifest(
        format=form,
        shard_records=shard_records,
        images=relative(root, out),
        steps=(step,),
    )
    counts = Counter({f"left out: {reason}": count for reason, count in images.left_out.items()})
    with DatasetWriter(out, manifest) as writer:
        begun_at = writer.next_position
        for position, image in enumerate(images):
            record = _record(image, position, (out, root), annotator, counts)
            if position >= begun_at:
                writer.write(record)
            on_progress(position + 1, len(images))
        writer.close(step_counts=dict(counts))
    return counts


def _record(
    image: LabelledImage,
    position: int,
    folders: tuple[Path, Path],
    annotator: str,
    counts: Counter[str],
) -> ImageRecord:
    out, root = folders
    annotations = Annotations()
    for sample in image.samples:
        task = sample.spec.task
        if task not in ANNOTATING:
            counts[f"left out: {task} is no annotation"] += 1
            continue
        annotations.add(sample.spec, sample.answer, Provenance(annotator=annotator, task=str(task)))
    for reason, count in annotations.left_out.items():
        counts[f"left out: {reason}"] += count
    path = image.file or _saved(image, out)
    size = image.samples[0].size
    parts = annotations.parts()
    counts["images"] += 1
    counts.update({name: len(found) for name, found in parts.items()})
    return ImageRecord(
        image_id=_shown(image, root),
        file=relative(path, root),
        width_px=size.width_px,
        height_px=size.height_px,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        position=position,
        **parts,
    )


def _shown(image: LabelledImage, root: Path) -> str:
    return relative(image.file, root) if image.file is not None else image.image_id


def _saved(image: LabelledImage, out: Path) -> Path:
    """Write a rendered image once; what a kill has half-written is written again."""
    path = stored_path(out, image.image_id, "png")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp")
        image.samples[0].open_image().save(unfinished, "PNG")
        unfinished.rename(path)
    return path


def stored_path(out: Path, image_id: str, suffix: str) -> Path:
    """Return where a data set keeps an image that is in no file of its own."""
    # Ids that differ in what no file name may hold are different files.
    digest = hashlib.sha256(image_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    name = _NO_NAME.sub("-", image_id)[-_NAME_CHARS_MAX:]
    return out / IMAGES / f"{name}-{digest}.{suffix}"
