"""Build ``k8s/`` with kustomize and check every object against its schema, strictly and offline.

Built are all overlays, and each component alone on the base; with ``--all`` also every component on
every overlay, and every pair of components on the base. The schemas of Kubernetes come from the
wheel ``kubernetes-validate``, flattened into the form that kubeconform reads; those of other kinds
from their own custom resource definitions. What no schema sees (a selector that misses its pods, a
mount without a volume) is checked here too. With ``--all`` kube-score judges the overlays, and the
Helm chart must hold what they hold.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parent.parent
VERSION = "1.36.0"
KUBECTL = Path(sys.executable).parent / "kubectl"
KUBECONFORM = ROOT / ".tools" / "bin" / "kubeconform"
KUBE_SCORE = ROOT / ".tools" / "bin" / "kube-score"
HELM = ROOT / ".tools" / "bin" / "helm"
CRDS = ROOT / ".tools" / "crds"
NEEDS = {
    "keda-secure": ["secure", "keda-seconds"],
    "pace-tiny-cpu": ["keda-lag"],
    "pace-base-cpu": ["hpa"],
    "pace-base-gpu": ["gpu", "keda-seconds"],
    "web-secure": ["secure", "network-policies", "web"],
    "strimzi-secure": ["secure", "strimzi"],
}
"""Components that change what others bring; without them they would be built and do nothing."""

ORDER = [
    *("trial-backends", "gpu", "model-volume", "model-download", "secure", "strimzi"),
    *("strimzi-secure", "network-policies", "monitoring", "keda-seconds", "keda-lag", "hpa"),
    *("pace-tiny-cpu", "pace-base-cpu", "pace-base-gpu", "keda-secure", "gateway-hpa"),
    *("gateway-api", "web", "web-secure", "release"),
]
"""In which an overlay lists components, as docs/deploy.md says."""

ONE_OF = [
    {"keda-seconds", "keda-lag", "hpa"},
    {"model-volume", "model-download"},
    {"pace-tiny-cpu", "pace-base-cpu", "pace-base-gpu"},
    # Policies close the way to a download, and to servers in Arno's own namespace.
    {"model-download", "network-policies"},
    {"trial-backends", "secure"},
    {"trial-backends", "network-policies"},
]
"""Components of which an overlay may list one."""

EXCUSED = {
    "container-image-pull-policy": "tags are versions, and never move",
    "networkpolicy-targets-pod": "the pods are in another namespace",
    "pod-networkpolicy": "only with the component network-policies",
}
"""Checks of kube-score that do not fit, and why."""

EXCUSED_OBJECTS = {
    ("kafka", "container-security-context-user-group-id"): "the user of its image",
    ("redis", "container-security-context-user-group-id"): "the user of its image",
    ("kafka", "container-security-context-readonlyrootfilesystem"): "WRITES_TO_ITS_IMAGE",
}
"""The same of single objects."""

WRITES_TO_ITS_IMAGE = {"kafka"}
"""Its image writes its configuration beside its programs."""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="all combinations, kube-score, Helm")
    everything = parser.parse_args().all
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        schemas = folder / "schemas"
        schemas.mkdir()
        write_schemas(schemas)
        overlays = sorted((ROOT / "k8s/overlays").iterdir())
        builds = [*overlays, *combinations(folder, everything=everything)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            faults = [
                one for found in pool.map(lambda b: check(b, schemas), builds) for one in found
            ]
    if everything:
        faults += [fault for overlay in overlays for fault in [*scored(overlay), *unequal(overlay)]]
        faults += taken_wrongly()
        sys.stdout.write(f"{len(builds)} combinations, {len(overlays)} profiles of the chart\n")
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return 1 if faults else 0


def check(build: Path, schemas: Path) -> list[str]:
    """Return what is wrong with the objects of an overlay."""
    text = kustomize(build)
    command = [KUBECONFORM, "-strict", "-schema-location"]
    command += [f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json", "-"]
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    faults = done.stdout.splitlines() + done.stderr.splitlines() if done.returncode else []
    faults += semantic_faults([one for one in yaml.safe_load_all(text) if one])
    return [f"{build.name}: {fault}" for fault in faults]


def kustomize(build: Path) -> str:
    """Return the objects of an overlay, as YAML."""
    command = [KUBECTL, "kustomize", build]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def combinations(folder: Path, *, everything: bool) -> list[Path]:
    """Write overlays on a copy of the manifests: each component alone, or all that go together."""
    shutil.copytree(ROOT / "k8s", folder / "k8s")
    shutil.copytree(ROOT / "deploy/grafana", folder / "deploy/grafana")
    found = sorted(path.name for path in (folder / "k8s/components").iterdir())
    if set(found) != set(ORDER):
        raise SystemExit(f"check_manifests: ORDER lacks or invents {set(found) ^ set(ORDER)}")
    chosen = {(component,) for component in found}
    if everything:
        chosen |= set(itertools.combinations(found, 2))
        chosen |= {
            (*listed, component) for listed in components_of_overlays() for component in found
        }
    sets = {frozenset(with_needs(one)) for one in chosen}
    return [write_overlay(folder, one) for one in sorted(map(sorted, filter(fits, sets)))]


def components_of_overlays() -> Iterator[list[str]]:
    """Yield what each overlay lists."""
    for path in sorted((ROOT / "k8s/overlays").glob("*/kustomization.yaml")):
        components = yaml.safe_load(path.read_text())["components"]
        names = [Path(one).name for one in components]
        if names != sorted(names, key=ORDER.index):
            raise SystemExit(f"{path.relative_to(ROOT)}: the components are not in order")
        yield names


def with_needs(names: Sequence[str]) -> list[str]:
    """Return the components, and those that they need where nothing of their kind is listed."""
    needed = [need for name in names for need in NEEDS.get(name, [])]
    if {"secure", "strimzi"} <= {*names, *needed}:
        needed.append("strimzi-secure")
    scaled = ONE_OF[0] & set(names)
    return [*names, *(need for need in needed if not (scaled and need in ONE_OF[0])), "release"]


def fits(names: frozenset[str]) -> bool:
    """Whether an overlay may list these components together."""
    return all(len(names & group) <= 1 for group in ONE_OF)


def write_overlay(folder: Path, names: Sequence[str]) -> Path:
    """Write an overlay of these components, in their order."""
    listed = sorted(names, key=ORDER.index)
    name = "+".join(listed).removesuffix("+release")
    overlay = folder / "k8s/overlays" / f"with-{name}"
    overlay.mkdir(exist_ok=True)
    components = [f"../../components/{name}" for name in listed]
    kustomization = {"resources": ["../../base"], "components": components}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return overlay


def scored(overlay: Path) -> list[str]:
    """Return what kube-score finds critical in an overlay, and is not excused."""
    command = [KUBE_SCORE, "score", "--output-format", "json", "-"]
    text = kustomize(overlay)
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    return [
        f"{overlay.name}: {found['object_name']}: {check['check']['name']}: {comment['summary']}"
        for found in json.loads(done.stdout)
        for check in found["checks"]
        for comment in check["comments"] or ()
        if check["grade"] == 1
        and not check["skipped"]
        and check["check"]["id"] not in EXCUSED
        and (found["object_meta"]["name"], check["check"]["id"]) not in EXCUSED_OBJECTS
    ]


def unequal(overlay: Path) -> list[str]:
    """Return the objects that the chart's profile and the overlay do not share."""
    done = helm_template("createNamespace=true", f"profile={overlay.name}")
    if done.returncode:
        return [f"helm template: {done.stderr}"]
    chart, built = by_name(done.stdout), by_name(kustomize(overlay))
    return [
        f"{overlay.name}: {'/'.join(name)} differs between the chart and the overlay"
        for name in sorted(chart.keys() | built.keys())
        if chart.get(name) != built.get(name)
    ]


