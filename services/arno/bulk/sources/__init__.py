"""Where images come from: folders, globs, lists, JSON lines, WebDataset shards, videos."""

from arno.bulk.sources.open_source import open_source
from arno.bulk.sources.source import Source

__all__ = ["Source", "open_source"]
