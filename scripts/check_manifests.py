"""Build ``k8s/`` with kustomize and check every object against its schema, strictly and offline.

Built are all overlays, and each component alone on the base. The schemas of Kubernetes come from
the wheel ``kubernetes-validate``, flattened into the form that kubeconform reads; those of other
kinds from their own custom resource definitions. What no schema sees (a selector that misses its
pods, a mount without a volume) is checked here too.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
VERSION = "1.36.0"
KUBECTL = Path(sys.executable).parent / "kubectl"
KUBECONFORM = ROOT / ".tools" / "bin" / "kubeconform"
CRDS = ROOT / ".tools" / "crds"
NEEDS = {
    "keda-secure": ["secure", "keda-seconds"],
    "pace-tiny-cpu": ["keda-lag"],
    "pace-base-cpu": ["hpa"],
    "pace-base-gpu": ["gpu", "keda-seconds"],
}
"""Components that change what others bring; without them they would be built and do nothing."""

WRITES_TO_ITS_IMAGE = {"kafka"}
"""Its image writes its configuration beside its programs."""


def main() -> int:
    """Run the command line."""
    faults = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        schemas = folder / "schemas"
        schemas.mkdir()
        write_schemas(schemas)
        for build in [*sorted((ROOT / "k8s/overlays").iterdir()), *combinations(folder)]:
            text = kustomize(build)
            command = [KUBECONFORM, "-strict", "-schema-location"]
            command += [f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", "-"]
            faults += subprocess.run(command, input=text, text=True, check=False).returncode
            for fault in semantic_faults([one for one in yaml.safe_load_all(text) if one]):
                sys.stderr.write(f"{build.name}: {fault}\n")
                faults += 1
    return 1 if faults else 0


def kustomize(build: Path) -> str:
    """Return the objects of an overlay, as YAML."""
    command = [KUBECTL, "kustomize", build]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def combinations(folder: Path) -> list[Path]:
    """Write an overlay for each component, on a copy of the manifests."""
    shutil.copytree(ROOT / "k8s", folder / "k8s")
    shutil.copytree(ROOT / "deploy/grafana", folder / "deploy/grafana")
    made = []
    for component in sorted((folder / "k8s/components").iterdir()):
        names = [*NEEDS.get(component.name, []), component.name, "release"]
        overlay = folder / "k8s/overlays" / f"only-{component.name}"
        overlay.mkdir()
        kustomization = {
            "resources": ["../../base"],
            "components": [f"../../components/{name}" for name in dict.fromkeys(names)],
        }
        (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        made.append(overlay)
    return made


def write_schemas(folder: Path) -> None:
    """Write one self-contained JSON schema a kind into ``folder``."""
    package = Path(kubernetes_validate.__file__).parent
    source = package / "kubernetes-json-schema" / f"v{VERSION}-local-strict"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    for path in source.glob("*-v*.json"):
        schema = json.loads(path.read_text())
        needed: dict[str, Any] = {}
        point_inside(schema, definitions, needed)
        (folder / path.name).write_text(json.dumps({**schema, "definitions": needed}))
    for path in CRDS.glob("*.yaml"):
        for crd in yaml.safe_load_all(path.read_text()):
            write_custom_schemas(crd, folder)


def write_custom_schemas(crd: dict[str, Any], folder: Path) -> None:
    """Write the schemas of a kind that a custom resource definition brings, one a version."""
    kind, group = crd["spec"]["names"]["kind"].lower(), crd["spec"]["group"].split(".")[0]
    for version in crd["spec"]["versions"]:
        schema = closed(version["schema"]["openAPIV3Schema"])
        (folder / f"{kind}-{group}-{version['name']}.json").write_text(json.dumps(schema))


def point_inside(node: Any, definitions: dict[str, Any], needed: dict[str, Any]) -> None:
    """Turn references to the shared file into references inside the schema, collecting them."""
    if isinstance(node, list):
        for part in node:
            point_inside(part, definitions, needed)
    if not isinstance(node, dict):
        return
    if isinstance(node.get("$ref"), str):
        name = node["$ref"].rsplit("/", 1)[1]
        node["$ref"] = f"#/definitions/{name}"
        if name not in needed:
            needed[name] = definitions[name]
            point_inside(needed[name], definitions, needed)
    for part in node.values():
        point_inside(part, definitions, needed)


def closed(schema: Any) -> Any:
    """Forbid unknown fields, as the strict schemas of Kubernetes do."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(part) for key, part in schema.items()}
    if isinstance(made.get("properties"), dict) and "additionalProperties" not in made:
        made["additionalProperties"] = False
    return made


def semantic_faults(objects: list[dict[str, Any]]) -> list[str]:
    """Return what the API server would refuse although every schema is satisfied."""
    faults = []
    workloads = [one for one in objects if one["kind"] in {"Deployment", "Job", "StatefulSet"}]
    pods = [one["spec"]["template"]["metadata"]["labels"].items() for one in workloads]
    for one in objects:
        where = f"{one['kind']}/{one['metadata']['name']}"
        spec = one.get("spec", {})
        selector = spec.get("selector", spec.get("podSelector", {}))
        for labels in selected(selector):
            if not any(labels.items() <= pod for pod in pods):
                faults.append(f"{where}: the selector {labels} matches no pod template")
        if one["kind"] in {"ScaledObject", "HorizontalPodAutoscaler"}:
            target = one["spec"]["scaleTargetRef"]["name"]
            if target not in {load["metadata"]["name"] for load in workloads}:
                faults.append(f"{where}: there is no workload {target}")
    for one in workloads:
        where = f"{one['kind']}/{one['metadata']['name']}"
        spec = one["spec"]["template"]["spec"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        claims = one["spec"].get("volumeClaimTemplates", [])
        volumes |= {claim["metadata"]["name"] for claim in claims}
        for container in spec["containers"]:
            mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
            faults += [f"{where}: {name} is mounted but no volume" for name in mounts - volumes]
            read_only = container.get("securityContext", {}).get("readOnlyRootFilesystem")
            if not read_only and container["name"] not in WRITES_TO_ITS_IMAGE:
                faults.append(f"{where}: {container['name']} can write to its image")
            if set(container.get("resources", {})) != {"requests", "limits"}:
                faults.append(f"{where}: {container['name']} lacks requests or limits")
    return faults


def selected(selector: dict[str, Any]) -> list[dict[str, str]]:
    """Return the labels that a selector names; each of its alternatives must exist."""
    expressions = selector.get("matchExpressions", [])
    alternatives = [{one["key"]: value} for one in expressions for value in one["values"]]
    labels = {} if expressions else selector.get("matchLabels", selector)
    return [*alternatives, *([labels] if labels else [])]


if __name__ == "__main__":
    sys.exit(main())
