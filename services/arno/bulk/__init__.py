"""Ask about many images and keep the answers in a folder: what `arno batch` and `arno export` run.

A source yields items, an answerer answers them, and a folder keeps each answer once, however often
the run is killed. The three know nothing of one another; `run_batch` connects them.
"""

from arno.bulk.answerer import Answered, Answerer, LocalAnswerer
from arno.bulk.folder import AnswerFolder
from arno.bulk.gateway_answerer import GatewayAnswerer
from arno.bulk.item import Item, Place
from arno.bulk.journal import Entry
from arno.bulk.manifest import Manifest
from arno.bulk.record import Record
from arno.bulk.run import BatchCounts, run_batch
from arno.bulk.shards import JsonLinesShards, ParquetShards, ShardFormat, read_records
from arno.bulk.sources import Source, open_source

__all__ = [
    "AnswerFolder",
    "Answered",
    "Answerer",
    "BatchCounts",
    "Entry",
    "GatewayAnswerer",
    "Item",
    "JsonLinesShards",
    "LocalAnswerer",
    "Manifest",
    "ParquetShards",
    "Place",
    "Record",
    "ShardFormat",
    "Source",
    "open_source",
    "read_records",
    "run_batch",
]
