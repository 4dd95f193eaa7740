"""Events of jobs that ended, from a real store to a real HTTP receiver that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import redis
from aiohttp import web
from arno.api.v1 import events_pb2, job_pb2
from arno.bus.v1.records_pb2 import JobOutcome, JobRecord
from arno.notify.service import serve
from arno.notify.settings import NotifySettings
from arno.results.gateway_store import GatewayStore
from arno.results.jobs import JobTerms
from arno.results.worker_store import WorkerStore
from google.protobuf import json_format
from support.builders import new_job
from support.eventually import eventually_async
from support.kafka_topics import Topics
from support.redis_server import RedisServer
from support.stand_in_worker import success

pytestmark = pytest.mark.redis

SECRET = "a secret of the shop"


@dataclass
class Receiver:
    """Answers as it is told to, one status a request, then 200; keeps what it got."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hang: bool = False
    location: str = ""
    url: str = ""

    @property
    def ids(self) -> list[str]:
        return [json.loads(body)["id"] for body in self.bodies]

    async def post(self, request: web.Request) -> web.Response:
        if self.hang:
            await asyncio.sleep(60)
        self.bodies.append(await request.read())
        self.headers.append(dict(request.headers))
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, headers={"Location": self.location})


@asynccontextmanager
async def receiving(**behaviour: object) -> AsyncIterator[Receiver]:
    receiver = Receiver(**behaviour)
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = site._server.sockets[0].getsockname()
    receiver.url = f"http://{host}:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


class Shop:
    """An installation's store, and the process that tells of its ends."""

    def __init__(self, server: RedisServer, prefix: str) -> None:
        self.server, self.prefix = server, prefix
        self.raw = redis.Redis.from_url(server.url)

    def settings(self, *subscriptions: dict[str, object], **fields: object) -> NotifySettings:
        return NotifySettings(
            redis_url=self.server.url,
            redis_key_prefix=self.prefix,
            subscriptions=subscriptions,
            silence_s=1.0,
            **fields,
        )

    @asynccontextmanager
    async def telling(self, settings: NotifySettings) -> AsyncIterator[None]:
        stop = asyncio.Event()
        serving = asyncio.create_task(serve(settings, stop=stop))

        async def subscribed() -> bool:
            key = f"{self.prefix}:outbox"
            groups = self.raw.xinfo_groups(key) if self.raw.exists(key) else []
            return len(groups) == len(settings.subscriptions) or serving.done()

        await eventually_async(subscribed, what="every subscription has its group")
        try:
            yield
        finally:
            stop.set()
            await serving

    async def end(
        self, *, notify: tuple[str, ...] = (), outcome: JobOutcome | None = None, **changes: object
    ) -> JobRecord:
        """Claim a job and end it, as a gateway and a worker do."""
        record = new_job(**changes)
        settings = self.settings()
        store, worker = GatewayStore(settings, gateway="g"), WorkerStore(settings)
        await store.claim(record, terms=JobTerms(notify=tuple(notify)))
        attempt = await asyncio.to_thread(worker.begin, record)
        assert await asyncio.to_thread(worker.finish, attempt, outcome or success(record))
        await store.close()
        worker.close()
        return record

    def undelivered(self) -> list[tuple[str, str]]:
        found = self.raw.xrange(f"{self.prefix}:undelivered")
        return [(one[b"job"].decode(), one[b"reason"].decode()) for _, one in found]

    def in_outbox(self) -> int:
        return self.raw.xlen(f"{self.prefix}:outbox")


@pytest.fixture
def shop(redis_server, unique_prefix):
    shop = Shop(redis_server, unique_prefix)
    yield shop
    shop.raw.close()


def hook(receiver: Receiver, name: str = "orders", **fields: object) -> dict[str, object]:
    webhook = {"url": receiver.url, "secret": SECRET, "allow_private": True, "timeout_s": 0.5}
    webhook |= {key: fields.pop(key) for key in ("allow_private", "url") if key in fields}
    return {"name": name, "webhook": webhook, **fields}


async def until(probe: Callable[[], object], what: str) -> None:
    async def asked() -> object:
        return probe()

    await eventually_async(asked, what=what)


async def test_event_is_a_signed_cloud_event_with_the_published_message(shop):
    async with receiving() as receiver, shop.telling(shop.settings(hook(receiver))):
        record = await shop.end()
        await until(lambda: receiver.bodies, "the event arrives")
        await until(lambda: shop.in_outbox() <= 1, "the outbox is trimmed")
    body, headers = receiver.bodies[0], receiver.headers[0]
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    event = json.loads(body)
    assert (event["specversion"], event["id"], event["source"]) == ("1.0", record.id, "arno")
    assert (event["type"], event["datacontenttype"]) == ("arno.job.ended.v1", "application/json")
    told = json_format.ParseDict(event["data"], events_pb2.ResultEvent())
    assert (told.job.state, told.job.tenant) == (job_pb2.JOB_STATE_SUCCEEDED, "acme")
    assert told.response.job_id == record.id
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


