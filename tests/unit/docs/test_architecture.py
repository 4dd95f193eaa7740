"""The map, and the pages of the docs, name places that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = (
    *("protos", "services", "models", "benchmarks", "tests", "deploy", "k8s", "docs", "scripts"),
    *("examples", ".ci"),
)
# In backticks, with a slash or with an ending.
_PATH = re.compile(
    r"`([A-Za-z0-9_.-]+(?:/[A-Za-z0-9_.-]+)*(?:/|/[a-z0-9_]+|\.(?:py|proto|md|yml)))`"
)


def _places() -> set[str]:
    found = {f"/{path.relative_to(ROOT)}" for path in ROOT.iterdir()}
    for folder in FOLDERS:
        inside = (path for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts)
        found |= {f"/{folder}", *(f"/{path.relative_to(ROOT)}" for path in inside)}
    return found


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_on_the_page_exists(page: str) -> None:
    places = _places()
    named = {name.rstrip("/") for name in _PATH.findall((ROOT / page).read_text())}
    assert named
    assert _unknown(named, places) == set()


def test_every_module_that_a_page_of_the_docs_names_exists() -> None:
    named = {
        name
        for page in (ROOT / "docs").rglob("*.md")
        for name in _PATH.findall(page.read_text())
        if name.endswith(".py")
    }
    assert len(named) > 30
    assert _unknown(named, _places()) == set()


def _unknown(named: set[str], places: set[str]) -> set[str]:
    return {name for name in named if not any(place.endswith(f"/{name}") for place in places)}
