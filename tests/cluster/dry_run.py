"""`python -m cluster.dry_run`: a real API server judges the manifests, and stores one overlay.

It sees what schemas do not: selectors that miss their pods, mounts without a volume, requests above
limits, rules in custom resource definitions, and pods that the policy of their namespace forbids.
The overlay that is stored is applied again with another setting and with another tag.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import arno
import yaml
from check_manifests import CRDS, ROOT, combinations, kustomize
from cluster.control_plane import ControlPlane, built

_SAYS = "scripts/kube_lab/install plane builds one (ten minutes)"
_LABELS = {"app": "right"}
_SPEC = {"containers": [{"name": "one", "image": "one:1"}]}
_WRONG: Mapping[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "wrong"},
    "spec": {
        "selector": {"matchLabels": {"app": "wrong"}},
        "template": {"metadata": {"labels": _LABELS}, "spec": _SPEC},
    },
}
"""Every schema takes it; no API server does."""


_CHANGES = (
    ("a setting", "base/settings.env", "ARNO_PARTITIONS=24", "ARNO_PARTITIONS=12"),
    ("the tag", "components/release/kustomization.yaml", arno.__version__, "99.0.0"),
)
"""What is changed, in which file, from what, and to what."""


def main() -> int:
    """Judge every overlay, and each component alone on the base."""
    if not built("kubelab"):
        sys.stdout.write(f"no dry run, since there is no control plane: {_SAYS}\n")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        builds = [*overlays(), *combinations(folder / "built", everything=False)]
        with ControlPlane(folder / "plane") as plane:
            found, faults = dry_run(plane, builds)
            copied = Path(shutil.copytree(ROOT / "k8s", folder / "changed"))
            faults = [*faults, *applied_again(plane, copied)]
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    sys.stdout.write(
        f"dry run by a real API server: {sum(found.values())} objects of {len(found)} builds\n"
    )
    return 1 if faults else 0


def overlays() -> list[Path]:
    """Return the folders of the overlays that ship."""
    return sorted((ROOT / "k8s/overlays").iterdir())


def dry_run(plane: ControlPlane, builds: Sequence[Path]) -> tuple[Mapping[str, int], Sequence[str]]:
    """Let the API server judge overlays, with the kinds that clusters add to its own.

    Args:
        plane: The cluster; namespaces and custom resource definitions land in it.
        builds: Folders of overlays.

    Returns:
        The number of objects of each that it would take, and what it refuses or warns of.

    Raises:
        AssertionError: It does not judge: it takes a Deployment that is wrong.
    """
    for path in sorted(CRDS.glob("*.yaml")):
        plane.kubectl("apply", "--server-side", "-f", path)
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    texts = {build.name: kustomize(build) for build in builds}
    _make_namespaces(plane, texts.values())
    _, refused = _judged(plane, yaml.safe_dump(_WRONG))
    assert refused, "the API server takes a Deployment whose selector misses its pods"
    counts, faults = {}, []
    for name, text in texts.items():
        counts[name], found = _judged(plane, text)
        faults += [f"{name}: {fault}" for fault in found]
    return counts, faults


def applied_again(plane: ControlPlane, manifests: Path) -> list[str]:
    """Apply an overlay, and again after each change that operators make.

    Args:
        plane: The cluster; it has the custom resource definitions and the namespaces.
        manifests: A copy of `k8s`, which is changed.

    Returns:
        What is refused or warned of.
    """
    faults = []
    for what, file, before, after in (("nothing", "base/settings.env", "", ""), *_CHANGES):
        path = manifests / file
        path.write_text(path.read_text().replace(before, after))
        done = plane.asked("apply", "-f", "-", given=kustomize(manifests / "overlays/cpu"))
        faults += [f"cpu, {what} changed: {line}" for line in done.stderr.splitlines()]
    return faults


def _make_namespaces(plane: ControlPlane, texts: Collection[str]) -> None:
    """Make the namespaces that objects are in: those of an overlay are not stored by a dry run."""
    objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
    namespaces = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Namespace"}
    for one in objects:
        if name := one["metadata"].get("namespace"):
            bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            namespaces.setdefault(name, bare)
    plane.kubectl("apply", "-f", "-", given=yaml.safe_dump_all(list(namespaces.values())))


def _judged(plane: ControlPlane, text: str) -> tuple[int, list[str]]:
    """Return the number of objects that would be taken, and lines of refusals and warnings."""
    done = plane.asked("apply", "--dry-run=server", "-f", "-", given=text)
    return len(done.stdout.splitlines()), done.stderr.splitlines()


if __name__ == "__main__":
    sys.exit(main())
