"""Fail on files and functions that have outgrown one concept, and on files too small for one.

A small file with a single importer belongs into that importer, unless its docstring or a comment
has a sentence "Stands alone: ..." with the reason. ``__init__`` and ``__main__`` are not judged.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from sources import ROOT, small_files_of_one_importer, written_files

FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70
SMALL_LINES_MAX = 60
REASON = re.compile(r"\bStands alone: \w")


def main() -> int:
    """Run the command line."""
    problems = [problem for path in written_files() for problem in too_long(path)]
    problems += too_small()
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def too_long(path: Path) -> list[str]:
    """Return what is too long in a file."""
    text = path.read_text(encoding="utf-8")
    where = path.relative_to(ROOT)
    length = text.count("\n")
    problems = [f"{where}: {length} lines; allowed: {FILE_LINES_MAX}"] * (length > FILE_LINES_MAX)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION_LINES_MAX:
                problems.append(
                    f"{where}:{node.lineno}: {node.name} has {lines} lines; "
                    f"allowed: {FUNCTION_LINES_MAX}"
                )
    return problems


def too_small() -> list[str]:
    """Return the small files with a single importer that give no reason to stand alone."""
    return [
        f"{path.relative_to(ROOT)}: below {SMALL_LINES_MAX} lines and imported only by "
        f'{importer.relative_to(ROOT)}; fold it in, or say why: "Stands alone: ..."'
        for path, importer in small_files_of_one_importer(SMALL_LINES_MAX).items()
        if not REASON.search(path.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    sys.exit(main())