async def test_subscriptions_get_the_jobs_of_their_tenants_states_and_requests(shop):
    async with receiving() as mine, receiving() as asked, receiving() as failed:
        settings = shop.settings(
            hook(mine, "mine", tenants=["acme"]),
            hook(asked, "asked", on_request=True),
            hook(failed, "failed", states=["FAILED"]),
        )
        async with shop.telling(settings):
            plain = await shop.end()
            other = await shop.end(tenant="other", notify=("asked", "unknown"))
            bad = await shop.end(tenant="other", outcome=JobOutcome(state=job_pb2.JOB_STATE_FAILED))
            await until(lambda: mine.ids and asked.ids and failed.ids, "all events arrive")
            await until(lambda: shop.in_outbox() <= 1, "all subscriptions are done")
    assert (mine.ids, asked.ids, failed.ids) == ([plain.id], [other.id], [bad.id])


async def test_receiver_that_fails_gets_the_event_again_until_it_takes_it(shop):
    behaviour = {"statuses": [500, 503, 302], "location": "http://127.0.0.1:1/"}
    async with (
        receiving(**behaviour) as receiver,
        shop.telling(shop.settings(hook(receiver))),
    ):
        record = await shop.end()
        await until(lambda: len(receiver.bodies) == 4, "the fourth attempt")
    assert receiver.ids == [record.id] * 4
    assert len({header["webhook-id"] for header in receiver.headers}) == 1


async def test_receiver_that_hangs_holds_up_no_other_and_is_given_up(shop):
    async with receiving(hang=True) as hanging, receiving() as well:
        settings = shop.settings(hook(hanging, "hanging", give_up_s=0), hook(well, "well"))
        async with shop.telling(settings):
            record = await shop.end()
            await until(lambda: well.ids == [record.id], "the other gets its event")
            await until(shop.undelivered, "it is given up")
    assert shop.undelivered() == [(record.id, "no answer in time")]


async def test_receiver_that_is_gone_is_not_asked_again(shop):
    async with receiving(statuses=[410]) as receiver, shop.telling(shop.settings(hook(receiver))):
        record = await shop.end()
        await until(shop.undelivered, "it is given up")
    assert shop.undelivered() == [(record.id, "status 410")]
    assert len(receiver.bodies) == 1


async def test_event_that_cannot_be_read_is_given_up_and_others_go_on(shop):
    async with (
        receiving() as receiver,
        shop.telling(shop.settings(hook(receiver, give_up_s=0))),
    ):
        spoiled, outbox = f"{shop.prefix}:job:spoiled", f"{shop.prefix}:outbox"
        shop.raw.hset(spoiled, mapping={"state": "SUCCEEDED", "tenant": "acme"})
        shop.raw.set(f"{shop.prefix}:job:foreign", "a text")
        for fields in ({"job": "spoiled"}, {"job": "foreign"}, {"job": b"\xff"}, {"what": "ever"}):
            shop.raw.xadd(outbox, fields)
        record = await shop.end()
        await until(lambda: receiver.ids == [record.id], "the event of another job arrives")
        await until(shop.undelivered, "it is given up")
        await until(lambda: shop.in_outbox() <= 1, "no entry keeps the outbox from being trimmed")
    assert shop.undelivered() == [("spoiled", "b'submitted_at_ms'")]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
async def test_private_address_is_not_connected_to_unless_it_is_allowed(shop, host):
    async with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", host)
        subscription = hook(receiver, url=url, allow_private=False, give_up_s=0)
        async with shop.telling(shop.settings(subscription)):
            await shop.end()
            await until(shop.undelivered, "it is given up")
    assert "which is private" in shop.undelivered()[0][1]
    assert receiver.bodies == []


async def test_events_of_a_process_that_left_in_the_middle_go_to_the_next(shop):
    async with receiving(statuses=[500]) as receiver:
        settings = shop.settings(hook(receiver))
        async with shop.telling(settings):
            record = await shop.end()
            await until(lambda: receiver.bodies, "the first attempt fails")
        missed = await shop.end()
        async with shop.telling(settings):
            await until(lambda: len(receiver.bodies) == 3, "both are delivered")
    assert sorted(receiver.ids) == sorted([record.id, record.id, missed.id])


@pytest.mark.kafka
async def test_topic_gets_a_cloud_event_keyed_by_its_job(shop, kafka_broker, unique_prefix):
    topics = Topics(kafka_broker.bootstrap)
    topic = topics.create(f"{unique_prefix}.results")
    subscription = {"name": "results", "topic": topic, "output": "protobuf"}
    settings = shop.settings(subscription, kafka_bootstrap=kafka_broker.bootstrap)
    async with shop.telling(settings):
        record = await shop.end()
        await until(lambda: topics.size(topic), "the record is there")
    (found,) = topics.read(topic)
    topics.close()
    assert found.key == record.id.encode()
    assert (found.header("ce_id"), found.header("ce_specversion")) == (record.id, "1.0")
    assert found.header("content-type") == "application/protobuf"
    assert events_pb2.ResultEvent.FromString(found.value).job.id == record.id


async def test_without_subscriptions_nothing_is_noted(shop):
    await shop.end()
    assert shop.in_outbox() == 0
