"""`arno keys`: what it prints, what it keeps, and what it refuses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import click
import pytest
from arno.cli.connecting import connection_options
from arno.cli.keys import verb
from arno.cli.servers import CONNECTION_NAMES
from arno.errors import ConfigurationError, InvalidFieldError, UnauthenticatedError
from arno.gateway.access.key_file import TenantLimits, read_key_file
from arno.gateway.access.key_ring import KeyRing
from click.testing import CliRunner


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def keys(path):
    def run(*words):
        done = CliRunner().invoke(verb, [*words, "--keys-file", str(path)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    return run


def test_made_key_is_printed_alone_and_opens_the_gateway(keys, path):
    done = keys("create", "acme")
    text = done.stdout.strip()
    assert KeyRing(path, check_interval_s=1).authenticate(text).tenant == "acme"
    assert text not in done.stderr
    assert text not in path.read_text()


def test_quotas_are_of_the_tenant_and_stay_until_they_are_changed(keys, path):
    keys("create", "acme", "--requests-per-s", "2.5", "--bytes-in-flight", "256MiB")
    keys("create", "acme", "--jobs-in-flight", "7")
    keys("create", "other")
    assert read_key_file(path).tenants == {
        "acme": TenantLimits(requests_per_s=2.5, jobs_in_flight=7, bytes_in_flight=256 * 2**20)
    }
    assert "jobs_in_flight 9" in keys("quota", "acme", "--jobs-in-flight", "9").output
    assert read_key_file(path).tenants["acme"].requests_per_s == 2.5
    assert "none" in keys("quota", "acme", "--none").output
    assert read_key_file(path).tenants == {}


def test_revoked_key_stays_listed_and_opens_nothing(keys, path):
    text = keys("create", "acme", "--note", "night").stdout.strip()
    key_id = text.split("_")[1]
    keys("revoke", key_id)
    ended_at = read_key_file(path).keys[0].revoked_at
    keys("revoke", key_id)
    assert read_key_file(path).keys[0].revoked_at == ended_at
    with pytest.raises(UnauthenticatedError, match="revoked"):
        KeyRing(path, check_interval_s=1).authenticate(text)
    (line,) = keys("list", "--json").stdout.splitlines()
    listed = json.loads(line)
    assert (listed["id"], listed["state"], listed["note"]) == (key_id, "revoked", "night")
    assert "sha256" not in listed
    table = keys("list").output
    assert key_id in table
    assert "revoked" in table


def test_key_expires_when_it_was_told_to(keys, path):
    keys("create", "acme", "--days", "90")
    ends_at = read_key_file(path).keys[0].expires_at
    assert timedelta(days=89) < ends_at - datetime.now(UTC) <= timedelta(days=90)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "a b"], "TENANT: "),
        (["create", "acme", "--note", "x" * 201], "NOTE: "),
        (["revoke", "k7m2q9xw"], "ID: no key has it"),
        (["quota", "nobody", "--jobs-in-flight", "1"], "TENANT: no key is of this one"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_and_changes_nothing(keys, path, words, said):
    with pytest.raises(InvalidFieldError, match=said):
        keys(*words)
    assert not path.exists()


@pytest.mark.parametrize("size", ["0", "-1", "many", "1XB", "1.5MiB"])
def test_size_that_is_none_is_refused(keys, size):
    done = keys("create", "acme", "--bytes-in-flight", size)
    assert done.exit_code == 2
    assert "256MiB" in done.output


def test_listing_a_file_that_is_not_there_says_so(keys):
    with pytest.raises(ConfigurationError, match="No such file"):
        keys("list")


def test_every_variable_of_a_connection_may_stand_beside_those_of_servers():
    @click.command()
    @connection_options(default=None)
    def command(gateway):
        """Do nothing."""

    variables = {option.envvar for option in command.params} | {"ARNO_API_KEY"}
    assert variables == {f"ARNO_{name.upper()}" for name in CONNECTION_NAMES}
