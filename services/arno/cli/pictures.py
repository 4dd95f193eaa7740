"""Find pictures in folders, by name: the server judges their content."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
)


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures that lie directly in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
