"""A soft limit of open files is raised as far as the hard one allows."""

from __future__ import annotations

import subprocess
import sys


def test_soft_limit_is_raised_to_what_is_wanted_or_to_the_hard_one_and_never_lowered():
    # In a process of its own: a hard limit that was lowered stays so.
    code = """
import resource
from arno.ops.open_files import raise_open_files_max
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 500))
for wanted_count in (300, 1000, 10):
    found = raise_open_files_max(wanted_count)
    print(found, resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["300 (300, 500)", "500 (500, 500)", "500 (500, 500)"]
