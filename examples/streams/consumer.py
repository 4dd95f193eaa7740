"""Reads `arno.results` by its published schema: one line for each image, each image once.

    python consumer.py --bootstrap 127.0.0.1:9092 --topic arno.results

It needs a Kafka client (`pip install kafka-python`) and nothing of Arno. Values in JSON need no
more; values in protobuf need `pip install protobuf` and the schema as a file:

    protoc -I protos --include_imports --descriptor_set_out results.binpb arno/api/v1/events.proto
    python consumer.py --topic arno.results --schema results.binpb

Results are delivered at least once: a repeat has the id of the first. The ids of the last results
are remembered here; keep them where your own results are kept, to be right over restarts, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

REMEMBERED = 100_000
MESSAGE = "arno.api.v1.ResultEvent"

Read = Callable[[bytes], dict[str, Any]]
"""Makes the JSON form of an event of its bytes."""


def reader_of(schema: Path) -> Read:
    """Return how events in protobuf are read, with the schema that Arno publishes."""
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(schema.read_bytes()).file:
        pool.Add(file)
    event = message_factory.GetMessageClass(pool.FindMessageTypeByName(MESSAGE))
    return lambda value: json_format.MessageToDict(event.FromString(value))


def events(
    bootstrap: str, topic: str, read_protobuf: Read | None, *, until_end: bool
) -> Iterator[dict[str, Any]]:
    """Yield the events of a topic from its beginning, in the JSON form of their schema."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest"
    )
    numbers = consumer.partitions_for_topic(topic)
    if not numbers:
        sys.exit(f"there is no topic {topic}")
    partitions = [TopicPartition(topic, number) for number in numbers]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends = consumer.end_offsets(partitions)
    while not until_end or any(consumer.position(one) < ends[one] for one in partitions):
        for records in consumer.poll(500).values():
            for record in records:
                headers = {name: value.decode() for name, value in record.headers if value}
                kind = headers.get("arno-content-type") or headers.get("content-type", "")
                if kind.startswith("application/json"):
                    yield json.loads(record.value)
                elif read_protobuf is None:
                    sys.exit(f"values are {kind}: give --schema")
                else:
                    yield read_protobuf(record.value)
    consumer.close()


def once(found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Leave out repeats, by their ids."""
    seen: OrderedDict[str, None] = OrderedDict()
    for event in found:
        if event["id"] in seen:
            continue
        seen[event["id"]] = None
        if len(seen) > REMEMBERED:
            seen.popitem(last=False)
        yield event


def told(event: dict[str, Any]) -> str:
    """Return an event as a line: its id, and what was answered to each task."""
    if "error" in event:
        return f"{event['id']}: failed: {event['error']['reason']}"
    parts = []
    for result in event.get("response", {}).get("results", ()):
        name = result["task"].removeprefix("TASK_")
        if "error" in result:
            parts.append(f"{name} failed: {result['error']['reason']}")
            continue
        answer = result["answer"]
        regions = [
            one for kind in answer.values() if isinstance(kind, dict) for one in regions_of(kind)
        ]
        said = ", ".join(region.get("label", "") for region in regions)
        parts.append(f"{name} {said or answer.get('text', {}).get('text', 'nothing')}")
    return f"{event['id']}: {'; '.join(parts)}"


def regions_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the regions of an answer of any kind."""
    return [region for region in answer.get("regions", ()) if isinstance(region, dict)]


def main() -> None:
    """Print one line for each image until stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", default="127.0.0.1:9092")
    parser.add_argument("--topic", default="arno.results")
    parser.add_argument("--schema", type=Path, help="the schema, where values are protobuf")
    parser.add_argument("--until-end", action="store_true", help="stop at the topic's end")
    given = parser.parse_args()
    read_protobuf = reader_of(given.schema) if given.schema else None
    found = events(given.bootstrap, given.topic, read_protobuf, until_end=given.until_end)
    for event in once(found):
        print(told(event), flush=True)


if __name__ == "__main__":
    main()
