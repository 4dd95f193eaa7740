"""The settings choose the bus."""

from __future__ import annotations

import pytest
from arno.bus import BusSettings, make_admin, make_consumer, make_publisher
from arno.bus.kafka import KafkaConsumer, KafkaPublisher, KafkaTopicAdmin
from arno.bus.redis_streams import RedisStreamsAdmin, RedisStreamsConsumer, RedisStreamsPublisher
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("bus", "publisher", "consumer", "admin"),
    [
        ("kafka", KafkaPublisher, KafkaConsumer, KafkaTopicAdmin),
        ("redis", RedisStreamsPublisher, RedisStreamsConsumer, RedisStreamsAdmin),
    ],
)
def test_settings_choose_the_adapter(
    bus: str, publisher: type, consumer: type, admin: type
) -> None:
    settings = BusSettings.model_validate({"bus": bus})
    assert type(make_publisher(settings)) is publisher
    assert type(make_consumer(settings, ["batch"])) is consumer
    made = make_admin(settings)
    assert type(made) is admin
    made.close()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in BusSettings.model_fields.values())


@pytest.mark.parametrize("prefix", ["", "two words", "a/b"])
def test_prefix_that_is_no_topic_name_is_refused(prefix: str) -> None:
    with pytest.raises(ValidationError, match="topic_prefix"):
        BusSettings(topic_prefix=prefix)
