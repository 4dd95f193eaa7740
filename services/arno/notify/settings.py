"""Settings of ``arno notify``: the store, Kafka, and the subscriptions.

redis_url: redis://127.0.0.1:6379/0
subscriptions:
  - name: orders                       # jobs that name it: arno job submit --notify orders
    on_request: true
    webhook: {url: "https://shop.example/arno", secret_file: /run/secrets/orders}
  - name: results                      # every job of two tenants
    tenants: [acme, globex]
    topic: arno.results
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from arno.bus.settings import KafkaClientSettings
from arno.ops.config import FILE_ONLY, ObservabilitySettings, Settings
from arno.ops.secret_text import secret_text
from arno.results.settings import ResultSettings
from arno.vocabulary import JobState


class Webhook(Settings):
    """Where events are posted."""

    url: str = Field(description="Address that gets a POST for each event: https, or http.")
    secret: SecretStr | None = Field(None, description="Key of the signature.")
    secret_file: Path | None = Field(None, description="File with the secret.")
    timeout_s: float = Field(10.0, gt=0, le=60, description="Time for one attempt, in seconds.")
    allow_private: bool = Field(
        False, description="Allow addresses of private networks and of this machine."
    )

    @field_validator("url")
    @classmethod
    def _is_one(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be https://HOST/... or http://HOST/...")
        if parts.username or parts.password:
            raise ValueError("must hold no user and no password: the receiver checks the signature")
        return url

    @model_validator(mode="after")
    def _is_signed(self) -> Webhook:
        if (self.secret is None) == (self.secret_file is None):
            raise ValueError("webhook: give one of secret and secret_file")
        return self

    def key(self) -> bytes:
        """Return the key of the signature.

        Raises:
            ConfigurationError: Its file cannot be read.
        """
        return secret_text(self.secret, self.secret_file, name="secret").encode()


class Subscription(Settings):
    """A receiver, and the ends of jobs that are sent to it."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Names it, also in requests that want it."
    )
    webhook: Webhook | None = Field(None, description="Where events are posted.")
    topic: str = Field(
        "", pattern=r"^[A-Za-z0-9._-]{0,249}$", description="Topic of Kafka that gets the events."
    )
    output: Literal["json", "protobuf"] = Field(
        "json", description="Form of the events in the topic."
    )
    on_request: bool = Field(
        False, description="Only jobs whose request names this subscription; else every job."
    )
    tenants: tuple[str, ...] = Field((), description="Tenants whose jobs count; empty: all.")
    states: tuple[JobState, ...] = Field((), description="Ends that count; empty: all.")
    in_flight: int = Field(16, ge=1, le=1000, description="Events that are delivered at once.")
    give_up_s: float = Field(
        6 * 3600.0, ge=0, description="Age at which an event that is not taken is given up."
    )

    @field_validator("states")
    @classmethod
    def _are_ends(cls, states: tuple[JobState, ...]) -> tuple[JobState, ...]:
        others = [state.value for state in states if not state.ended]
        if others:
            raise ValueError(f"no ends: {', '.join(others)}")
        return states

    @model_validator(mode="after")
    def _has_one_target(self) -> Subscription:
        if (self.webhook is None) == (not self.topic):
            raise ValueError(f"{self.name}: give one of webhook and topic")
        return self

    def wants(self, tenant: str, state: JobState, named: tuple[str, ...]) -> bool:
        """Return whether it gets the event of a job's end."""
        return (
            (not self.on_request or self.name in named)
            and (not self.tenants or tenant in self.tenants)
            and (not self.states or state in self.states)
        )


class NotifySettings(ObservabilitySettings, ResultSettings, KafkaClientSettings):
    """Settings of the process that tells of ends."""

    help_section = "Events"

    subscriptions: tuple[Subscription, ...] = Field(
        (),
        description="The subscriptions; in the configuration file only.",
        json_schema_extra=FILE_ONLY,
    )
    events_source: str = Field(
        "arno",
        min_length=1,
        description="`source` of the CloudEvents: names this installation to its readers.",
    )

    silence_s: float = Field(
        180.0,
        ge=1,
        description="Silence after which events of a process go to others; the longest "
        "pause between two attempts is a third of it.",
    )

    @field_validator("subscriptions")
    @classmethod
    def _have_names(cls, given: tuple[Subscription, ...]) -> tuple[Subscription, ...]:
        names = [one.name for one in given]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"named more than once: {', '.join(repeated)}")
        return given
