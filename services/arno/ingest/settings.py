"""Settings of ``arno ingest``: where gateway and Kafka are, which topics and videos are read.

Topics and sources have parts of their own, and stand only in the configuration file, YAML or TOML:

    address: 127.0.0.1:50051
    kafka_bootstrap: 127.0.0.1:9092
    topics:
      - topic: photos
        results: photos.results
        dead_letters: photos.dead
        tasks: [OD, {task: OPEN_VOCABULARY_DETECTION, classes: [helmet, vest]}]
    sources:
      - name: gate
        source: rtsp://camera/1
        tasks: [OD]
        fps: 2
        events: gate.jsonl
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from arno.bus.settings import BusSettings, KafkaClientSettings
from arno.client.channel import DEFAULT_ADDRESS, Tls
from arno.errors import ArnoError
from arno.ingest.videos.tracking import LOST_S, Place, place
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


class References(Settings):
    """Where references to images may lead; what is not listed here is refused."""

    hosts: tuple[str, ...] = Field(
        (), description="Hosts of https:// addresses; *.example.com is every name below it."
    )
    http: bool = Field(False, description="Allow http:// addresses of these hosts, too.")
    buckets: dict[str, str] = Field(
        {}, description="Buckets of s3:// references: the https:// address of each, without key."
    )
    folders: tuple[Path, ...] = Field(
        (), description="Folders of file:// references and absolute paths."
    )
    allow_private: bool = Field(
        False, description="Allow addresses of private networks and of this machine."
    )
    timeout_s: float = Field(10.0, gt=0, le=300, description="Time for one attempt, in seconds.")
    in_flight: int = Field(
        16, ge=1, le=1000, description="Images of references that are in memory at once."
    )

    @field_validator("hosts")
    @classmethod
    def _are_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"(\*\.)?[A-Za-z0-9.:_-]+", host):
                raise ValueError(f"{host}: not a host; allowed: HOST, HOST:PORT or *.DOMAIN")
        return tuple(host.lower() for host in hosts)

    @field_validator("buckets")
    @classmethod
    def _have_addresses(cls, buckets: dict[str, str]) -> dict[str, str]:
        for name, url in buckets.items():
            if not re.fullmatch(r"https?://[^/?#@]+(/[^?#]*)?", url):
                raise ValueError(f"{name}: not an address; allowed: https://HOST/PATH")
        return buckets

    @field_validator("folders")
    @classmethod
    def _are_absolute(cls, folders: tuple[Path, ...]) -> tuple[Path, ...]:
        for folder in folders:
            if not folder.is_absolute():
                raise ValueError(f"{folder}: must be absolute")
        return folders


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
    references: References | None = Field(
        None, description="The values are references to images, which lead to what is named here."
    )
    output: Literal["json", "protobuf"] = Field(
        "json", description="Form of the results: arno.api.v1.ResultEvent as JSON or as protobuf."
    )
    group: str = Field("arno-ingest", min_length=1, description="Consumer group that reads.")
    start: Literal["earliest", "latest"] = Field(
        "earliest", description="Where a group begins that has committed nothing."
    )
    lane: Lane = Field(Lane.BATCH, description="Priority class of the work.")
    window: int = Field(
        256,
        ge=1,
        le=10_000,
        description="Records in flight at once, at most; fewer where answers are slow.",
    )
    bytes_in_hand_max: int = Field(
        256 * 1024**2,
        ge=1,
        description="Bytes of the records in flight above which reading pauses.",
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
        return _checked(tasks)

    @model_validator(mode="after")
    def _three_topics(self) -> TopicRoute:
        if len({self.topic, self.results, self.dead_letters}) < 3:
            raise ValueError("topic, results and dead_letters must be three topics")
        return self

    def specs(self) -> list[TaskSpec]:
        """Return the tasks as the client takes them."""
        return [entry.spec() for entry in self.tasks]


def _checked(tasks: tuple[TaskEntry, ...]) -> tuple[TaskEntry, ...]:
    try:
        check_specs([entry.spec() for entry in tasks])
    except ArnoError as error:
        raise ValueError(error.message) from error
    return tasks


class VideoSource(Settings):
    """One video or camera: what is asked about its frames, and where the events go."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Names it in logs and metrics.")
    source: str = Field(min_length=1, description="A file, an address such as rtsp://, a camera.")
    tasks: tuple[TaskEntry, ...] = Field(min_length=1, description="Tasks to run on every frame.")
    events: Path | None = Field(
        None, description="File that gets a line of JSON for each frame, at its end."
    )
    topic: str = Field(
        "",
        pattern=r"^[A-Za-z0-9._-]{0,249}$",
        description="Topic of Kafka that gets these lines, keyed by name.",
    )
    video: Path | None = Field(
        None,
        description="File that gets the answered frames, MP4; an earlier one becomes NAME-1.mp4.",
    )
    fps: float | None = Field(None, gt=0, description="Frames a second that are read; None: all.")
    key_frames: bool = Field(
        False, description="Decode key frames alone, and sample among them: costs far less."
    )
    realtime: bool = Field(False, description="Read a file no faster than it plays.")
    policy: Literal["all", "latest", "adaptive"] = Field(
        "latest", description="When the model is slower: wait, keep the newest, hold latency_s."
    )
    latency_s: float = Field(1.0, gt=0, description="What the policy adaptive holds.")
    in_flight: int = Field(4, ge=1, le=64, description="Frames open at once.")
    timeout_s: float = Field(30.0, gt=0, le=600, description="Time limit of a frame.")
    hold_bits: int | None = Field(
        None, ge=0, le=256, description="Bits of the hash that may change in a picture held."
    )
    track: bool = Field(False, description="Follow objects.")
    lines: dict[str, tuple[float, ...]] = Field({}, description="Lines: x0, y0, x1, y1.")
    zones: dict[str, tuple[float, ...]] = Field({}, description="Zones: x, y, x, y, x, y, ...")
    lost_s: float = Field(LOST_S, gt=0, description="An object not seen for so long has left.")

    @field_validator("tasks")
    @classmethod
    def _answerable(cls, tasks: tuple[TaskEntry, ...]) -> tuple[TaskEntry, ...]:
        return _checked(tasks)

    @model_validator(mode="after")
    def _tells(self) -> VideoSource:
        if self.events is None and not self.topic:
            raise ValueError(f"{self.name}: give events, topic, or both")
        return self

    @model_validator(mode="after")
    def _has_places(self) -> VideoSource:
        try:
            self.places(line=True), self.places(line=False)
        except ArnoError as error:
            raise ValueError(error.message) from error
        return self

    def specs(self) -> list[TaskSpec]:
        """Return the tasks as the client takes them."""
        return [entry.spec() for entry in self.tasks]

    def places(self, *, line: bool) -> tuple[Place, ...]:
        """Return the lines or the zones.

        Raises:
            InvalidFieldError: One has another number of corners.
        """
        field, given = ("lines", self.lines) if line else ("zones", self.zones)
        return tuple(place(name, corners, field, line=line) for name, corners in given.items())


