"""Both buses over a network that breaks, half-breaks, forgets and drags."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from arno.bus import BusSettings, make_admin
from arno.ops.ports import free_port
from arno.vocabulary import Lane
from support.availability import require
from support.bus_load import BackgroundLoad
from support.eventually import eventually
from support.kafka_broker import WAYS_TO_GET_IT, KafkaBroker, kafka_available
from support.polled_consumer import PolledConsumer
from support.redis_server import RedisServer
from support.tcp_proxy import ThreadedProxy, proxy_on_a_thread

Strike = Callable[[ThreadedProxy], None]

# What happens, and then what makes it well again; a forgotten connection heals by itself or never.
FAULTS: dict[str, Strike] = {
    "cut": lambda proxy: proxy.cut(),
    "half-closed": lambda proxy: proxy.half_close(),
    "forgotten": lambda proxy: proxy.mute(),
    "slow": lambda proxy: proxy.set(delay_s=0.1),
}


@pytest.fixture(scope="module")
def distant_kafka(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[KafkaBroker, ThreadedProxy]]:
    """A broker that sends its clients to a proxy."""
    require(kafka_available(), WAYS_TO_GET_IT)
    broker = KafkaBroker(tmp_path_factory.mktemp("distant-kafka"))
    broker.advertised_port = free_port()
    broker.start()
    with proxy_on_a_thread(broker.port, port=broker.advertised_port) as proxy:
        yield broker, proxy
    broker.stop()


@pytest.fixture
def kafka(
    distant_kafka: tuple[KafkaBroker, ThreadedProxy], unique_prefix: str
) -> tuple[BusSettings, ThreadedProxy]:
    _, proxy = distant_kafka
    proxy.set()
    settings = BusSettings(
        kafka_bootstrap=f"127.0.0.1:{proxy.port}",
        topic_prefix=unique_prefix,
        group=unique_prefix,
        partitions=2,
        claim_timeout_s=4.0,
    )
    return settings, proxy


@pytest.fixture
def streams(
    redis_server: RedisServer, unique_prefix: str
) -> Iterator[tuple[BusSettings, ThreadedProxy]]:
    with proxy_on_a_thread(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        settings = BusSettings(
            bus="redis", redis_url=url, topic_prefix=unique_prefix, group=unique_prefix
        )
        yield settings, proxy


@pytest.mark.parametrize("bus", ["kafka", "streams"])
@pytest.mark.parametrize("fault", FAULTS)
def test_bad_network_loses_nothing_that_was_acknowledged(
    request: pytest.FixtureRequest, bus: str, fault: str
) -> None:
    settings, proxy = request.getfixturevalue(bus)
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    with PolledConsumer(settings, [Lane.BATCH]) as one, BackgroundLoad(settings) as load:
        eventually(lambda: len(one.deliveries) > 20)
        FAULTS[fault](proxy)
        accepted, delivered = len(load.acknowledged), len(one.deliveries)
        eventually(
            lambda: len(load.acknowledged) > accepted + 20 and len(one.deliveries) > delivered + 20,
            timeout_s=60,
            what="the bus goes on",
        )
        load.close()
        eventually(lambda: load.acknowledged <= set(one.values), timeout_s=60)
    assert load.refused_count == 0


@pytest.mark.parametrize("bus", ["kafka", "streams"])
def test_network_that_is_away_for_a_while_loses_nothing(
    request: pytest.FixtureRequest, bus: str
) -> None:
    settings, proxy = request.getfixturevalue(bus)
    admin = make_admin(settings)
    admin.ensure_topics()
    admin.close()
    with PolledConsumer(settings, [Lane.BATCH]) as one, BackgroundLoad(settings) as load:
        eventually(lambda: len(one.deliveries) > 20)
        proxy.set(refusing=True)
        proxy.cut()
        sent = load.sent_count
        eventually(lambda: load.sent_count > sent + 50, what="records wait for the network")
        proxy.set()
        load.close()
        eventually(lambda: load.acknowledged <= set(one.values), timeout_s=60)
    assert len(load.acknowledged) + load.refused_count == load.sent_count
    assert load.refused_count == 0
