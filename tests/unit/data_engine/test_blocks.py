"""Parts of data sets worked on by several processes: the same bytes, and no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
from arno.data_engine.blocks import Workers
from arno.data_engine.exports import export
from arno.data_engine.filtering import filter_dataset
from arno.dataset.filters.settings import FilterSettings
from arno.errors import InvalidFieldError
from support.eventually import eventually
from support.worked_parts import break_a_record, differing, make, write_sources

NAMES_ITSELF = """
import contextlib, os
from arno.data_engine.blocks import Workers, over_items

class Work:
    @contextlib.contextmanager
    def open(self):
        yield lambda item: os.getpid()

if __name__ == "__main__":
    for pid in over_items(Work(), range(100), Workers(processes=2)):
        print(pid, flush=True)
        input()
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def by_one_process(tmp_path_factory, sources):
    made = make(tmp_path_factory.mktemp("alone") / "x", sources, Workers())
    assert {"merged/dataset.json", "kept/part-000000.jsonl", "samples/samples.jsonl"} <= set(made)
    assert b"sliver" in made["merged/part-000000.jsonl"]
    assert b"sliver" not in made["kept/part-000000.jsonl"]
    return made


def test_two_processes_write_the_bytes_of_one(tmp_path, sources, by_one_process):
    made = make(tmp_path / "x", sources, Workers(processes=2))
    assert differing(made, by_one_process) == []


def test_error_in_a_process_is_that_of_the_record(tmp_path):
    settings = FilterSettings(text_rules=False, processes=2)
    with pytest.raises(InvalidFieldError, match=r"part-000000\.jsonl:700.*image_id"):
        filter_dataset(break_a_record(tmp_path), tmp_path / "kept", settings)


def test_format_of_one_document_is_not_made_by_several(tmp_path, sources):
    with pytest.raises(InvalidFieldError, match="--as: one process writes its documents"):
        export(sources[0], tmp_path, "coco", Workers(processes=2))
    assert list(tmp_path.iterdir()) == []


def test_processes_end_with_the_one_that_asked_however_it_ends(tmp_path):
    script = tmp_path / "asks.py"
    script.write_text(NAMES_ITSELF)
    asking = subprocess.Popen(
        [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        worker = psutil.Process(int(asking.stdout.readline()))
    finally:
        os.kill(asking.pid, signal.SIGKILL)
        asking.communicate()
    eventually(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
