"""Kafka by Strimzi's operator has the address, the topics and the users that Arno is set for."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from arno.bus.kafka.settings import topic_config
from arno.bus.ports import DEAD_LETTERS, topic_name
from arno.bus.settings import BusSettings
from arno.vocabulary import Lane
from check_manifests import KUBECTL, kafka_faults, kustomize, settings_of, write_overlay

ROOT = Path(__file__).resolve().parents[3]
TRIAL = ["trial-backends", "strimzi", "release"]
SECURE = ["secure", "strimzi", "strimzi-secure", "keda-lag", "keda-secure", "release"]

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(
        not KUBECTL.exists() and not os.environ.get("CI"), reason="no kubectl: make install"
    ),
]

Objects = Sequence[dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "k8s", tmp_path / "k8s")
    return tmp_path


def built(folder: Path, components: Sequence[str], *literals: str) -> Objects:
    overlay = write_overlay(folder, components)
    if literals:
        # After the components, whose settings would win otherwise.
        generator = {"name": "arno", "behavior": "merge", "literals": list(literals)}
        own = {"kind": "Component", "apiVersion": "kustomize.config.k8s.io/v1alpha1"}
        (overlay / "settings").mkdir()
        file = overlay / "settings/kustomization.yaml"
        file.write_text(yaml.safe_dump({**own, "configMapGenerator": [generator]}))
        file = overlay / "kustomization.yaml"
        listed = yaml.safe_load(file.read_text())
        listed["components"].insert(-1, "settings")
        file.write_text(yaml.safe_dump(listed))
    return [one for one in yaml.safe_load_all(kustomize(overlay)) if one]


def of_kind(objects: Objects, kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


@pytest.mark.parametrize("partitions", [8, 30])
def test_the_operator_makes_the_topics_that_arno_would_make(folder: Path, partitions: int) -> None:
    objects = built(folder, TRIAL, f"ARNO_PARTITIONS={partitions}")
    shared = settings_of(list(objects))
    settings = BusSettings(
        partitions=int(shared["ARNO_PARTITIONS"]), replication=int(shared["ARNO_REPLICATION"])
    )
    topics = of_kind(objects, "KafkaTopic")
    channels = [*Lane, DEAD_LETTERS]
    assert set(topics) == {topic_name(settings.topic_prefix, channel) for channel in channels}
    for topic in topics.values():
        spec = topic["spec"]
        assert (spec["partitions"], spec["replicas"]) == (partitions, settings.replication)
        found = {key: str(value) for key, value in spec["config"].items()}
        assert found == topic_config(settings)
        assert topic["metadata"]["labels"]["strimzi.io/cluster"] in of_kind(objects, "Kafka")


def test_no_topic_has_more_copies_than_there_are_brokers(folder: Path) -> None:
    objects = built(folder, TRIAL)
    (pool,) = of_kind(objects, "KafkaNodePool").values()
    (kafka,) = of_kind(objects, "Kafka").values()
    brokers = pool["spec"]["replicas"]
    assert "broker" in pool["spec"]["roles"]
    assert int(settings_of(list(objects))["ARNO_REPLICATION"]) <= brokers
    assert kafka["spec"]["kafka"]["config"]["default.replication.factor"] <= brokers


def test_it_stands_in_for_the_broker_of_the_trial_and_redis_stays(folder: Path) -> None:
    objects = built(folder, TRIAL)
    assert set(of_kind(objects, "StatefulSet")) == {"redis"}
    assert set(of_kind(objects, "Service")) == {"gateway", "redis"}


@pytest.mark.parametrize("components", [TRIAL, SECURE])
def test_the_address_of_the_settings_is_a_listener_and_triggers_ask_it(
    folder: Path, components: list[str]
) -> None:
    objects = list(built(folder, components))
    assert kafka_faults(objects) == []
    wrong = [one for one in objects if one["kind"] != "Kafka"]
    (kafka,) = of_kind(objects, "Kafka").values()
    other = {**kafka, "metadata": {"name": "other", "namespace": "kafka"}}
    assert len(kafka_faults([*wrong, other])) == 1
    address = settings_of(objects)["ARNO_KAFKA_BOOTSTRAP"]
    for scaled in of_kind(objects, "ScaledObject").values():
        asked = {one["metadata"]["bootstrapServers"] for one in scaled["spec"]["triggers"]}
        assert asked == {address}


def test_users_have_the_rights_of_the_page_and_the_names_of_the_pods(folder: Path) -> None:
    objects = built(folder, SECURE)
    (listener,) = of_kind(objects, "Kafka")["arno"]["spec"]["kafka"]["listeners"]
    users = of_kind(objects, "KafkaUser")
    found = set()
    for name, user in users.items():
        assert user["spec"]["authentication"] == listener["authentication"]
        for acl in user["spec"]["authorization"]["acls"]:
            resource = acl["resource"]
            star = "*" if resource.get("patternType") == "prefix" else ""
            where = f"{resource['type']} {resource['name']}{star}"
            found.add((name, where, frozenset(acl["operations"])))
    assert found == rights_of_the_page()
    asked = set()
    for one in objects:
        if one["kind"] in {"Deployment", "Job"}:
            variables = one["spec"]["template"]["spec"]["containers"][0].get("env", [])
            asked |= {v["value"] for v in variables if v["name"] == "ARNO_KAFKA_USERNAME"}
    assert set(users) == asked | {"keda"}


def rights_of_the_page() -> set[tuple[str, str, frozenset[str]]]:
    """The rows of the page: | `arno-gateway` | topic `arno.jobs.*` | Write, Describe |."""
    page = (ROOT / "docs/security.md").read_text()
    rows = re.findall(r"^\| `([\w-]+)` \| (topic|group) `([\w.*-]+)` \| ([\w, ]+) \|$", page, re.M)
    assert len(rows) >= 8
    return {
        (user, f"{kind} {name}", frozenset(words.split(", "))) for user, kind, name, words in rows
    }
