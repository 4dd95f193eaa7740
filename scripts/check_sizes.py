"""Fail on files and functions that have outgrown one concept."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70


def main() -> int:
    """Run the command line."""
    faults = [fault for path in sorted(sources()) for fault in faults_of(path)]
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def sources() -> list[Path]:
    """Return the Python files that people write."""
    folders = ("services", "models", "tests", "scripts", "benchmarks", "examples")
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [path for path in found if "_pb2" not in path.name]


def faults_of(path: Path) -> list[str]:
    """Return what is too long in a file."""
    text = path.read_text(encoding="utf-8")
    where = path.relative_to(ROOT)
    length = text.count("\n")
    faults = [f"{where}: {length} lines; allowed: {FILE_LINES_MAX}"] * (length > FILE_LINES_MAX)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                faults.append(
                    f"{where}:{node.lineno}: {node.name} has {lines} lines; "
                    f"allowed: {FUNCTION_LINES_MAX}"
                )
    return faults


if __name__ == "__main__":
    sys.exit(main())
