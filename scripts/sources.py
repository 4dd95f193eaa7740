"""The Python files that people write, and which of them imports which.

Generated code is left out. `check_sizes.py` and `measure_structure.py` read the tree through this
module, so that both count the same files.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = ("services", "benchmarks", "models")
WRITTEN = (*PRODUCT, "tests", "scripts", "examples")

_GENERATED = "services/arno/client/sync.py"
_PACKAGE_FILES = frozenset({"__init__.py", "__main__.py"})


def written_files(folders: Sequence[str] = WRITTEN) -> list[Path]:
    """Return the Python files below folders of the repository, sorted; none of them generated."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if not generated(path))


def generated(path: Path) -> bool:
    """Return whether a file is written by a generator of this repository."""
    return "_pb2" in path.name or path == ROOT / _GENERATED or path.parent.name == "v1"


def line_count(path: Path) -> int:
    """Return the number of lines of a file."""
    return path.read_text(encoding="utf-8").count("\n")


def small_files_of_one_importer(lines_max: int) -> dict[Path, Path]:
    """Return files below a number of lines that one other file imports, with that file.

    Files of packages (`__init__`, `__main__`) are neither judged nor counted as importers: a name
    that a package exports counts for the files that import it from there.
    """
    importers = importers_of(PRODUCT)
    return {
        path: next(iter(found))
        for path, found in sorted(importers.items())
        if len(found) == 1 and path.name not in _PACKAGE_FILES and line_count(path) < lines_max
    }


def importers_of(folders: Sequence[str]) -> dict[Path, set[Path]]:
    """Return for each written file of the folders the files of them that import it."""
    paths = written_files(folders)
    modules = {module_name(path): path for path in paths}
    exports = {
        name: dict(imports(path, name))
        for name, path in modules.items()
        if path.name == "__init__.py"
    }
    importers: dict[Path, set[Path]] = defaultdict(set)
    # A generated file is not judged, but what it imports has one importer more.
    for path in [*paths, ROOT / _GENERATED]:
        if path.name == "__init__.py" or not path.exists():
            continue
        for _, source in imports(path, module_name(path)):
            target = modules.get(resolved(source, modules, exports))
            if target is not None and target != path:
                importers[target].add(path)
    return importers


def module_name(path: Path) -> str:
    """Return the dotted name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts[1:] if parts[0] == "services" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, module: str) -> Iterator[tuple[str, str]]:
    """Yield each import of a file as the bound name and the dotted name of what it stands for."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.asname or name.name, name.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for name in node.names:
                yield name.asname or name.name, f"{origin}.{name.name}"


def resolved(source: str, modules: dict[str, Path], exports: dict[str, dict[str, str]]) -> str:
    """Return the module that defines a dotted name, through the exports of packages."""
    while source not in modules:
        module, _, name = source.rpartition(".")
        if not module:
            return ""
        source = exports.get(module, {}).get(name, module)
    return source
