"""One HTML file with its pictures inside: what reports are written with. Nothing is fetched."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from arno.client.drawing import draw_regions
from arno.vocabulary import Region

_SIDE_PX_MAX: Final = 480
_JPEG_QUALITY: Final = 80
_STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .3rem; }
p.figures, footer, .id { color: #777; margin: 0; } .id { font-size: .8rem; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(22rem, 1fr)); gap: 1.2rem;
  align-items: start; margin-top: .8rem; }
article { border: 1px solid #8884; border-radius: 8px; padding: .8rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
figure { margin: 0; } figcaption { font-size: .8rem; color: #777; }
img { width: 100%; border-radius: 4px; } dl { margin: .6rem 0 0; }
dt { font-size: .8rem; color: #777; } dd { margin: 0 0 .3rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin-top: .8rem; } td, th { padding: .15rem .9rem .15rem 0; }
td:not(:first-child), th:not(:first-child) { text-align: right; } th { text-align: left; }
"""


def write_page(path: Path, title: str, body: str) -> None:
    """Write a page; text in the body must be escaped already."""
    shown = html.escape(title)
    path.write_text(
        "<!doctype html>\n<html lang='en'><meta charset='utf-8'>"
        f"<meta name='viewport' content='width=device-width'><title>{shown}</title>"
        f"<style>{_STYLE}</style>\n<h1>{shown}</h1>\n{body}</html>\n",
        encoding="utf-8",
        errors="backslashreplace",
    )


def figure(image: Image.Image, regions: Sequence[Region], name: str) -> str:
    """Return a picture with regions on it, and what it is called below."""
    drawn = draw_regions(image, [region for region in regions if region.shape])
    drawn.thumbnail((_SIDE_PX_MAX, _SIDE_PX_MAX))
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=_JPEG_QUALITY)
    content = base64.b64encode(file.getvalue()).decode()
    shown = html.escape(name, quote=True)
    return (
        f"<figure><img alt='{shown}' src='data:image/jpeg;base64,{content}'>"
        f"<figcaption>{shown}</figcaption></figure>"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of texts, its first column to the left and the others to the right."""
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    lines = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>\n" for row in rows
    )
    return f"<table><tr>{top}</tr>\n{lines}</table>\n"
