"""The Dockerfiles keep their promises: small, non-root, and built from files that exist."""

from __future__ import annotations

import re
from pathlib import Path

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
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists()


def test_compose_keeps_what_kafka_has_accepted_in_a_volume() -> None:
    kafka = COMPOSE["services"]["kafka"]
    folders = [volume.split(":")[1] for volume in kafka["volumes"]]
    assert kafka["environment"]["KAFKA_LOG_DIRS"] in folders
