"""`arno version`: which releases are at work."""

from __future__ import annotations

import importlib.metadata
import json
import platform

import click

from arno import __version__

_PARTS = ("grpcio", "protobuf", "kafka-python", "redis", "torch", "transformers", "av")


@click.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verb(as_json: bool) -> None:
    """Print the versions of Arno and of the parts that it found.

    \b
    Example:
      arno version --json
    """
    versions = {"arno": __version__, "python": platform.python_version()} | {
        part: found for part in _PARTS if (found := _version(part)) is not None
    }
    if as_json:
        click.echo(json.dumps(versions))
        return
    for name, version in versions.items():
        click.echo(f"{name:<14} {version}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
