"""Where the files of the fonts are.

Stands alone: emoji and letters come from different packages and are drawn by different modules.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FONTS_VARIABLE: Final = "ARNO_WORLD_FONTS"
"""A folder with all font files, for a machine on which the packages are not installed."""
_INSTALLED: Final = Path("/usr/share/fonts/truetype")


def font_folder(package: str) -> Path:
    """Return the folder with the files of a package: "noto" or "dejavu"."""
    named = os.environ.get(FONTS_VARIABLE)
    return Path(named) if named else _INSTALLED / package
