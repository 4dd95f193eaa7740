"""Generate the Python modules of ``protos/`` into ``services/``, or check that they are up to date.

The proto package, the directory and the Python import path are the same, so the generated imports
work as they are.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
SERVICES = ROOT / "services"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on a difference")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
        stale = [path for path in fresh if differs(Path(folder) / path, SERVICES / path)]
        orphans = sorted(committed() - set(fresh))
        if arguments.check:
            for path in stale + orphans:
                sys.stderr.write(f"services/{path}: does not match protos/; run `make protos`\n")
            return 1 if stale or orphans else 0
        for path in stale:
            (SERVICES / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path(folder) / path, SERVICES / path)
        for path in orphans:
            (SERVICES / path).unlink()
    return 0


def generate(folder: Path) -> list[Path]:
    """Write all modules below ``folder`` and return their relative paths."""
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    scripts = Path(sys.executable).parent  # where pip put the mypy plugins
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{PROTOS}",
        f"--python_out={folder}",
        f"--grpc_python_out={folder}",
        f"--mypy_out={folder}",
        f"--mypy_grpc_out={folder}",
        f"--plugin=protoc-gen-mypy={scripts / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={scripts / 'protoc-gen-mypy_grpc'}",
        *sources,
    ]
    subprocess.run(command, check=True)
    for path in folder.rglob("*_pb2_grpc.py*"):
        # protoc writes a service module for every file; those without a service are noise.
        if (
            not (PROTOS / path.relative_to(folder))
            .parent.joinpath(path.name.split("_pb2")[0] + ".proto")
            .read_text()
            .count("\nservice ")
        ):
            path.unlink()
    for package in {path.parent for path in folder.rglob("*_pb2.py")}:
        (package / "__init__.py").write_text(
            f'"""Generated from protos/{package.relative_to(folder)}; never edited."""\n'
        )
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def committed() -> set[Path]:
    """Return the generated modules that the tree holds, as relative paths."""
    return {
        path.relative_to(SERVICES)
        for path in SERVICES.rglob("*_pb2*.py*")
        if "__pycache__" not in path.parts
    }


def differs(fresh: Path, kept: Path) -> bool:
    """Say whether the kept file is missing or has other content."""
    return not kept.exists() or not filecmp.cmp(fresh, kept, shallow=False)


if __name__ == "__main__":
    sys.exit(main())
