"""What the formats share: files of JSON, and the names of the categories.

Stands alone: all formats import it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from arno.dataset import Dataset, RegionKind


def category_names(dataset: Dataset) -> list[str]:
    """Return the labels of all category regions, sorted."""
    names = {
        one.text for record in dataset for one in record.regions if one.kind is RegionKind.CATEGORY
    }
    return sorted(names)


def write_json(path: Path, document: Any) -> None:
    """Write a document as one line."""
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
