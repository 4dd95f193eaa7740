"""The snippets of the pages that load the bundled model are run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SNIPPET = re.compile(r"```python\n(.*?)```", re.S)

pytestmark = pytest.mark.model


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_snippet_that_loads_the_bundled_model_prints_regions(warm_arno, page):
    (snippet,) = (
        found for found in SNIPPET.findall((ROOT / page).read_text()) if "arno.load(" in found
    )
    assert len(snippet.strip().splitlines()) <= 6
    done = warm_arno.run_code(snippet, folder=ROOT)
    assert done.exit_code == 0, done.err
    lines = done.out.splitlines()
    assert lines
    assert all("Box(x0=" in line for line in lines)


def test_without_torch_the_extra_to_install_is_named():
    probe = (
        "import sys; sys.modules['torch'] = None\n"
        "import arno\n"
        "try: arno.load('tiny')\n"
        "except arno.ArnoError as error: print(error.reason, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], check=True, capture_output=True, text=True, timeout=100
    )
    assert done.stdout.startswith("MISSING_EXTRA")
    assert "arno[worker]" in done.stdout
