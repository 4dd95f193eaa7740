"""Another release of Arno: a wheel of a commit of this repository, in a folder of its own."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click

_ROOT = Path(__file__).parents[2]
_UV = Path(sys.executable).parent / "uv"
# What a wheel is built from.
_SOURCES = ("services", "pyproject.toml", "README.md", "LICENSE")

BEFORE_THE_FIRST_TAG = "01549a24c21d6d9d52eb2bacae26a69e4374013e"
"""Stands in for the last release until there is a tag: the oldest state whose processes all of this
test's settings fit, before accounts of tenants, models in the store and events were added."""


@dataclass(frozen=True, slots=True)
class Release:
    """One of the two.

    Attributes:
        name: For messages and logs.
        packages: Folder of its package.
    """

    name: str
    packages: Path

    def environment(self) -> Mapping[str, str]:
        """Return what a process needs to run it, with the libraries of this environment."""
        inherited = {key: value for key, value in os.environ.items() if "ARNO_" not in key}
        # Before this tree, which is installed as editable.
        return {**inherited, "PYTHONPATH": str(self.packages)}


def this_tree() -> Release:
    """Return the release that is worked on."""
    return Release("new", _ROOT / "services")


def newest_tag() -> str | None:
    """Return the newest tag before this commit, or None."""
    done = _git("describe", "--tags", "--abbrev=0", "HEAD^")
    return done.stdout.decode().strip() if done.returncode == 0 else None


def described(ref: str) -> str:
    """Return a commit as a reader of the page finds it.

    Raises:
        click.ClickException: This clone does not have it.
    """
    done = _git("log", "-1", "--format=%h of %cs", f"{ref}^{{commit}}")
    if done.returncode:
        raise click.ClickException(
            f"this clone does not have {ref}: git fetch --unshallow, or name another commit "
            "by --from"
        )
    return done.stdout.decode().strip()


def built(ref: str, folder: Path) -> Release:
    """Build the wheel of a commit and install it into a folder, without its dependencies."""
    archive = _git("archive", ref, *_SOURCES)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as sources:
        sources.extractall(folder / "sources", filter="data")
    packages = folder / "packages"
    command: list[str | Path] = [_UV, "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, packages, "--python", sys.executable, folder / "sources"], check=True)
    return Release("old", packages)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=_ROOT, check=False, capture_output=True)
