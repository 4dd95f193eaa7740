"""Print figures of the code's structure: how many files, how long, how much of it is glue.

Each figure is of the whole package, and of its core: what a job passes on its way from the client
to the model and back, without the programs around it. Everything is read from syntax trees;
generated code is left out. ``--infer`` also runs a gateway
and a worker (null engine, Redis bus) and counts the files of Arno that one ``Infer`` enters.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from sources import ROOT, line_count, small_files_of_one_importer, written_files

SMALL_LINES_MAX: Final = 60
PACKAGE: Final = "services"
BESIDE: Final = ("benchmarks", "models")
TRAINING: Final = "services/arno/training"
WORKER: Final = "services/arno/worker"
WINGS: Final = ("bulk", "data_engine", "dataset", "ingest", "notify", "web")
"""Folders of the package outside the core: sources, sinks and forms of jobs."""
_ENUM_BASES: Final = frozenset({"Enum", "StrEnum", "IntEnum", "Flag", "IntFlag"})
_CONVERSION: Final = re.compile(r"_?(\w+_(?:to|from)_wire)")
_JOB_CLASS: Final = re.compile(r"_?(?:[A-Z][a-z]+)*Job(?:Claim|Snapshot|Record|Run|Message)?")
_START_TIMEOUT_S: Final = 60.0
_ROLES: Final = ("gateway", "worker")

# Every Python process below imports this before its program. It profiles gateway and worker.
_TRACER: Final = """
import json, os, pathlib, signal, sys, threading
role = next((name for name in ("gateway", "worker") if name in sys.orig_argv), None)
if role:
    folder = pathlib.Path(os.environ["TRACE_FOLDER"])
    entered = set()

    def note(frame, event, argument):
        if event == "call" and frame.f_code.co_name != "<module>":
            entered.add(frame.f_code.co_filename)

    def write(*_):
        partial = folder / f"{role}.partial"
        partial.write_text(json.dumps(sorted(entered.copy())))
        partial.rename(folder / f"{role}.json")

    signal.signal(signal.SIGUSR1, lambda *_: entered.clear())
    signal.signal(signal.SIGUSR2, write)
    (folder / f"{role}.pid").write_text(str(os.getpid()))
    threading.setprofile(note)
    sys.setprofile(note)
"""


def main() -> int:
    """Run the command line."""
    trees = {path: _tree(path) for path in written_files((PACKAGE,))}
    core = {path: trees[path] for path in core_of(trees)}
    _print_row("", "package", "core")
    for (name, figure), (_, of_core) in zip(figures(trees), figures(core), strict=True):
        _print_row(name, figure, of_core)
    beside = [line_count(path) for path in written_files(BESIDE)]
    _print_row("benchmarks and recipes of models: files, lines", f"{len(beside)}, {sum(beside)}")
    worker = {path: tree for path, tree in trees.items() if _below(path, WORKER)}
    _print_row("glue of the worker", _glue_share(worker))
    if "--infer" in sys.argv:
        entered = files_of_one_infer()
        _print_row("files that one Infer enters", str(len(entered)))
        sys.stdout.writelines(f"  {name}\n" for name in sorted(entered))
    return 0


def core_of(paths: Iterable[Path]) -> list[Path]:
    """Return the files of the package that are not in one of its wings."""
    wings = [ROOT / PACKAGE / "arno" / wing for wing in WINGS]
    return [path for path in paths if not any(map(path.is_relative_to, wings))]


def figures(trees: dict[Path, ast.Module]) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each figure of the files with these syntax trees."""
    lines = {path: line_count(path) for path in trees}
    rest = [count for path, count in lines.items() if not _below(path, TRAINING)]
    small = small_files_of_one_importer(SMALL_LINES_MAX).keys() & trees.keys()
    lengths = sorted(length for tree in trees.values() for length in function_lengths(tree))
    yield "files, lines", f"{len(lines)}, {sum(lines.values())}"
    yield "without training: files, lines", f"{len(rest)}, {sum(rest)}"
    yield "median file, in lines", f"{statistics.median(lines.values()):.0f}"
    yield f"files below {SMALL_LINES_MAX} lines with a single importer", str(len(small))
    middle, high = lengths[len(lengths) // 2], lengths[len(lengths) * 9 // 10]
    yield "functions: median, 90th percentile, longest", f"{middle}, {high}, {lengths[-1]}"
    yield "glue (imports, constructors, dataclass bodies)", _glue_share(trees)
    yield "enums defined more than once", _listed(defined_twice(trees, enum_names))
    yield "conversions defined more than once", _listed(defined_twice(trees, conversion_names))
    yield "classes that are a job", str(len(job_classes(trees.values())))


def function_lengths(tree: ast.Module) -> Iterator[int]:
    """Yield the number of lines of each function and method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield _length(node)


def glue_lines(tree: ast.Module) -> int:
    """Return the number of lines of imports, constructors and dataclass bodies without methods."""
    glue: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) or (
            isinstance(node, ast.FunctionDef) and node.name == "__init__"
        ):
            glue.update(_lines(node))
        elif isinstance(node, ast.ClassDef) and _is_dataclass(node):
            methods = (part for part in node.body if isinstance(part, ast.FunctionDef))
            glue.update(set(_lines(node)).difference(*map(_lines, methods)))
    return len(glue)


def enum_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names of the enums that a file defines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and _ENUM_BASES & {
            _last_name(base) for base in node.bases
        }:
            yield node.name


def conversion_names(tree: ast.Module) -> Iterator[str]:
    """Yield the names of a file's functions to and from the wire, without a leading underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found = _CONVERSION.fullmatch(node.name)
            if found:
                yield found[1]


def job_classes(trees: Iterable[ast.Module]) -> list[str]:
    """Return the names of classes that hold one job, in some stage of its life."""
    return sorted(
        node.name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and _JOB_CLASS.fullmatch(node.name)
    )


def defined_twice(
    trees: dict[Path, ast.Module], names: Callable[[ast.Module], Iterable[str]]
) -> list[str]:
    """Return the names that more than one definition has."""
    count: dict[str, int] = defaultdict(int)
    for tree in trees.values():
        for name in names(tree):
            count[name] += 1
    return sorted(name for name, times in count.items() if times > 1)


def files_of_one_infer() -> set[str]:
    """Return the files of Arno that gateway and worker enter while they answer one ``Infer``.

    Imports and start-up are over by then; what runs beside every call (renewals, metrics) counts.

    Raises:
        RuntimeError: The processes do not start or do not report in time.
    """
    with tempfile.TemporaryDirectory(prefix="arno-structure-") as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(_TRACER)
        environment = {**os.environ, "PYTHONPATH": name, "TRACE_FOLDER": name}
        command = [sys.executable, "-m", "arno.cli", "up", "--model", "null", "--port", "0"]
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(
                [*command, "--data", str(folder / "data")], env=environment, stdout=log, stderr=log
            ) as machine,
        ):
            try:
                return _trace_one_call(folder)
            finally:
                machine.terminate()


