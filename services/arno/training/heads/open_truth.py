"""Open the data of heads by its name on the command line.

coco:instances.json,images=DIR
masks:DIR,images=DIR,labels=FILE
world:seed=7,n=200,world=tiny
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from arno.engine.heads.description import HeadKind
from arno.errors import InvalidFieldError
from arno.training.data.open_data import DataName
from arno.training.heads.coco_truth import CocoTruth
from arno.training.heads.mask_files import MaskFiles
from arno.training.heads.truth import TruthSource
from arno.training.heads.world_truth import WorldTruth
from arno.training.world import Split

_NAMES: Final = (
    "coco:FILE.json[,images=DIR], masks:DIR,images=DIR,labels=FILE, world:seed=N,n=COUNT"
)


def open_truth(kind: HeadKind, text: str, *, split: Split) -> TruthSource:
    """Return the images and the truth of a name.

    Args:
        kind: The kind of head.
        text: The value of `--data`.
        split: The world's seeds that may be used.

    Raises:
        InvalidFieldError: The name is invalid, or the data cannot be read, or it does not fit the
            kind of head. Broken images raise when they are read.
    """
    name, _, rest = text.partition(":")
    if name == "world":
        named = DataName.of(rest, ("seed", "n", "world"), has_subject=False)
        return WorldTruth(
            kind,
            seed=named.number("seed", 0, least=0),
            count=named.number("n", 200, least=1),
            split=split,
            world=named.world(),
        )
    if name == "coco":
        named = DataName.of(rest, ("images",), has_subject=True)
        path = Path(named.subject).expanduser()
        return CocoTruth(kind, path, Path(named.options.get("images", path.parent)).expanduser())
    if name == "masks":
        return _masks(kind, text, rest)
    raise InvalidFieldError(
        field="data", problem=f"not the name of data for a {kind} head", limit=_NAMES, sent=text
    )


def _masks(kind: HeadKind, text: str, rest: str) -> MaskFiles:
    if kind is not HeadKind.SEGMENTATION:
        raise InvalidFieldError(
            field=f"data {text!r}",
            problem=f"masks of categories know no objects, which a {kind} head needs",
            limit="coco:FILE.json, world:seed=N",
        )
    named = DataName.of(rest, ("images", "labels"), has_subject=True)
    for option in ("images", "labels"):
        if option not in named.options:
            raise InvalidFieldError(field=f"data {text!r}: {option}", problem="is needed")
    folders = (named.subject, named.options["images"], named.options["labels"])
    return MaskFiles(*(Path(folder).expanduser() for folder in folders))
