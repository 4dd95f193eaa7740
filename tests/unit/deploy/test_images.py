"""The Dockerfiles keep their promises: small, non-root, and built from files that exist."""

from __future__ import annotations

import re
from pathlib import Path

import arno
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILES = sorted((ROOT / "deploy/docker").glob("*.Dockerfile"))
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_runs_as_a_user_without_rights(path: Path) -> None:
    users = re.findall(r"^USER (\d+):(\d+)$", path.read_text(), flags=re.MULTILINE)
    assert users
    assert all(int(user) >= 10_000 and int(group) >= 10_000 for user, group in users)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_copies_only_files_that_exist_and_reach_the_build(path: Path) -> None:
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), flags=re.MULTILINE))
    for line in re.findall(r"^COPY (?!--from)(.+)$", path.read_text(), flags=re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists()
            assert source in allowed


def test_the_image_for_gpus_can_compile_at_a_start() -> None:
    _, run = (ROOT / "deploy/docker/worker-cuda.Dockerfile").read_text().rsplit("\nFROM ", 1)
    assert re.search(r"^RUN apt-get .* g\+\+", run, flags=re.MULTILINE)
    assert "TORCHINDUCTOR_CACHE_DIR=/tmp/" in run


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_no_base_image_floats(path: Path) -> None:
    for base in re.findall(r"^FROM (\S+)", path.read_text(), flags=re.MULTILINE):
        assert ":" in base
        assert not base.endswith(":latest")


def test_compose_services_depend_only_on_services_that_exist() -> None:
    services = COMPOSE["services"]
    assert {"kafka", "redis", "gateway", "worker", "prometheus"} <= set(services)
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            source = re.sub(r"^\$\{\w+-(\w+)\}", r"\1", volume).split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()


def test_compose_keeps_what_kafka_has_accepted_in_a_volume() -> None:
    kafka = COMPOSE["services"]["kafka"]
    folders = [volume.split(":")[1] for volume in kafka["volumes"]]
    assert kafka["environment"]["KAFKA_LOG_DIRS"] in folders


def test_compose_builds_the_images_that_make_images_builds() -> None:
    names = {path.stem: f"arno/{path.stem}:{arno.__version__}" for path in DOCKERFILES}
    assert {"gateway", "worker-cpu", "worker-cuda", "ingest", "web"} == set(names)
    built = [service for service in COMPOSE["services"].values() if "build" in service]
    assert len(built) >= len(names)
    for service in built:
        dockerfile = ROOT / service["build"]["dockerfile"]
        assert service["image"] == names[dockerfile.stem]


def test_compose_starts_the_core_alone_without_a_profile() -> None:
    services = COMPOSE["services"].items()
    core = {name for name, service in services if "profiles" not in service}
    assert core == {"kafka", "redis", "topics", "gateway", "worker"}
    profiles = {profile for _, service in services for profile in service.get("profiles", [])}
    assert profiles == {"observability", "web", "video", "gpu"}


def test_example_of_the_environment_has_every_choice_with_its_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    choices = dict(re.findall(r"\$\{(\w+)-([^}]*)\}", text))
    example = dict(
        line.split("=", 1)
        for line in (ROOT / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert example == choices


def test_compose_runs_prometheus_with_the_files_that_are_tested() -> None:
    prometheus = COMPOSE["services"]["prometheus"]
    # The image reads /etc/prometheus/prometheus.yml.
    assert "./deploy/prometheus:/etc/prometheus:ro" in prometheus["volumes"]
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    assert all((ROOT / "deploy/prometheus" / name).exists() for name in config["rule_files"])
    found = {job["job_name"]: job["dns_sd_configs"][0]["names"] for job in config["scrape_configs"]}
    # One target for each container of a service, whatever its scale.
    several = {"worker": ["worker", "worker-gpu"]}
    processes = ("gateway", "worker", "web", "ingest")
    assert found == {name: several.get(name, [name]) for name in processes}
    streams = yaml.safe_load((ROOT / "examples/streams/compose.yaml").read_text())
    services = COMPOSE["services"].keys() | streams["services"].keys()
    assert {name for names in found.values() for name in names} <= services


def test_grafana_finds_prometheus_and_the_dashboards() -> None:
    folder = ROOT / "deploy/grafana/provisioning"
    source = yaml.safe_load((folder / "datasources/prometheus.yml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    provider = yaml.safe_load((folder / "dashboards/arno.yml").read_text())["providers"][0]
    mounts = COMPOSE["services"]["grafana"]["volumes"]
    assert f"./deploy/grafana/dashboards:{provider['options']['path']}:ro" in mounts


@pytest.mark.parametrize("name", ["gateway", "worker-cpu", "worker-cuda", "web", "ingest"])
def test_an_image_serves_its_metrics_where_prometheus_asks(name: str) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (port,) = {job["dns_sd_configs"][0]["port"] for job in config["scrape_configs"]}
    text = (ROOT / f"deploy/docker/{name}.Dockerfile").read_text()
    assert f"ARNO_METRICS_HOST=0.0.0.0 ARNO_METRICS_PORT={port}" in text