def _trace_one_call(folder: Path) -> set[str]:
    from arno.client import Client

    state = folder / "data" / "up.json"
    _await(state.exists, folder)
    address = json.loads(state.read_text())["address"]
    pids = [int((folder / f"{role}.pid").read_text()) for role in _ROLES]
    image = next((ROOT / "examples" / "images").glob("*.jpg"))
    with Client(address) as client:
        # The first calls import what is imported on demand.
        for _ in range(3):
            client.infer(image, "OD")
        for pid in pids:
            os.kill(pid, signal.SIGUSR1)
        time.sleep(0.1)
        client.infer(image, "OD")
        for pid in pids:
            os.kill(pid, signal.SIGUSR2)
    reports = [folder / f"{role}.json" for role in _ROLES]
    _await(lambda: all(report.exists() for report in reports), folder)
    entered = {name for report in reports for name in json.loads(report.read_text())}
    product = {str(path): str(path.relative_to(ROOT)) for path in written_files(("services",))}
    return {product[name] for name in entered if name in product}


def _await(condition: Callable[[], bool], folder: Path) -> None:
    deadline_s = time.monotonic() + _START_TIMEOUT_S
    while not condition():
        if time.monotonic() > deadline_s:
            log = (folder / "log").read_text(errors="replace")
            raise RuntimeError(f"no answer of gateway or worker in {_START_TIMEOUT_S} s:\n{log}")
        time.sleep(0.05)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _below(path: Path, folder: str) -> bool:
    return path.is_relative_to(ROOT / folder)


def _glue_share(trees: dict[Path, ast.Module]) -> str:
    glue = sum(map(glue_lines, trees.values()))
    return f"{100 * glue / sum(map(line_count, trees)):.0f} %"


def _print_row(name: str, *values: str) -> None:
    sys.stdout.write(f"{name:<50}" + "".join(f"{value:>14}" for value in values) + "\n")


def _listed(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names)})" if names else "0"


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(_last_name(decorator) == "dataclass" for decorator in node.decorator_list)


def _last_name(node: ast.expr) -> str:
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _lines(node: ast.stmt) -> range:
    first = min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])
    return range(first, (node.end_lineno or node.lineno) + 1)


def _length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


if __name__ == "__main__":
    sys.exit(main())
