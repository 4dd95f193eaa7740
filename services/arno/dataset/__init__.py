"""Annotated images: one schema for texts, region-text pairs and text-phrase-region triplets.

Defines how a data set looks (`records`) and is kept (`folder`, `shards`), and how answers of tasks
become annotations and back (`answers`). Uses no model, no process and no trainer. docs/dataset.md
describes the format.
"""

from arno.dataset.folder import Dataset, DatasetWriter, Manifest
from arno.dataset.records import (
    Granularity,
    ImageRecord,
    Place,
    Provenance,
    RegionKind,
    RegionText,
    Text,
    Triplet,
)

__all__ = [
    "Dataset",
    "DatasetWriter",
    "Granularity",
    "ImageRecord",
    "Manifest",
    "Place",
    "Provenance",
    "RegionKind",
    "RegionText",
    "Text",
    "Triplet",
]
