import importlib.metadata
import io
import re
import tomllib
from pathlib import Path

import pytest
from arno.cli import checks
from arno.cli.checks import Finding, Level, check_gateway
from arno.cli.connecting import Connection
from arno.cli.doctor import _table
from arno.client import Tls
from arno.ops.redis_access import RedisAccessSettings
from rich.console import Console

PROJECT = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]


def required(extra):
    for requirement in PROJECT["optional-dependencies"][extra]:
        name, more = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", requirement).groups()
        if name != "arno":
            yield name.replace("_", "-")
        elif more is not None:
            yield from (found for part in more.split(",") for found in required(part))


@pytest.mark.parametrize("extra", checks._EXTRAS)
def test_parts_that_are_looked_for_are_those_of_the_extra(extra):
    distributions = importlib.metadata.packages_distributions()
    looked_for = {
        name.lower().replace("_", "-")
        for module in checks._EXTRAS[extra]
        for name in distributions[module]
    }
    assert set(required(extra)) <= looked_for


@pytest.mark.parametrize("address", ["foo..bar:50051", "localhost:99999"])
def test_address_that_nobody_can_have_is_a_finding(address):
    assert check_gateway(Connection(address)).level is Level.FAIL
    assert [finding.level for finding in checks.check_kafka(address)] == [Level.FAIL]


def test_authorities_that_are_no_pem_file_are_a_finding(tmp_path):
    (tmp_path / "ca.pem").write_text("none")
    found = check_gateway(Connection("127.0.0.1:9", tls=Tls(tmp_path / "ca.pem")))
    assert found.level is Level.FAIL
    assert "ca.pem: not the PEM file" in found.found


def test_redis_address_that_nobody_can_have_is_a_finding():
    settings = RedisAccessSettings(redis_url="redis://127.0.0.1:many/0")
    assert checks.check_redis(settings).level is Level.FAIL


def test_advice_is_shown_as_it_must_be_typed():
    finding = Finding(Level.WARN, "device", "no [torch]", "pip install 'arno[worker]'")
    out = io.StringIO()
    Console(file=out, width=120).print(_table([finding]))
    assert "pip install 'arno[worker]'" in out.getvalue()
    assert "no [torch]" in out.getvalue()


@pytest.mark.parametrize(("named", "level"), [(False, Level.WARN), (True, Level.FAIL)])
def test_a_folder_that_cannot_be_written_fails_only_where_it_was_named(monkeypatch, named, level):
    # As in a pod, whose file system is read-only.
    monkeypatch.setattr(checks.os, "access", lambda *_: False)
    assert checks.check_disk(Path(".arno"), named=named).level is level


def test_without_torch_no_model_is_looked_for(monkeypatch):
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    assert checks.check_model("tiny").level is Level.WARN
