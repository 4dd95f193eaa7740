"""Where events go: a topic of Kafka, or a webhook that must not be led into a private network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any, Final, Protocol

import aiohttp
from cloudevents.core.bindings.http import to_structured
from cloudevents.core.bindings.kafka import to_binary
from cloudevents.core.formats.json import JSONFormat

from arno import __version__
from arno.api.v1.events_pb2 import ResultEvent
from arno.bus.kafka.sender import KafkaSender, Outgoing
from arno.errors import ArnoError, LimitExceededError
from arno.notify.events import JSON, PROTOBUF, cloud_event
from arno.notify.settings import Subscription, Webhook
from arno.ops.public_addresses import PublicResolver, require_public_literal

_GONE: Final = 410
_ANSWER_BYTES_MAX: Final = 4096
_SEND_TIMEOUT_S: Final = 45.0
_FORMAT: Final = JSONFormat()


class UndeliveredError(Exception):
    """An event was not taken.

    Attributes:
        final: Whether another attempt makes no sense.
        retry_after_s: What the receiver asked for; 0 where it did not.
    """

    def __init__(self, reason: str, *, final: bool = False, retry_after_s: float = 0.0) -> None:
        """Take the reason in words."""
        super().__init__(reason)
        self.final = final
        self.retry_after_s = retry_after_s


class Target(Protocol):
    """Takes events."""

    async def deliver(self, event: ResultEvent) -> None:
        """Return once the event is taken.

        Raises:
            UndeliveredError: It is not.
        """

    async def close(self) -> None:
        """Disconnect. Idempotent."""


class TopicTarget:
    """A topic; the key of a record is the job's id, and its headers are the CloudEvent's."""

    def __init__(self, sender: KafkaSender, subscription: Subscription, *, source: str) -> None:
        """Take a connected sender."""
        self._sender = sender
        self._topic = subscription.topic
        self._content_type = JSON if subscription.output == "json" else PROTOBUF
        self._source = source

    async def deliver(self, event: ResultEvent) -> None:
        """Return once Kafka has the record on all in-sync replicas."""
        carried = cloud_event(event, source=self._source, content_type=self._content_type)
        message = to_binary(carried, _FORMAT)
        record = Outgoing(
            self._topic,
            message.value,
            key=event.id.encode(),
            headers=list(message.headers.items()),
        )
        try:
            await self._sender.send(record, timeout_s=_SEND_TIMEOUT_S)
        except ArnoError as error:
            final = isinstance(error, LimitExceededError)
            raise UndeliveredError(error.message, final=final) from error

    async def close(self) -> None:
        """Leave the sender, which is shared, to its owner."""


class WebhookTarget:
    """Posts CloudEvents in structured JSON, signed as Standard Webhooks are."""

    def __init__(self, webhook: Webhook, *, source: str) -> None:
        """Take the address; connections are made in the running loop.

        Raises:
            ConfigurationError: The secret cannot be read.
        """
        self._url = webhook.url
        self._key = webhook.key()
        self._source = source
        self._allow_private = webhook.allow_private
        resolver = None if webhook.allow_private else PublicResolver(setting="allow_private")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, limit=0, use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=webhook.timeout_s),
            headers={"User-Agent": f"arno/{__version__}"},
        )

    async def deliver(self, event: ResultEvent) -> None:
        """Return once the receiver has answered with 2xx; a redirect is not followed."""
        carried = cloud_event(event, source=self._source, content_type=JSON)
        message = to_structured(carried, _FORMAT)
        headers = {**message.headers, **signature(self._key, event.id, message.body)}
        try:
            if not self._allow_private:
                require_public_literal(self._url, setting="allow_private")
            async with self._session.post(
                self._url, data=message.body, headers=headers, allow_redirects=False
            ) as answer:
                # Read, so that the connection can be used again; a little, so that it ends.
                await answer.content.read(_ANSWER_BYTES_MAX)
                _judge(answer)
        except TimeoutError as error:
            raise UndeliveredError("no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UndeliveredError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._session.close()


def signature(
    key: bytes, event_id: str, body: bytes, *, now_s: int | None = None
) -> dict[str, str]:
    """Return the headers that prove to a receiver who sent the body, and when."""
    stamp = str(int(time.time()) if now_s is None else now_s)
    signed = b".".join((event_id.encode(), stamp.encode(), body))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{digest}",
    }


def _judge(answer: Any) -> None:
    if 200 <= answer.status < 300:
        return
    after = answer.headers.get("Retry-After", "")
    raise UndeliveredError(
        f"status {answer.status}",
        final=answer.status == _GONE,
        retry_after_s=float(after) if after.isdecimal() else 0.0,
    )
