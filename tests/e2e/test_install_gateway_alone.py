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


IMAGE_BYTES_MAX = 200e6
BASE_IMAGE_BYTES = 125e6
"""python:3.11-slim, unpacked."""


def size_in_image_bytes(packages: Path, scratch: Path) -> int:
    """Return what the gateway's Dockerfile keeps of the packages: no bytecode, no bundled model."""
    total = 0
    for path in packages.rglob("*"):
        if not path.is_file() or "__pycache__" in path.parts or "tiny" in path.parts:
            continue
        size_bytes = path.stat().st_size
        if ".so" in path.name:
            # Into another file: these are links to files of the installer's cache.
            command = ["strip", "--strip-unneeded", "-o", scratch, path]
            subprocess.run(command, check=True, capture_output=True)
            size_bytes = scratch.stat().st_size
        total += size_bytes
    return total


def test_the_gateway_extra_alone_brings_no_torch_and_fits_its_image(
    source: Path, tmp_path: Path
) -> None:
    require(UV.exists(), "needs uv, which `make install` puts into .venv")
    environment = tmp_path / "environment"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [
            *(UV, "pip", "install", "--quiet", "--python", python),
            *("--constraints", source / "constraints.txt", f"{source}[gateway,traces]"),
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
    packages = next((environment / "lib").glob("python*/site-packages"))
    if shutil.which("strip"):
        size_bytes = size_in_image_bytes(packages, tmp_path / "stripped")
        assert size_bytes + BASE_IMAGE_BYTES < IMAGE_BYTES_MAX
