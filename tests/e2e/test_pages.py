"""What the pages tell a user to run is run, in front of a real gateway and a real model.

Pages with snippets of their own tests: docs/http.md in test_web.py; those that load the model in
their own process in tests/integration/engine/test_snippets.py.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import arno
import numpy as np
import pytest
from support.arno_up import ArnoUp
from support.availability import require
from support.videos import write_video

pytestmark = [pytest.mark.redis, pytest.mark.model]

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "examples" / "images" / "wide.jpg"
PYTHON = ["README.md", "docs/index.md", "docs/python.md", "docs/cascades.md", "docs/batch.md"]
# Not to be run in a test: installs, servers that stay, trainings, what tests of their own show.
_VERBS = "up|train|eval|doctor|gateway|keys|web|mcp|notify|ingest"
LEFT_OUT = re.compile(rf"^(make |pip |arno ({_VERBS})\b|.*\.example\b)")


def fenced(page: str, *languages: str) -> list[str]:
    text = (ROOT / page).read_text()
    return re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", text, re.S)


def python_snippets() -> list[tuple[str, str]]:
    return [
        (page, snippet)
        for page in PYTHON
        for snippet in fenced(page, "python")
        if "arno.load(" not in snippet and "ask_many" not in snippet
    ]


def shell_lines(page: str) -> list[str]:
    """The commands of a page, fenced or indented, that can be run in a test."""
    text = (ROOT / page).read_text()
    fences = "\n".join(fenced(page, "sh", "bash"))
    outside = re.sub(r"```.*?```", "", text, flags=re.S)
    indented = re.findall(r"^    ((?:arno|id=|curl|grpcurl) ?.*)$", outside, re.M)
    return [line for line in [*fences.splitlines(), *indented] if line and not LEFT_OUT.match(line)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: a photo, some photos, a video, and the examples of the repository."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("photo.jpg", "photos/one.jpg", "photos/two.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(IMAGE, folder / name)
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "docs").symlink_to(ROOT / "docs")
    write_video(folder / "street.mp4", duration_s=1, rate=4)
    return folder


@pytest.mark.parametrize(
    ("page", "snippet"), python_snippets(), ids=lambda text: text.strip().splitlines()[-1][:40]
)
def test_python_of_a_page_runs(web_up: ArnoUp, place: Path, monkeypatch, page, snippet):
    monkeypatch.chdir(place)
    address = web_up.address
    with arno.Client(address) as client:
        known = {
            "arno": arno,
            "client": client,
            "result": client.infer("photo.jpg", "OD"),
            "camera": [np.zeros((64, 64, 3), np.uint8)] * 2,
        }
        if "read_records" in snippet:
            answered(place, address)
        code = compile(snippet.replace("127.0.0.1:50051", address), page, "exec")
        exec(code, known)  # noqa: S102 - the page's own


def answered(place: Path, address: str) -> None:
    """Make the folder of answers that a snippet reads."""
    words = ["batch", "photos", "--task", "OD", "--out", "seen", "--address", address]
    subprocess.run(
        [sys.executable, "-m", "arno.cli", *words], cwd=place, check=True, capture_output=True
    )


@pytest.mark.parametrize(
    "page", ["README.md", "docs/index.md", "docs/cascades.md", "docs/batch.md", "docs/api.md"]
)
def test_shell_of_a_page_runs(web_up: ArnoUp, place: Path, tmp_path: Path, page: str) -> None:
    for name in ("photo.jpg", "photos", "street.mp4", "examples", "docs"):
        (tmp_path / name).symlink_to(place / name)
    lines = shell_lines(page)
    assert lines
    tools = [ROOT / ".tools" / "bin", Path(sys.executable).parent]
    if "grpcurl" in "".join(lines):
        require((tools[0] / "grpcurl").exists(), "grpcurl (make tools)")
    require(shutil.which("curl"), "curl")
    script = "\n".join(lines)
    for there, here in (
        ("http://127.0.0.1:8080", web_up.web),
        ("127.0.0.1:50051", web_up.address),
        ("localhost:50051", web_up.address),
    ):
        script = script.replace(there, here)
    # The page writes JOB for the id that SubmitJob answered.
    script = re.sub(
        r"(grpcurl [^\n]*SubmitJob <<EOF\n.*?\nEOF)",
        r"""JOB=$(\1\n)\nJOB=$(sed -n 's/^ *"id": "\\([^"]*\\)",*$/\\1/p' <<<"$JOB" | head -1)""",
        script,
        flags=re.S,
    )
    script = re.sub(r"""-d '\{"job_id": "JOB"\}'""", r'''-d "{\"job_id\": \"$JOB\"}"''', script)
    environment = {
        **os.environ,
        "ARNO_ADDRESS": web_up.address,
        "PATH": os.pathsep.join([*map(str, tools), os.environ["PATH"]]),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, (
        f"{shlex.join(lines)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    )
