"""Gateway, worker and operator on a Kafka broker behind SASL_SSL, each with its own rights.

The rights are the table of docs/security.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from pathlib import Path

import pytest
from arno.bus import (
    DEAD_LETTERS,
    BusSettings,
    Record,
    make_admin,
    make_consumer,
    make_dead_letter_queue,
    make_publisher,
)
from arno.bus.kafka import settings as kafka_settings
from arno.cli.main import root
from arno.errors import ArnoError, BackendUnavailableError, ConfigurationError
from arno.vocabulary import Lane
from click.testing import CliRunner
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourceType,
)
from support import kafka_broker
from support.availability import require
from support.certificates import Authority
from support.eventually import eventually
from support.secure_kafka import ADMIN, SecureKafkaBroker

pytestmark = pytest.mark.kafka

PAGE = Path(__file__).parents[3] / "docs" / "security.md"
USERS = {name: f"{name}-password-0123" for name in (ADMIN, "gateway", "worker", "operator", "keda")}
PREFIXED = ACLResourcePatternType.PREFIXED


def rights() -> list[ACL]:
    """The rows of the page: | `arno-gateway` | topic `arno.jobs.*` | Write, Describe |."""
    found = []
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[1].startswith(("topic ", "group ")):
            found += acls_of(*cells)
    return found


def acls_of(user: str, resource: str, operations: str) -> list[ACL]:
    kind, name = resource.replace("`", "").split()
    pattern = ResourcePattern(
        ResourceType[kind.upper()],
        name.rstrip("*"),
        *([PREFIXED] if name.endswith("*") else []),
    )
    principal = f"User:{user.removeprefix('arno-')}"
    allow = ACLPermissionType.ALLOW
    return [
        ACL(principal, "*", ACLOperation[constant(word.strip())], allow, pattern)
        for word in operations.split(",")
    ]


def constant(word: str) -> str:
    """DescribeConfigs is DESCRIBE_CONFIGS."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word).upper()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def settings_of(tmp_path_factory, authority):
    require(kafka_broker.kafka_available(), kafka_broker.WAYS_TO_GET_IT)
    broker = SecureKafkaBroker(
        tmp_path_factory.mktemp("kafka"), pair=authority.pair("kafka"), ca=authority.ca, users=USERS
    )
    broker.start()

    def build(name, **fields):
        pair = authority.pair(name)
        given = {
            "bus": "kafka",
            "kafka_bootstrap": broker.bootstrap,
            "partitions": 2,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_username": name,
            "kafka_password": USERS[name],
            "kafka_ca": authority.ca,
            "kafka_client_cert": pair.certificate,
            "kafka_client_key": pair.key,
        }
        return BusSettings(**{**given, **fields})

    yield build
    broker.stop()


@pytest.fixture(scope="module")
def topics(settings_of):
    client = KafkaAdminClient(**kafka_settings.admin_config(settings_of(ADMIN)))
    client.create_acls(rights())
    client.close()
    admin = make_admin(settings_of("operator"))
    eventually(lambda: created(admin))
    admin.close()


def created(admin) -> bool:
    # A right counts a moment after it was given.
    try:
        admin.ensure_topics()
    except ArnoError:
        return False
    return len(admin.describe()) == len([*Lane, DEAD_LETTERS])


def unfinished(admin) -> dict[Lane, dict[int, int]]:
    # The broker makes the topic of the groups when one is asked about for the first time.
    try:
        return admin.unfinished(list(Lane))
    except BackendUnavailableError:
        return {}


async def publish(settings, channel, value) -> None:
    publisher = make_publisher(settings)
    await publisher.start()
    try:
        await publisher.publish(Record(channel, value), timeout_s=10)
        await publisher.ping()
    finally:
        await publisher.close()


def take_one(settings, lane) -> bytes:
    consumer = make_consumer(settings, [lane])
    consumer.start()
    try:
        (delivery,) = eventually(lambda: consumer.poll(0.1))
        consumer.done(delivery.receipt)
        return delivery.record.value
    finally:
        consumer.close()


@pytest.mark.usefixtures("topics")
async def test_users_may_do_all_that_arno_does(settings_of):
    await publish(settings_of("gateway"), Lane.BATCH, b"a job")
    assert await asyncio.to_thread(take_one, settings_of("worker"), Lane.BATCH) == b"a job"
    await publish(settings_of("worker"), DEAD_LETTERS, b"a letter")

    def handle():
        box = make_dead_letter_queue(settings_of("operator"))
        try:
            return [letter.value for letter in box.read()], box.purge(2**62)
        finally:
            box.close()

    assert await asyncio.to_thread(handle) == ([b"a letter"], 1)
    await publish(settings_of("operator"), Lane.BATCH, b"replayed")


