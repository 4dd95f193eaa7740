"""Python on the pages is Python: it compiles, and what it imports and calls by name is there."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import arno
import pytest
from arno.client import Client, InferResult
from arno.vocabulary import Task

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
SNIPPET = re.compile(r"```python\n(.*?)```", re.S)
# Objects that pages use under one name, and what they are.
KNOWN = {"client": Client, "result": InferResult, "arno": arno}


def snippets() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for snippet in SNIPPET.findall(page.read_text()):
            yield page.name, snippet


@pytest.mark.parametrize(("page", "snippet"), [*snippets()], ids=lambda value: value[:24])
def test_snippet_compiles_and_names_what_is_there(page, snippet):
    tree = ast.parse(snippet)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("arno"):
            module = importlib.import_module(node.module)
            missing = [name.name for name in node.names if not hasattr(module, name.name)]
            assert missing == [], f"{page}: {node.module}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            # The page of HTTP calls the client of another package by the same name.
            owner = None if "openai" in snippet else KNOWN.get(node.value.id)
            fields = getattr(owner, "__dataclass_fields__", {})
            assert owner is None or hasattr(owner, node.attr) or node.attr in fields, page


def test_gallery_shows_every_task():
    page = (ROOT / "docs" / "gallery.md").read_text()
    assert re.findall(r"^## (\w+)$", page, re.M) == list(Task)
