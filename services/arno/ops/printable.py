"""Text of strangers, made safe to print: labels, messages and file names may hold anything.

An escape sequence in a label could clear a terminal, rename its window, or overwrite what stands
above; a change of direction could make a name look like another one.
"""

from __future__ import annotations

import re
from typing import Final

# C0 without tab and line feed, DEL, C1, and what changes the direction of text.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Return a text with every control character as JSON writes it, with its number."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
