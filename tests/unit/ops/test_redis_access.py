"""Who we are to Redis, and how to encrypt: what a client gets, and what stops a start."""

from __future__ import annotations

import pytest
from arno.errors import ConfigurationError
from arno.ops.redis_access import RedisAccessSettings
from arno.ops.secret_text import secret_text
from arno.ops.tls import client_context
from pydantic import SecretStr
from support.certificates import Authority

TLS_URL = "rediss://127.0.0.1:1/0"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "certificates")


def options(**fields):
    return RedisAccessSettings(**fields).redis_options()


def test_plain_address_needs_nothing():
    assert options() == {}


async def test_password_is_read_again_for_each_connection(tmp_path):
    file = tmp_path / "password"
    file.write_text("first\n")
    credentials = options(redis_username="me", redis_password_file=file)["credential_provider"]
    assert credentials.get_credentials() == ("me", "first")
    file.write_text("second\n")
    assert await credentials.get_credentials_async() == ("me", "second")


def test_default_user_gives_a_password_alone():
    credentials = options(redis_password="hush")["credential_provider"]
    assert credentials.get_credentials() == ("hush",)
    assert "hush" not in repr(credentials)


def test_files_of_certificates_reach_the_client(authority):
    pair = authority.pair("worker")
    files = {"redis_client_cert": pair.certificate, "redis_client_key": pair.key}
    assert options(redis_url=TLS_URL, redis_ca=authority.ca, **files) == {
        "ssl_ca_certs": str(authority.ca),
        "ssl_certfile": str(pair.certificate),
        "ssl_keyfile": str(pair.key),
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"redis_ca": "ca.pem"}, "need a rediss:// address"),
        ({"redis_username": "me"}, "needs redis_password"),
        (
            {"redis_url": "redis://:a@h", "redis_password": "b"},
            "give the password in one of them",
        ),
        ({"redis_password": "a", "redis_password_file": "b"}, "give one of them"),
        ({"redis_password_file": "absent"}, "cannot read absent: No such file"),
        ({"redis_url": TLS_URL, "redis_ca": "absent"}, "redis_ca: absent: No such file"),
        ({"redis_url": TLS_URL, "redis_client_cert": "a"}, "give both or neither"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(fields, said):
    with pytest.raises(ConfigurationError, match=said):
        options(**fields)


def test_certificate_and_key_must_fit_together(authority):
    one, other = authority.pair("one"), authority.pair("other")
    with pytest.raises(ConfigurationError, match=r"kafka_client_cert: .* do not fit together"):
        client_context(authority.ca, one.certificate, other.key, prefix="kafka")
    with pytest.raises(
        ConfigurationError, match=r"kafka_client_cert: .* not the PEM file that belongs here"
    ):
        client_context(authority.ca, one.key, one.key, prefix="kafka")


def test_secret_keeps_all_but_its_last_line_end(tmp_path):
    file = tmp_path / "secret"
    file.write_text(" with spaces \n")
    assert secret_text(None, file, name="token") == " with spaces "
    assert secret_text(SecretStr("x"), None, name="token") == "x"
    assert secret_text(None, None, name="token") == ""


def test_secret_that_is_no_text_is_refused_without_showing_it(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"hush\xff")
    with pytest.raises(ConfigurationError) as caught:
        secret_text(None, file, name="token")
    assert "hush" not in str(caught.value)
