"""`arno ingest` between two topics of a real broker, in front of a real gateway and worker."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from arno.api.v1 import events_pb2, types_pb2
from arno.bus.settings import BusSettings
from arno.ingest.videos.lines import TopicLines
from arno.ops.ports import free_port
from google.protobuf import json_format
from grpc_tools import protoc
from kafka.record import memory_records
from support import images, tied_process
from support.arno_up import ArnoUp, start_arno
from support.availability import require
from support.eventually import eventually
from support.kafka_broker import KafkaBroker
from support.kafka_topics import NO_VALUE, Found, HeadersWithoutValues, Latin1, Topics
from support.redis_server import WAYS_TO_GET_IT, redis_executables

pytestmark = [pytest.mark.kafka, pytest.mark.redis]

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "streams"
GUIDE = ROOT / "docs" / "stream-guides.md"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArnoUp]:
    require(redis_executables(), WAYS_TO_GET_IT)
    up = ArnoUp(tmp_path_factory.mktemp("up"))
    yield up
    assert up.stop() == 0


@pytest.fixture
def topics(kafka_broker: KafkaBroker) -> Iterator[Topics]:
    topics = Topics(kafka_broker.bootstrap)
    yield topics
    topics.close()


class Bridge:
    """One route from NAME.in to NAME.out and NAME.dead, and the process that runs it."""

    def __init__(
        self, topics: Topics, folder: Path, name: str, address: str, **route: object
    ) -> None:
        self.topics = topics
        self.source, self.results, self.dead = (f"{name}.{one}" for one in ("in", "out", "dead"))
        self.group = f"{name}-group"
        self.log = folder / "ingest.log"
        self._config = folder / "streams.yaml"
        # JSON is YAML.
        self._config.write_text(
            json.dumps(
                {
                    "address": address,
                    "kafka_bootstrap": topics.bootstrap,
                    "claim_timeout_s": 1.5,
                    "topics": [
                        {
                            "topic": self.source,
                            "results": self.results,
                            "dead_letters": self.dead,
                            "group": self.group,
                            "tasks": ["OD"],
                            "partitions_check_s": 0.5,
                            **route,
                        }
                    ],
                }
            )
        )
        self.start()

    def start(self) -> None:
        self.process = start_arno("ingest", "--config", self._config, log=self.log)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    def finished(self) -> bool:
        """Whether every record of the source is committed."""
        assert self.process.poll() is None, self.log.read_text()
        return self.topics.lag(self.group, self.source) == 0

    def await_finished(self) -> None:
        eventually(self.finished, timeout_s=100, interval_s=0.1, what="the lag is 0")


@pytest.fixture
def bridge(up, topics, tmp_path, unique_prefix):
    made: list[Bridge] = []

    def make(*, partitions: int = 2, address: str = up.address, largest: str = "1048588", **route):
        topics.create(
            f"{unique_prefix}.in", partitions=partitions, **{"max.message.bytes": largest}
        )
        topics.create(f"{unique_prefix}.out", partitions=partitions)
        topics.create(f"{unique_prefix}.dead")
        made.append(Bridge(topics, tmp_path, unique_prefix, address, **route))
        return made[0]

    yield make
    for one in made:
        one.stop()


def ids(records: list[Found]) -> list[str]:
    return [record.header("arno-id") for record in records]


def test_result_keeps_key_headers_and_timestamp_of_its_image(bridge, topics, monkeypatch):
    monkeypatch.setattr(memory_records, "DefaultRecordBatchBuilder", HeadersWithoutValues)
    running = bridge()
    headers = [("camera", b"7"), ("camera", b"8"), ("trace", b"abc"), ("zone", NO_VALUE)]
    # A name of a writer that knows no UTF-8.
    headers += [(Latin1("größe"), b"9")]
    sent = {
        "value": images.png(),
        "key": b"door",
        "headers": headers,
        "timestamp_ms": 1_700_000_000_123,
    }
    topics.write(running.source, [sent])
    running.await_finished()
    (found,) = topics.read(running.results)
    assert (found.key, found.timestamp_ms) == (b"door", 1_700_000_000_123)
    assert found.headers[:5] == [*headers[:3], ("zone", b""), ("gr\ufffd\ufffde", b"9")]
    event = json_format.Parse(found.value, events_pb2.ResultEvent())
    assert event.id == found.header("arno-id") == f"{running.source}/{event.topic.partition}/0"
    assert event.topic.time.ToMilliseconds() == 1_700_000_000_123
    (result,) = event.response.results
    assert result.task == types_pb2.TASK_OD
    assert result.answer.detection.regions[0].label == "null"
    assert running.stop() == 0


def test_protobuf_results_parse_as_the_published_message(bridge, topics):
    running = bridge(output="protobuf")
    topics.write(running.source, [{"value": images.png()}])
    running.await_finished()
    (found,) = topics.read(running.results)
    assert found.key is None
    assert found.header("arno-content-type").endswith("messageType=arno.api.v1.ResultEvent")
    assert events_pb2.ResultEvent.FromString(found.value).response.results


def test_foreign_records_are_answered_or_become_dead_letters_with_their_reason(bridge, topics):
    running = bridge(partitions=1, largest="25000000")
    for codec in ("gzip", "lz4", "snappy", "zstd"):
        topics.write(running.source, [{"value": images.png()}] * 2, compression_type=codec)
    bad = [
        {"value": b"no image", "key": b"k", "headers": [("from", b"there")]},
        {"value": None, "key": b"k"},
        {"value": b""},
        {"value": images.png()[:12]},
        {"value": b"\xff\xd8\xff" + bytes(20_000_000)},
    ]
    topics.write(running.source, bad)
    topics.write(running.source, [{"value": images.png()}])
    running.await_finished()
    assert len(set(ids(topics.read(running.results)))) == 9
    dead = {record.header("arno-offset"): record for record in topics.read(running.dead)}
    reasons = {int(offset): record.header("arno-reason") for offset, record in dead.items()}
    assert reasons == {
        8: "INVALID_IMAGE",
        9: "INVALID_IMAGE",
        10: "INVALID_IMAGE",
        11: "INVALID_IMAGE",
        12: "LIMIT_EXCEEDED",
    }
    garbage, too_large = dead["8"], dead["12"]
    assert (garbage.key, garbage.value, garbage.header("from")) == (b"k", b"no image", "there")
    assert "the record holds no image" in dead["9"].header("arno-message")
    assert too_large.header("arno-value-left-out") == "20000003"
    assert "16777216 bytes" in too_large.header("arno-message")


def test_references_are_followed_and_those_that_lead_elsewhere_are_dead_letters(
    bridge, topics, tmp_path
):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(images.png())
    running = bridge(partitions=1, references={"folders": [str(folder)]})
    values = [f"{folder}/a.png", f"file://{folder}/a.png", "/etc/passwd", f"{folder}/absent.png"]
    topics.write(running.source, [{"value": value.encode()} for value in values])
    topics.write(running.source, [{"value": None, "key": b"k"}])
    running.await_finished()
    answered = topics.read(running.results)
    # Records without a key have no order among them.
    assert sorted(record.header("arno-reference") for record in answered) == values[:2]
    dead = topics.read(running.dead)
    assert sorted(record.header("arno-reason") for record in dead) == [
        "IMAGE_UNREACHABLE",
        "IMAGE_UNREACHABLE",
        "INVALID_IMAGE",
    ]
    assert {record.value for record in dead} == {values[2].encode(), values[3].encode(), b""}


def test_partition_that_is_added_is_read_and_sigterm_leaves_nothing_behind(bridge, topics):
    running = bridge(partitions=1)
    topics.write(running.source, [{"value": images.png(), "partition": 0}])
    running.await_finished()
    topics.add_partitions(running.source, 2)
    topics.write(running.source, [{"value": images.png(), "partition": 1}] * 200)
    eventually(lambda: topics.size(running.results) >= 20, timeout_s=30)
    assert running.stop() == 0
    answered = topics.size(running.results)
    assert topics.lag(running.group, running.source) == 201 - answered
    running.start()
    running.await_finished()
    found = ids(topics.read(running.results))
    assert len(found) == len(set(found)) == 201


def ran(program: str, *flags: str) -> str:
    """Run one of the examples, or a snippet, to its end; return what it said."""
    words = ["-c", program] if "\n" in program else [str(EXAMPLES / program)]
    done = subprocess.run(
        [sys.executable, *words, *flags], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("output", ["json", "protobuf"])
def test_plain_consumer_reads_results_by_the_published_schema(bridge, topics, tmp_path, output):
    running = bridge(output=output)
    sent = [{"value": images.png()}] * 3 + [{"value": images.png(), "key": b"k"}] * 3
    topics.write(running.source, sent)
    running.await_finished()
    # A repeat, as a bridge that was killed writes it.
    again = topics.read(running.results)[0]
    repeat = {"value": again.value, "headers": again.headers, "key": again.key}
    topics.write(running.results, [repeat])
    schema = tmp_path / "results.binpb"
    # A protoc of its own brings Google's protos with it.
    common = str(files("grpc_tools") / "_proto")
    protos = ["-I", str(ROOT / "protos"), "-I", common, "--include_imports"]
    protos.append(f"--descriptor_set_out={schema}")
    assert protoc.main(["protoc", *protos, "arno/api/v1/events.proto"]) == 0
    where = ["--bootstrap", topics.bootstrap, "--topic", running.results, "--until-end"]
    flags = [*where, "--schema", str(schema)] if output == "protobuf" else where
    lines = ran("consumer.py", *flags).splitlines()
    wanted = {
        f"{running.source}/{one.partition}/{one.offset}" for one in topics.read(running.source)
    }
    assert sorted(lines) == sorted(f"{record_id}: OD null" for record_id in wanted)


def test_consumer_of_the_guide_runs_as_it_is_printed(bridge, topics):
    running = bridge()
    topics.write(running.source, [{"value": images.png()}] * 3)
    running.await_finished()
    # A job that has failed, a task that has, and an image on which nothing was found.
    empty = {"response": {"results": [{"error": {}}, {"answer": {"detection": {}}}]}}
    others = [{"id": "failed", "error": {"reason": "EXPIRED"}}, {"id": "empty", **empty}]
    topics.write(running.results, [{"value": json.dumps(one).encode()} for one in others])
    (snippet,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.S)
    for printed, here in (("127.0.0.1:9092", topics.bootstrap), ("arno.results", running.results)):
        assert printed in snippet
        snippet = snippet.replace(printed, here)
    lines = ran(snippet).splitlines()
    assert len(lines) == len(set(lines)) == 3
    assert {line.split()[1] for line in lines} == {"null"}


def test_camera_of_the_example_goes_by_a_topic_to_the_dashboard(
    up, topics, tmp_path, unique_prefix
):
    printed = (EXAMPLES / "streams.yaml").read_text()
    assert f"```yaml\n{printed}```" in GUIDE.read_text()
    config = tmp_path / "streams.yaml"
    topic = topics.create(f"{unique_prefix}.seen", partitions=2)
    for there, here in (
        ("source: gate.mp4", f"source: {EXAMPLES / 'gate.mp4'}"),
        ("gate.seen", topic),
        ("fps: 2", "fps: 10"),
    ):
        assert there in printed
        printed = printed.replace(there, here)
    config.write_text(printed)
    port = free_port()
    log = tmp_path / "dashboard.log"
    flags = ["--bootstrap", topics.bootstrap, "--topic", topic, "--listen", f"127.0.0.1:{port}"]
    dashboard = tied_process.start_tied(
        [sys.executable, EXAMPLES / "dashboard.py", *flags], log=log
    )
    where = ["--address", up.address, "--kafka-bootstrap", topics.bootstrap, "--metrics-port", "0"]
    ingest = start_arno("ingest", "--config", config, *where, log=tmp_path / "ingest.log")
    try:
        tied_process.await_port(dashboard, port, log=log, timeout_s=30)
        page = f"http://127.0.0.1:{port}"
        eventually(
            lambda: answered_frames(f"{page}/counts.json") > 5,
            timeout_s=60,
            what="the dashboard shows answers",
        )
        with urllib.request.urlopen(page) as answer:
            shown = answer.read().decode()
        assert "1 null" in shown
        assert "appeared" in shown
    finally:
        tied_process.stop(ingest, timeout_s=40)
        tied_process.stop(dashboard, timeout_s=5)
    found = topics.read(topic)
    assert {record.key for record in found} == {b"gate"}
    schema = json.loads((ROOT / "docs/frame-event.schema.json").read_text())
    lines = [json.loads(record.value) for record in found]
    for line in lines:
        jsonschema.validate(line, schema)
    assert [line["sequence"] for line in lines] == list(range(len(lines)))
    assert len({record.header("arno-id") for record in found}) == len(found)


async def test_line_that_its_topic_does_not_take_says_so_in_its_place(topics, unique_prefix):
    topic = topics.create(f"{unique_prefix}.small", **{"max.message.bytes": "600"})
    line = {"sequence": 7, "timestamp_ms": 350, "results": ["x" * 2000]}
    settings = BusSettings(kafka_bootstrap=topics.bootstrap)
    loop = asyncio.get_running_loop()

    def write() -> None:
        with TopicLines(settings, topic, "gate", loop) as lines:
            lines.write(json.dumps(line) + "\n")

    await asyncio.to_thread(write)
    (found,) = topics.read(topic)
    told = json.loads(found.value)
    assert (told["sequence"], told["timestamp_ms"]) == (7, 350)
    assert told["error"]["reason"] == "LIMIT_EXCEEDED"


def answered_frames(url: str) -> int:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - of our own child
        cameras = json.load(answer)["cameras"]
    return cameras["gate"]["counts"].get("answered", 0) if cameras else 0