def taken_wrongly() -> list[str]:
    """Return the wrong values that the chart takes without a word."""
    wrong = (
        "profile=none",
        "gateway.replica=3",
        "kafka.brokers=kafka:9092",
        "worker.minReplicas=x",
    )
    return [f"helm template takes {one}" for one in wrong if not helm_template(one).returncode]


def helm_template(*values: str) -> subprocess.CompletedProcess[str]:
    """Render the chart with these values."""
    command: list[str | Path] = [HELM, "template", "arno", ROOT / "deploy/helm/arno"]
    command += ["--namespace", "arno", *(word for value in values for word in ("--set", value))]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def by_name(text: str) -> dict[tuple[str, str], Any]:
    """Return objects by kind and name, with the same word for every hash of the settings."""
    objects = [one for one in yaml.safe_load_all(text) if one]
    (settings,) = (
        one["metadata"]["name"]
        for one in objects
        if one["kind"] == "ConfigMap" and "ARNO_BUS" in one["data"]
    )
    same = text.replace(settings, "arno-HASH")
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(same) if one}


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
    opened = made.get("additionalProperties", made.get("x-kubernetes-preserve-unknown-fields"))
    if isinstance(made.get("properties"), dict) and opened is None:
        made["additionalProperties"] = False
    return made


def semantic_faults(objects: list[dict[str, Any]]) -> list[str]:
    """Return what the API server would refuse although every schema is satisfied."""
    workloads = [one for one in objects if one["kind"] in {"Deployment", "Job", "StatefulSet"}]
    faults = [
        f"{one['kind']}/{one['metadata']['name']}: in no namespace"
        for one in objects
        if one["kind"] != "Namespace" and "namespace" not in one["metadata"]
    ]
    faults += kafka_faults(objects)
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


