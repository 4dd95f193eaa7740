"""What docs/security.md promises has the proof that it names, and the settings that it names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from arno.cli.servers import KNOWN_SETTINGS
from arno.gateway.access.key_file import KeyFile

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text()


def rows(text: str = PAGE) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("|") and not line.startswith("| ---")
    ]


def test_every_threat_names_tests_that_are_there():
    _, _, after = PAGE.partition("| threat |")
    threats = rows(after.partition("\n\n")[0])
    assert len(threats) >= 24
    for threat, _, proof in threats:
        named = re.findall(r"`(tests/[^`]+)::(test_\w+)`", proof)
        assert named, threat
        for path, name in named:
            tree = ast.parse((ROOT / path).read_text())
            functions = (ast.FunctionDef, ast.AsyncFunctionDef)
            found = {node.name for node in tree.body if isinstance(node, functions)}
            assert name in found, f"{threat}: {path} has no {name}"


def test_every_dependency_is_pinned():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert len(wanted) > 50
    assert [line for line in wanted if "==" not in line] == []


def test_settings_on_the_page_exist():
    names = {
        name
        for row in rows()
        for name in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", row[0])
        if name.startswith(("tls_", "kafka_", "redis_"))
    }
    assert len(names) > 12
    assert names <= KNOWN_SETTINGS


def test_example_of_the_keys_file_is_one():
    example = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert example is not None
    assert KeyFile.model_validate_json(example[1]).keys[0].tenant == "acme"
