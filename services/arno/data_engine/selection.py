"""Make data sets of some images of another: without near-duplicates, a sample, splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from arno.data_engine.annotators.annotator import LIMITS
from arno.dataset import Dataset, DatasetWriter, ImageRecord
from arno.dataset.near import near_groups
from arno.errors import ArnoError, InvalidFieldError
from arno.images.decode import decode_image

_HASH_SIDE: Final = 8
_SHARE_SCALE: Final = 1 << 64
Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    pass


def select(
    source: Dataset,
    out: Path,
    step: Mapping[str, Any],
    keep: Callable[[int, ImageRecord], bool],
) -> int:
    """Write the records that are kept, as they are, and return how many.

    Raises:
        ConfigurationError: The folder holds another data set.
    """
    manifest = source.manifest.model_copy(
        update={
            "complete": False,
            "images": source.images_from(out),
            "steps": (*source.manifest.steps, {**step, "source": source.digest}),
        }
    )
    with DatasetWriter(out, manifest) as writer:
        begun_at = writer.next_position
        for number, record in enumerate(source):
            if keep(number, record) and record.position >= begun_at:
                writer.write(record)
        return writer.record_count


def sample(source: Dataset, out: Path, *, count: int, seed: int) -> int:
    """Write `count` images, chosen by their ids and a seed: the same of any order of images."""
    ranks = [(_share(record, f"sample {seed}"), at) for at, record in enumerate(source)]
    chosen = {at for _, at in sorted(ranks)[:count]}
    step = {"step": "sample", "count": count, "seed": seed}
    return select(source, out, step, lambda number, record: number in chosen)


def split(source: Dataset, out: Path, *, parts: Mapping[str, float], seed: int) -> dict[str, int]:
    """Write a data set for each part below `out`, and return how many images each has.

    The content of an image decides its part, so copies of a file never stand in two, and images
    that are added later move no others.

    Args:
        source: What is divided.
        out: A folder for each part is made in it.
        parts: The share of each by its name; together 1.
        seed: For another division.

    Raises:
        InvalidFieldError: The shares are not those of a whole.
    """
    if abs(sum(parts.values()) - 1) > 1e-9 or min(parts.values()) <= 0:
        sent = ", ".join(f"{name}={share:g}" for name, share in parts.items())
        problem = "shares must be above 0 and together 1"
        raise InvalidFieldError(field="parts", problem=problem, sent=sent)
    names = list(parts)
    ends = np.cumsum(list(parts.values()))[:-1]
    counts = {}
    for number, name in enumerate(names):

        def belongs(_at: int, record: ImageRecord, number: int = number) -> bool:
            return int(np.searchsorted(ends, _share(record, f"split {seed}"), "right")) == number

        step = {"step": "split", "parts": dict(parts), "part": name, "seed": seed}
        counts[name] = select(source, out / name, step, belongs)
    return counts


def dedup(
    source: Dataset,
    out: Path,
    *,
    distance_max: int,
    against: Dataset | None = None,
    on_progress: Progress = _silent,
) -> Counter[str]:
    """Write the images that are no near-duplicate of an earlier one, or of any of another data set.

    Args:
        source: What is cleaned.
        out: Folder of the data set.
        distance_max: Bits of 64 in which the perceptual hashes of duplicates may differ.
        against: Images that must not be in it, such as those of a test set.
        on_progress: Called with the number of images that are hashed, and of all.

    Returns:
        How many images are kept, are duplicates, leak from `against`, and cannot be read: those are
        kept, because nothing is known of them.
    """
    others = [] if against is None else [against]
    total = sum(map(len, (*others, source)))
    hashes: list[int] = []
    readable: list[int] = []  # numbers of all images that have a hash
    done = 0
    for dataset in (*others, source):
        for record in dataset:
            found = perceptual_hash(dataset.image_path(record))
            if found is not None:
                hashes.append(found)
                readable.append(done)
            done += 1
            on_progress(done, total)
    first_of_source = 0 if against is None else len(against)
    firsts = near_groups(np.array(hashes, dtype=np.uint64), distance_max)
    counts = Counter({"kept": 0, "duplicates": 0, "leaked": 0})
    counts["not readable"] = total - len(readable)
    dropped = set()
    for at, first in enumerate(firsts.tolist()):
        if readable[at] >= first_of_source and first != at:
            dropped.add(readable[at] - first_of_source)
            counts["leaked" if readable[first] < first_of_source else "duplicates"] += 1
    step: dict[str, Any] = {"step": "dedup", "distance_max": distance_max}
    if against is not None:
        step["against"] = against.digest
    counts["kept"] = select(source, out, step, lambda number, record: number not in dropped)
    return counts


def perceptual_hash(path: Path) -> int | None:
    """Return the 64 bits of an image's perceptual hash; None where it cannot be read."""
    import imagehash

    try:
        picture = decode_image(path.read_bytes(), LIMITS, field=str(path)).picture
    except (ArnoError, OSError):
        return None
    bits = imagehash.phash(picture, hash_size=_HASH_SIDE).hash
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")


def _share(record: ImageRecord, purpose: str) -> float:
    """Return a number from 0 to below 1 that the content of an image decides."""
    content = f"{purpose} {record.sha256 or record.image_id}"
    digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / _SHARE_SCALE