def _refuse_repeated(names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"named more than once: {', '.join(repeated)}")


class IngestSettings(ObservabilitySettings, KafkaClientSettings):
    """Settings of the process that reads streams."""

    help_section = "Streams and their gateway"

    topics: tuple[TopicRoute, ...] = Field(
        (),
        description="Topics to read; in the configuration file only.",
        json_schema_extra=FILE_ONLY,
    )
    sources: tuple[VideoSource, ...] = Field(
        (),
        description="Videos and cameras; in the configuration file only.",
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
        None, description="File with the API key; ARNO_API_KEY may hold the key itself."
    )
    claim_timeout_s: float = Field(
        15.0,
        ge=0.1,
        description="Silence after which a worker counts as dead and its records go to others.",
    )
    preview: bool = Field(
        False,
        description="Show what the sources see at /preview beside the metrics, to everyone who can "
        "read those.",
    )
    drain_s: float = Field(
        30.0, ge=0, description="Time for the work in flight after SIGTERM, in seconds."
    )

    @field_validator("topics")
    @classmethod
    def _read_once(cls, topics: tuple[TopicRoute, ...]) -> tuple[TopicRoute, ...]:
        names = [route.topic for route in topics]
        _refuse_repeated(names)
        return topics

    @field_validator("sources")
    @classmethod
    def _named_once(cls, sources: tuple[VideoSource, ...]) -> tuple[VideoSource, ...]:
        _refuse_repeated([one.name for one in sources])
        written = [path for one in sources for path in (one.events, one.video) if path]
        _refuse_repeated([str(path) for path in written])
        read = {Path(one.source).resolve() for one in sources}
        if over := next((path for path in written if path.resolve() in read), None):
            raise ValueError(f"{over}: is a source, and would be written over")
        return sources

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
        largest = max((route.image_bytes_max for route in self.topics), default=1024)
        given = {"claim_timeout_s": self.claim_timeout_s, "record_bytes_max": largest, **changes}
        return self.kafka(**given)
