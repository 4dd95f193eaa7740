"""Settings of ``arno ingest``: where gateway and Kafka are, and which topics are read.

What has parts of its own (``topics``) stands only in the configuration file, YAML or TOML:

    address: 127.0.0.1:50051
    kafka_bootstrap: 127.0.0.1:9092
    topics:
      - topic: photos
        results: photos.results
        dead_letters: photos.dead
        tasks: [OD, {task: OPEN_VOCABULARY_DETECTION, classes: [helmet, vest]}]
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from arno.bus.settings import BusSettings, KafkaClientSettings
from arno.client.channel import DEFAULT_ADDRESS, Tls
from arno.errors import ArnoError
from arno.ops.config import FILE_ONLY, ObservabilitySettings, Settings
from arno.ops.secret_text import secret_text
from arno.vocabulary import Lane
from arno.vocabulary.checks import check_specs
from arno.vocabulary.spec import TaskSpec

_TOPIC_NAME: Final = r"^[A-Za-z0-9._-]{1,249}$"


class TaskEntry(Settings):
    """One task: its name alone, or its name with what it takes."""

    task: str = Field(description="Name of the task, such as OD.")
    id: str = Field("", description="Names it in the answer; default: its index.")
    text: str = Field("", description="Caption, phrase or prompt.")
    region: tuple[float, float, float, float] | None = Field(
        None, description="Box in pixels: x0, y0, x1, y1."
    )
    classes: tuple[str, ...] = Field((), description="Names to look for.")
    input_from: str = Field("", description="Id of an earlier task that gives the input.")
    fan_out_max: int | None = Field(None, description="Regions of that task that are followed.")
    num_beams: int | None = Field(None, description="Width of the beam search.")
    max_new_tokens: int | None = Field(None, description="Longest answer, in tokens.")
    constrained: bool = Field(False, description="Hold the answer to the form of its task.")
    min_score: float | None = Field(None, description="Leave out regions with a lower score.")

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"task": given} if isinstance(given, str) else given

    def spec(self) -> TaskSpec:
        """Return the task as the client takes it.

        Raises:
            InvalidFieldError: There is no such task.
        """
        return TaskSpec(**self.model_dump())


class TopicRoute(Settings):
    """From a topic of images to a topic of results."""

    topic: str = Field(
        pattern=_TOPIC_NAME, description="Topic to read; the value of a record is an image file."
    )
    results: str = Field(pattern=_TOPIC_NAME, description="Topic that gets the results.")
    dead_letters: str = Field(
        pattern=_TOPIC_NAME, description="Topic that gets records that cannot be answered."
    )
    tasks: tuple[TaskEntry, ...] = Field(min_length=1, description="Tasks to run on every image.")
    output: Literal["json", "protobuf"] = Field(
        "json", description="Form of the results: arno.api.v1.ResultEvent as JSON or as protobuf."
    )
    group: str = Field("arno-ingest", min_length=1, description="Consumer group that reads.")
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a group begins that has committed nothing."
    )
    lane: Lane = Field(Lane.BATCH, description="Priority class of the work.")
    window: int = Field(64, ge=1, le=10_000, description="Records in hand at once, at most.")
    bytes_in_hand_max: int = Field(
        256 * 1024**2, ge=1, description="Bytes of the records in hand above which reading pauses."
    )
    image_bytes_max: int = Field(
        16 * 1024**2,
        ge=1,
        le=256 * 1024**2,
        description="Largest image that is sent to the gateway; larger ones are dead letters.",
    )
    timeout_s: float = Field(
        60.0, gt=0, description="Time limit of one attempt to answer an image, in seconds."
    )
    attempts_max: int = Field(
        5, ge=1, description="Attempts that may time out or fail before an image is a dead letter."
    )
    partitions_check_s: float = Field(
        30.0, ge=0.1, description="How often added partitions are looked for."
    )

    @field_validator("tasks")
    @classmethod
    def _answerable(cls, tasks: tuple[TaskEntry, ...]) -> tuple[TaskEntry, ...]:
        try:
            check_specs([entry.spec() for entry in tasks])
        except ArnoError as error:
            raise ValueError(error.message) from error
        return tasks

    @model_validator(mode="after")
    def _three_topics(self) -> TopicRoute:
        if len({self.topic, self.results, self.dead_letters}) < 3:
            raise ValueError("topic, results and dead_letters must be three topics")
        return self

    def specs(self) -> list[TaskSpec]:
        """Return the tasks as the client takes them."""
        return [entry.spec() for entry in self.tasks]


class IngestSettings(ObservabilitySettings, KafkaClientSettings):
    """Settings of the process that reads streams."""

    topics: tuple[TopicRoute, ...] = Field(
        (),
        description="Topics to read; in the configuration file only.",
        json_schema_extra=FILE_ONLY,
    )
    address: str = Field(DEFAULT_ADDRESS, description="HOST:PORT of the gateway.")
    tls: bool = Field(False, description="Use TLS to the gateway; any tls_* setting implies it.")
    tls_ca: Path | None = Field(
        None, description="PEM file of authorities to trust; default: the system's."
    )
    tls_cert: Path | None = Field(None, description="PEM file of our certificate, for mutual TLS.")
    tls_key: Path | None = Field(None, description="PEM file of its private key.")
    api_key: SecretStr | None = Field(None, description="API key that is shown to the gateway.")
    api_key_file: Path | None = Field(
        None, description="File that holds it; ARNO_API_KEY may do so itself."
    )
    claim_timeout_s: float = Field(
        15.0,
        ge=0.1,
        description="Silence after which a worker counts as dead and its records go to others.",
    )
    drain_s: float = Field(
        30.0, ge=0, description="Time for the work in hand after SIGTERM, in seconds."
    )

    @field_validator("topics")
    @classmethod
    def _read_once(cls, topics: tuple[TopicRoute, ...]) -> tuple[TopicRoute, ...]:
        names = [route.topic for route in topics]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"named more than once: {', '.join(repeated)}")
        return topics

    def encryption(self) -> Tls | None:
        """Return how to speak TLS to the gateway; None for plain text."""
        files = (self.tls_ca, self.tls_cert, self.tls_key)
        return Tls(*files) if self.tls or any(files) else None

    def key_text(self) -> str:
        """Return the API key; empty for none.

        Raises:
            ConfigurationError: Its file cannot be read.
        """
        return secret_text(self.api_key, self.api_key_file, name="api_key")

    def bus_settings(self, **changes: Any) -> BusSettings:
        """Return what the clients of Kafka take."""
        largest = max(route.image_bytes_max for route in self.topics)
        given = {"claim_timeout_s": self.claim_timeout_s, "record_bytes_max": largest, **changes}
        return self.kafka(**given)
