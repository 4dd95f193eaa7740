"""Gateway, worker and operator on a redis-server behind TLS, each with the rights of its own user.

The rules are those of deploy/redis/users.acl, as docs/security.md tells people to use them.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import redis
from arno.api.v1 import job_pb2
from arno.bus import (
    DEAD_LETTERS,
    Record,
    make_admin,
    make_consumer,
    make_dead_letter_queue,
    make_publisher,
)
from arno.bus.settings import BusSettings
from arno.cli.main import root
from arno.errors import ArnoError, BackendUnavailableError, ConfigurationError
from arno.gateway.settings import GatewaySettings
from arno.ops.redis_access import RedisAccessSettings
from arno.results.gateway_store import GatewayStore
from arno.vocabulary import Lane
from click.testing import CliRunner
from support import images
from support.availability import require
from support.certificates import Authority
from support.eventually import eventually
from support.gateway_calls import infer_request
from support.secure_redis import WAYS_TO_GET_IT, SecureRedisServer, tls_executable
from support.stand_in_worker import StandInWorker

pytestmark = pytest.mark.redis

RULES = Path(__file__).parents[3] / "deploy" / "redis" / "users.acl"
ADMIN = "user admin on >admin-password ~* &* +@all\n"
PASSWORDS = {name: f"{name}-password-0123" for name in ("gateway", "worker", "operator")}


def rules() -> str:
    text = RULES.read_text()
    for name, password in PASSWORDS.items():
        text = text.replace(f"@{name.upper()}_PASSWORD@", password)
    return text + ADMIN


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server(tmp_path_factory, authority):
    executable = tls_executable()
    require(executable, WAYS_TO_GET_IT)
    server = SecureRedisServer(
        tmp_path_factory.mktemp("redis"),
        executable,
        pair=authority.pair("redis"),
        ca=authority.ca,
        acl=rules(),
        mutual=True,
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def admin(server, authority):
    pair = authority.pair("admin")
    client = redis.Redis.from_url(
        server.url,
        username="admin",
        password="admin-password",
        ssl_ca_certs=str(authority.ca),
        ssl_certfile=str(pair.certificate),
        ssl_keyfile=str(pair.key),
    )
    client.flushall()
    client.acl_log_reset()
    yield client
    client.close()


@pytest.fixture
def settings_of(server, authority, tmp_path):
    def build(name, **fields):
        password = tmp_path / f"{name}-password"
        password.write_text(f"{PASSWORDS[name]}\n")
        pair = authority.pair(name)
        given = {
            "bus": "redis",
            "redis_url": server.url,
            "redis_username": f"arno-{name}",
            "redis_password_file": password,
            "redis_ca": authority.ca,
            "redis_client_cert": pair.certificate,
            "redis_client_key": pair.key,
            "listen": "127.0.0.1:0",
            "drain_s": 2,
            "inline_image_bytes_max": 1000,
            "claim_timeout_s": 0.5,
        }
        return GatewaySettings(**{**given, **fields})

    return build


@pytest.fixture
def topics(settings_of, admin):
    operator = make_admin(settings_of("operator"))
    assert operator.ensure_topics()
    operator.close()


def denied(admin) -> list[str]:
    # A gateway asks for settings in order to warn, and does without: they hold passwords.
    return [
        f"{one['username']}: {one['object']} ({one['reason']})"
        for one in admin.acl_log()
        if one["object"] != "config|get"
    ]


@pytest.mark.usefixtures("topics")
async def test_users_may_do_all_that_arno_does(settings_of, admin, running_gateway):
    with StandInWorker(settings_of("worker")) as worker:
        async with running_gateway(settings_of("gateway")) as gateway:
            large = images.png(300, 200) + b"\0" * 2000
            for content in (None, large):
                answer = await gateway.vision.Infer(infer_request(content=content))
                assert answer.results[0].HasField("answer")
            request = infer_request(idempotency_key="again")
            await gateway.vision.Infer(request)
            await gateway.vision.Infer(request)
            submit = job_pb2.SubmitJobRequest(image=request.image, tasks=request.tasks)
            job_id = (await gateway.jobs.SubmitJob(submit)).job.id
            seen = [
                one.job.state
                async for one in gateway.jobs.WatchJob(job_pb2.WatchJobRequest(job_id=job_id))
            ]
            assert seen[-1] == job_pb2.JOB_STATE_SUCCEEDED
            await gateway.jobs.CancelJob(job_pb2.CancelJobRequest(job_id=job_id))
            await gateway.jobs.DeleteJob(job_pb2.DeleteJobRequest(job_id=job_id))
    assert worker.taken
    assert denied(admin) == []


@pytest.mark.usefixtures("topics")
async def test_operator_may_handle_dead_letters(settings_of, admin):
    publisher = make_publisher(settings_of("worker"))
    await publisher.start()
    await publisher.publish(Record(DEAD_LETTERS, b"a letter"), timeout_s=10)
    await publisher.close()

    def handle():
        box = make_dead_letter_queue(settings_of("operator"))
        try:
            return [letter.value for letter in box.read()], box.purge(2**62)
        finally:
            box.close()

    assert await asyncio.to_thread(handle) == ([b"a letter"], 1)
    assert denied(admin) == []


@pytest.mark.usefixtures("topics")
async def test_worker_may_take_over_what_another_left(settings_of, admin):
    publisher = make_publisher(settings_of("gateway"))
    await publisher.start()
    await publisher.publish(Record(Lane.BATCH, b"a job"), timeout_s=10)
    await publisher.close()

    def take_over():
        first, second = (make_consumer(settings_of("worker"), [Lane.BATCH]) for _ in range(2))
        first.start()
        assert eventually(lambda: first.poll(0.05))
        second.start()
        (delivery,) = eventually(lambda: second.poll(0.05))
        second.done(delivery.receipt)
        second.close()
        first.close()
        return delivery.record.value

    assert await asyncio.to_thread(take_over) == b"a job"
    assert denied(admin) == []


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("gateway", ["FLUSHALL"]),
        ("gateway", ["CONFIG", "GET", "*"]),
        ("gateway", ["KEYS", "*"]),
        ("gateway", ["GET", "another:key"]),
        ("gateway", ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "arno.jobs.batch", ">"]),
        ("worker", ["GET", "arno:idempotency:acme:key"]),
        ("worker", ["DEL", "arno:blob:digest"]),
        ("worker", ["EVAL", "return 1", "0"]),
        ("operator", ["ACL", "LIST"]),
        ("operator", ["KEYS", "*"]),
    ],
)
def test_users_may_do_nothing_else(settings_of, user, command):
    settings = settings_of(user)
    client = redis.Redis.from_url(settings.redis_url, **settings.redis_options())
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)
    client.close()


@pytest.mark.parametrize(
    "change",
    [
        {"redis_url": "redis"},
        {"redis_ca": None},
        {"redis_client_cert": None, "redis_client_key": None},
        {"redis_password_file": "wrong"},
        {"redis_username": "", "redis_password_file": None},
    ],
    ids=["plain text", "unknown authority", "no certificate", "wrong password", "no user"],
)
async def test_who_lacks_anything_is_not_let_in_and_says_no_secret(
    settings_of, tmp_path, caplog, change
):
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong-password-0123")
    settings = settings_of("gateway")
    fields = {name: wrong if value == "wrong" else value for name, value in change.items()}
    if fields.get("redis_url") == "redis":
        fields = {"redis_url": settings.redis_url.replace("rediss:", "redis:")}
        fields |= {"redis_ca": None, "redis_client_cert": None, "redis_client_key": None}
    settings = settings.model_copy(update=fields)
    store = GatewayStore(settings, gateway="g")
    with pytest.raises(BackendUnavailableError) as caught:
        await store.start()
    await store.close()
    with pytest.raises(ArnoError) as refused:
        make_admin(settings).ensure_topics()
    for text in (str(caught.value), str(refused.value), caplog.text):
        assert "password-0123" not in text


@pytest.mark.usefixtures("topics")
async def test_password_is_rotated_without_a_restart(settings_of, admin, tmp_path):
    settings = settings_of("gateway")
    store = GatewayStore(settings, gateway="g")
    await store.start()
    try:
        admin.execute_command("ACL", "SETUSER", "arno-gateway", "resetpass", ">new-password")
        admin.execute_command("CLIENT", "KILL", "USER", "arno-gateway")
        (tmp_path / "gateway-password").write_text("new-password\n")
        await store.get("absent")
    finally:
        await store.close()
        old = f">{PASSWORDS['gateway']}"
        admin.execute_command("ACL", "SETUSER", "arno-gateway", "resetpass", old)


@pytest.mark.usefixtures("topics")
async def test_gateway_sees_how_full_redis_is_where_its_user_may_ask(settings_of, admin):
    store = GatewayStore(settings_of("gateway"), gateway="g")
    await store.start()
    try:
        memory = await store.memory_bytes()
        assert memory is not None
        assert 0 < memory[0] < memory[1]
        # As it was with the rules of an earlier release.
        admin.execute_command("ACL", "SETUSER", "arno-gateway", "-info")
        assert await store.memory_bytes() is None
    finally:
        admin.execute_command("ACL", "SETUSER", "arno-gateway", "+info")
        await store.close()


def all_redis_findings(**variables: str) -> list[dict[str, str]]:
    done = CliRunner(env=variables).invoke(root, ["doctor", "--json", "--data", "absent"])
    findings = [json.loads(line) for line in done.output.splitlines()]
    return [one for one in findings if one["subject"] == "redis"]


def redis_finding(**variables: str) -> dict[str, str]:
    return all_redis_findings(**variables)[0]


def test_doctor_reaches_redis_as_the_servers_would(settings_of, server):
    settings = settings_of("gateway")
    names = [name for name in RedisAccessSettings.model_fields if getattr(settings, name)]
    variables = {f"ARNO_{name.upper()}": str(getattr(settings, name)) for name in names}
    found = redis_finding(**variables)
    assert (found["level"], found["found"]) == ("OK", f"127.0.0.1:{server.port} answers, over TLS")
    wrong = all_redis_findings(**{**variables, "ARNO_REDIS_PASSWORD_FILE": __file__})
    assert [one["level"] for one in wrong] == ["OK", "FAIL"]
    assert [one["level"] for one in all_redis_findings(**variables)] == ["OK", "OK"]
    distrust = redis_finding(**{**variables, "ARNO_REDIS_CA": str(settings.redis_client_cert)})
    assert distrust["level"] == "FAIL"
    assert "certificate" in distrust["found"]
    plain = {"ARNO_REDIS_URL": server.url.replace("rediss:", "redis:")}
    assert redis_finding(**plain)["level"] == "FAIL"


def test_contradicting_settings_stop_the_start_before_any_connection():
    with pytest.raises(ConfigurationError, match="rediss"):
        make_admin(BusSettings(bus="redis", redis_ca=Path("ca.pem"))).ensure_topics()
