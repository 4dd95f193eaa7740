"""Write the bill of materials of what ships, and ask for known vulnerabilities in it.

What ships is the closure of ``arno[all]`` as installed in this environment; tools of tests and
checks are not part of it. The two programs live in an environment of their own, .tools/audit:

- cyclonedx-py writes ``dist/sbom.cdx.json`` (CycloneDX 1.6). Works offline.
- pip-audit asks the advisories of PyPI about ``dist/shipped.txt``. Where they cannot be reached it
  would report success for what it skipped; ``--strict`` makes that a failure, and so do we.

``dist/licences.md`` lists the licence of each; one that may not ship ends the run. With ``--sbom``
the bill and this list are all that is done. With ``--image NAME`` the bill of an image is written,
from the other one and from what the image says is in it: lines ``name==version`` on standard input.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from licences import licences, page, refused, summary
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools" / "audit"
DIST = ROOT / "dist"
SBOM = DIST / "sbom.cdx.json"
PINS = DIST / "shipped.txt"
LICENCES = DIST / "licences.md"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sbom", action="store_true", help="ask nobody for advisories")
    parser.add_argument("--image", help="write the bill of this image, from standard input")
    given = parser.parse_args()
    DIST.mkdir(exist_ok=True)
    if given.image:
        return write_image(given.image, sys.stdin)
    install_tools()
    shipped = closure("arno", frozenset({"all"}))
    write_sbom(shipped)
    print(f"audit: {SBOM.relative_to(ROOT)} names {len(shipped)} packages")  # noqa: T201
    if list_licences(shipped):
        return 1
    if given.sbom:
        return 0
    pins = sorted(f"{name}=={version}" for name, version in shipped.items() if name != "arno")
    PINS.write_text("".join(f"{pin}\n" for pin in pins))
    command = [*tool("pip_audit"), "--strict", "--no-deps", "--disable-pip"]
    command += ["--progress-spinner", "off", "--requirement", PINS]
    code = subprocess.run(command, check=False).returncode
    if code:
        sys.stderr.write(
            "audit: NOT clean, or the advisories cannot be reached from here; the lines above say "
            "which\n"
        )
    return code


def install_tools() -> None:
    """Make the environment of the two programs, once."""
    if (TOOLS / "bin" / "pip-audit").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", TOOLS], check=True)
    uv = Path(sys.executable).parent / "uv"
    command = [uv, "pip", "install", "--quiet", "--python", TOOLS / "bin" / "python"]
    command += ["--constraints", ROOT / "constraints.txt", "cyclonedx-bom", "pip-audit"]
    subprocess.run(command, check=True)


def tool(module: str) -> list[str | Path]:
    """Return the words that run one of the two: their scripts name the folder they were made in."""
    return [TOOLS / "bin" / "python", "-m", module]


def closure(name: str, extras: frozenset[str]) -> dict[str, str]:
    """Return name to version of a package, with its extras, and all that they need."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(name, extra) for extra in ("", *extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[name] = metadata.version(name)
        for line in metadata.requires(name) or ():
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": extra}):
                waiting += [(canonical(need.name), one) for one in ("", *need.extras)]
    return found


def list_licences(shipped: dict[str, str]) -> list[str]:
    """Write the list of licences, and return what may not ship."""
    found = licences(shipped)
    LICENCES.write_text(page(found))
    print(f"audit: {LICENCES.relative_to(ROOT)}: {summary(found)}")  # noqa: T201
    faults = refused(found)
    for fault in faults:
        sys.stderr.write(f"audit: this licence may not ship: {fault}\n")
    return faults


def canonical(name: str) -> str:
    """Return a package's name in the one spelling that all of its spellings stand for."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write_sbom(shipped: dict[str, str]) -> None:
    """Describe the environment, and keep what ships."""
    command = [*tool("cyclonedx_py"), "environment", "--output-reproducible"]
    command += ["--pyproject", ROOT / "pyproject.toml", sys.executable]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    SBOM.write_text(json.dumps(reduced(json.loads(done.stdout), shipped), indent=2) + "\n")


def reduced(bom: dict[str, Any], shipped: dict[str, str]) -> dict[str, Any]:
    """Return the bill with what ships alone, dependencies included."""
    kept = [one for one in bom["components"] if canonical(one["name"]) in shipped]
    refs = {one["bom-ref"] for one in kept} | {bom["metadata"]["component"]["bom-ref"]}
    dependencies = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in refs]}
        for one in bom["dependencies"]
        if one["ref"] in refs
    ]
    return {**bom, "components": kept, "dependencies": dependencies}


def write_image(name: str, lines: Iterable[str]) -> int:
    """Write the bill of an image, and return the exit status.

    Args:
        name: Of the image.
        lines: What Python finds in it: ``name==version``.
    """
    installed = dict(line.strip().split("==") for line in lines if line.strip())
    if "arno" not in installed:
        sys.stderr.write(f"audit: the image {name} does not say that arno is in it\n")
        return 1
    path = DIST / f"{name}.cdx.json"
    bill = of_image(json.loads(SBOM.read_text()), name, installed)
    path.write_text(json.dumps(bill, indent=2) + "\n")
    print(f"audit: {path.relative_to(ROOT)} names {len(installed)} packages")  # noqa: T201
    return 0


def of_image(bom: dict[str, Any], name: str, installed: Mapping[str, str]) -> dict[str, Any]:
    """Return the bill of an image: what is known of the versions that are in it.

    Args:
        bom: The bill of all that ships.
        name: Of the image.
        installed: Versions by name. What the bill does not know stands there bare: pip, or torch
            without CUDA.
    """
    known = {(canonical(one["name"]), one.get("version")): one for one in bom["components"]}
    found = [
        known.get((canonical(package), version), bare(package, version))
        for package, version in sorted(installed.items())
    ]
    refs = {one["bom-ref"] for one in found}
    dependencies = [
        {**one, "dependsOn": [ref for ref in one.get("dependsOn", ()) if ref in refs]}
        for one in bom["dependencies"]
        if one["ref"] in refs
    ]
    root = {"type": "container", "name": f"arno/{name}", "version": installed["arno"]}
    described = {**bom["metadata"], "component": {**root, "bom-ref": "root-component"}}
    dependencies.append({"ref": "root-component", "dependsOn": sorted(refs)})
    return {**bom, "metadata": described, "components": found, "dependencies": dependencies}


def bare(package: str, version: str) -> dict[str, Any]:
    """Return a component of which only name and version are known."""
    address = f"pkg:pypi/{canonical(package)}@{version.replace('+', '%2B')}"
    ref = f"{package}=={version}"
    return {"type": "library", "name": package, "version": version, "purl": address, "bom-ref": ref}


if __name__ == "__main__":
    sys.exit(main())
