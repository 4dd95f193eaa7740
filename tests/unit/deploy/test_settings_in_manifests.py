"""Every ARNO_* variable in an image, in compose and in a manifest is a setting of that process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from arno.cli.servers import KNOWN_SETTINGS
from arno.ops.config import variable_name

ROOT = Path(__file__).resolve().parents[3]
FILES = [
    ROOT / "docker-compose.yml",
    *sorted((ROOT / "deploy/docker").glob("*.Dockerfile")),
    *sorted((ROOT / "k8s").rglob("*.yaml")),
    *sorted((ROOT / "k8s").rglob("*.env")),
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_variable_is_a_known_setting(path: Path) -> None:
    known = {variable_name(name) for name in KNOWN_SETTINGS}
    used = set(re.findall(r"\bARNO_[A-Z0-9_]+", path.read_text()))
    assert used <= known