def kafka_faults(objects: list[dict[str, Any]]) -> list[str]:
    """Return where the settings ask for another Kafka than the operator of Strimzi makes."""
    settings = settings_of(objects)
    encrypted = settings.get("ARNO_KAFKA_SECURITY_PROTOCOL", "PLAINTEXT").endswith("SSL")
    address = settings["ARNO_KAFKA_BOOTSTRAP"]
    faults = []
    for one in objects:
        name, namespace = one["metadata"]["name"], one["metadata"].get("namespace")
        if one["kind"] == "Kafka":
            ports = [
                each["port"]
                for each in one["spec"]["kafka"]["listeners"]
                if each["tls"] == encrypted
            ]
            if address not in {f"{name}-kafka-bootstrap.{namespace}.svc:{port}" for port in ports}:
                faults.append(f"Kafka/{name}: has no listener {address}, TLS: {encrypted}")
        if one["kind"] == "KafkaTopic":
            found = tuple(str(one["spec"][key]) for key in ("partitions", "replicas"))
            if found != (settings["ARNO_PARTITIONS"], settings["ARNO_REPLICATION"]):
                faults.append(
                    f"KafkaTopic/{name}: partitions and replicas differ from the settings"
                )
    return faults


def settings_of(objects: list[dict[str, Any]]) -> dict[str, str]:
    """Return the settings that gateway and worker share."""
    (found,) = (
        one["data"] for one in objects if one["kind"] == "ConfigMap" and "ARNO_BUS" in one["data"]
    )
    return found


def selected(selector: dict[str, Any]) -> list[dict[str, str]]:
    """Return the labels that a selector names; each of its alternatives must exist."""
    expressions = selector.get("matchExpressions", [])
    alternatives = [{one["key"]: value} for one in expressions for value in one["values"]]
    labels = {} if expressions else selector.get("matchLabels", selector)
    return [*alternatives, *([labels] if labels else [])]


if __name__ == "__main__":
    sys.exit(main())
