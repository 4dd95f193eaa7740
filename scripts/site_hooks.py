"""Hooks of mkdocs: links to files of the repository that are on no page of the site.

The pages are read in the repository as well, where such links lead to the file. On the site their
text stays, with the path behind it.
"""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+)([^)#\s]+)[^)\s]*\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that lead out of docs/ by their text and the path in the repository."""
    depth = page.file.src_uri.count("/")

    def replaced(found: re.Match[str]) -> str:
        if found[2].count("../") <= depth:
            return found[0]
        name = f"`{found[3]}`"
        return name if found[1].strip("`").endswith(found[3]) else f"{found[1]} ({name})"

    return _OUTSIDE.sub(replaced, markdown)