@pytest.mark.usefixtures("topics")
def test_retention_is_checked_by_those_who_may_and_the_others_say_that_they_cannot(
    settings_of, caplog
):
    for user in ("gateway", "operator"):
        with contextlib.closing(make_admin(settings_of(user))) as admin:
            assert admin.retention_faults() == []
    with contextlib.closing(make_admin(settings_of("worker"))) as admin:
        with pytest.raises(BackendUnavailableError):
            admin.retention_faults()
        with caplog.at_level(logging.INFO):
            admin.warn_of_retention()
    assert "cannot tell how long kafka keeps records" in caplog.text


@pytest.mark.usefixtures("topics")
async def test_users_may_do_nothing_else(settings_of):
    with pytest.raises(ArnoError, match=r"AuthorizationFailed|authoriz"):
        await publish(settings_of("worker"), Lane.BATCH, b"not its work")
    others = {"topic_prefix": "others"}
    with (
        contextlib.closing(make_admin(settings_of("operator", **others))) as admin,
        pytest.raises(ArnoError, match=r"AuthorizationFailed|authoriz"),
    ):
        admin.ensure_topics()
    with contextlib.closing(make_admin(settings_of("gateway", **others))) as admin:
        assert admin.describe() == {}


@pytest.mark.usefixtures("topics")
async def test_keda_reads_how_much_waits_and_may_do_nothing_else(settings_of):
    with contextlib.closing(make_admin(settings_of("keda"))) as admin:
        waiting = await asyncio.to_thread(eventually, lambda: unfinished(admin))
    assert {lane: len(partitions) for lane, partitions in waiting.items()} == dict.fromkeys(Lane, 2)
    with pytest.raises(ArnoError, match=r"AuthorizationFailed|authoriz"):
        await publish(settings_of("keda"), Lane.BATCH, b"not its work")


@pytest.mark.parametrize(
    "change",
    [
        {"kafka_password": "wrong-password-0123"},
        {"kafka_ca": None},
        {"kafka_client_cert": None, "kafka_client_key": None},
        {
            "kafka_security_protocol": "PLAINTEXT",
            "kafka_username": "",
            **dict.fromkeys(
                ("kafka_password", "kafka_ca", "kafka_client_cert", "kafka_client_key")
            ),
        },
    ],
    ids=["wrong password", "unknown authority", "no certificate", "plain text"],
)
def test_who_lacks_anything_is_not_let_in_and_says_no_secret(
    settings_of, caplog, monkeypatch, change
):
    monkeypatch.setattr(kafka_settings, "_CONNECT_TIMEOUT_MS", 1500)
    admin = make_admin(settings_of("gateway", **change))
    with caplog.at_level(logging.DEBUG), pytest.raises(ArnoError) as caught:
        admin.describe()
    admin.close()
    assert "password-0123" not in str(caught.value)
    assert "password-0123" not in " ".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kafka_username": "me"}, "need a SASL protocol"),
        ({"kafka_security_protocol": "SASL_SSL"}, "SASL_SSL needs both"),
        ({"kafka_ca": "ca.pem"}, "need kafka_security_protocol SSL"),
        ({"kafka_security_protocol": "SSL", "kafka_ca": "absent.pem"}, "absent.pem: No such"),
        ({"kafka_security_protocol": "SSL", "kafka_client_key": "k.pem"}, "both or neither"),
    ],
)
def test_settings_that_contradict_each_other_stop_the_start(fields, said):
    with pytest.raises(ConfigurationError, match=said):
        make_admin(BusSettings(**fields)).describe()


@pytest.mark.usefixtures("topics")
def test_doctor_finds_a_wrong_password_and_passes_with_the_environment_of_a_pod(
    settings_of, tmp_path, monkeypatch
):
    # As in an image: the folder cannot be written, and nothing says where data would go.
    monkeypatch.chdir("/proc")
    settings, password = settings_of("gateway"), tmp_path / "kafka-password"
    names = [f"kafka_{name}" for name in ("bootstrap", "security_protocol", "username")]
    names += [f"kafka_{name}" for name in ("ca", "client_cert", "client_key")]
    variables = {f"ARNO_{name.upper()}": str(getattr(settings, name)) for name in names}
    variables["ARNO_KAFKA_PASSWORD_FILE"] = str(password)
    for word, level in ((USERS["gateway"], "OK"), ("another-password", "FAIL")):
        password.write_text(word)
        done = CliRunner(env=variables).invoke(root, ["doctor", "--json"])
        found = [json.loads(line) for line in done.stdout.splitlines()]
        levels = [one["level"] for one in found if one["subject"] == "kafka"]
        assert levels == ["OK", level], found
        faults = [one["subject"] for one in found if one["level"] == "FAIL"]
        assert faults == ([] if level == "OK" else ["kafka"]), found
        assert word not in done.output
