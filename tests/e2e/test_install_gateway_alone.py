"""A gateway installs and starts without torch: proven in a clean environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.availability import require

ROOT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
LOOK = """
import importlib.util, json, sys
import arno.gateway.main, arno.cli.main, arno.client
HEAVY = ("torch", "transformers", "av", "numpy")
print(json.dumps({
    "installed": [name for name in HEAVY if importlib.util.find_spec(name)],
    "loaded": [name for name in HEAVY if name in sys.modules],
}))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A copy of what a release holds, so that building leaves nothing in the tree."""
    copy = tmp_path / "source"
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        copy.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, copy / name)
    shutil.copytree(ROOT / "services", copy / "services", ignore=shutil.ignore_patterns("__py*"))
    return copy


def test_the_gateway_extra_alone_brings_no_torch(source: Path, tmp_path: Path) -> None:
    require(UV.exists(), "needs uv, which `make install` puts into .venv")
    environment = tmp_path / "environment"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [
            *(UV, "pip", "install", "--quiet", "--python", python),
            *("--constraints", source / "constraints.txt", f"{source}[gateway]"),
        ],
        check=True,
    )
    looked = subprocess.run([python, "-c", LOOK], check=True, capture_output=True, text=True)
    assert json.loads(looked.stdout) == {"installed": [], "loaded": []}
    helped = subprocess.run(
        [environment / "bin" / "arno", "gateway", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "--image-bytes-max" in helped.stdout
    refused = subprocess.run(
        [environment / "bin" / "arno", "worker"], check=False, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "arno[worker]" in refused.stderr
