"""What docs/security.md promises has the proof that it names, and the settings that it names."""

from __future__ import annotations

import re
from pathlib import Path

from arno.cli.servers import KNOWN_SETTINGS
from arno.gateway.access.key_file import KeyFile

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text()


def rows() -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in PAGE.splitlines()
        if line.startswith("|") and not line.startswith("| ---")
    ]


def test_proof_of_every_threat_is_there():
    start = [row[0] for row in rows()].index("threat") + 1
    threats = rows()[start:]
    assert len(threats) >= 15
    for threat, _, proof in threats:
        paths = re.findall(r"`((?:tests|services|scripts)/[^`]+)`", proof)
        assert paths or "the same two" in proof, threat
        assert [path for path in paths if not (ROOT / path).exists()] == [], threat


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
