"""The bill of an image names what is in it, and nothing else."""

from __future__ import annotations

from typing import Any

import audit
import pytest

BOM: dict[str, Any] = {
    "metadata": {"component": {"name": "arno", "bom-ref": "root-component"}},
    "components": [
        {"name": "Kafka_Python", "version": "3.0.12", "bom-ref": "k", "licenses": ["Apache-2.0"]},
        {"name": "torch", "version": "2.15.0", "bom-ref": "t", "licenses": ["BSD-3-Clause"]},
        {"name": "av", "version": "18.1.0", "bom-ref": "a"},
    ],
    "dependencies": [{"ref": "k", "dependsOn": ["a"]}, {"ref": "a"}, {"ref": "t"}],
}
INSTALLED = {"arno": "0.1.0", "kafka-python": "3.0.12", "torch": "2.15.0+cpu"}


def test_bill_of_an_image_names_what_is_in_it_with_what_is_known_of_it() -> None:
    bill = audit.of_image(BOM, "worker-cpu", INSTALLED)
    named = {one["name"]: one for one in bill["components"]}
    assert named.keys() == {"arno", "Kafka_Python", "torch"}
    assert named["Kafka_Python"]["licenses"] == ["Apache-2.0"]
    # Another build than the one that is known: nothing is said of it that was not seen.
    assert named["torch"]["purl"] == "pkg:pypi/torch@2.15.0%2Bcpu"
    assert "licenses" not in named["torch"]
    assert bill["metadata"]["component"]["name"] == "arno/worker-cpu"


def test_dependencies_point_to_components_of_the_bill() -> None:
    bill = audit.of_image(BOM, "worker-cpu", INSTALLED)
    refs = {one["bom-ref"] for one in bill["components"]}
    by_ref = {one["ref"]: set(one["dependsOn"]) for one in bill["dependencies"]}
    assert by_ref == {"k": set(), "root-component": refs}


def test_image_that_does_not_answer_has_no_bill(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(audit, "DIST", tmp_path)
    assert audit.write_image("gateway", ["pip==26.0\n"]) == 1
    assert "does not say that arno is in it" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]
