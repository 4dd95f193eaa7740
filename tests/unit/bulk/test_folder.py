import errno
import json
import os
import sqlite3

import pytest
from arno.bulk import Item, JsonLinesShards, ParquetShards, Place, Record, read_records
from arno.bulk.manifest import Manifest
from arno.client import Model
from arno.errors import ConfigurationError, InvalidFieldError
from support.bulk import open_folder, seen


def line(key):
    return Record.of(Item(key, lambda: b""), seen(key)).line()


def shards(folder):
    return sorted(path.name for path in (folder / "shards").iterdir())


def keys(folder):
    return [record.key for record in read_records(folder)]


def fill(folder, *names, **options):
    with open_folder(folder, **options) as kept:
        for name in names:
            kept.keep(name, line(name))
        kept.write_shard()


def test_full_shard_is_written_and_the_rest_stays_in_the_journal(tmp_path):
    with open_folder(tmp_path / "d", shard_size=2) as kept:
        for key in "abcde":
            kept.keep(key, line(key))
        assert shards(kept.path) == ["000000.jsonl", "000001.jsonl"]
        assert keys(kept.path) == ["a", "b", "c", "d"]
        kept.write_shard()
    assert keys(tmp_path / "d") == ["a", "b", "c", "d", "e"]


def test_answer_outlives_a_run_that_does_not_end(tmp_path):
    with open_folder(tmp_path / "d") as kept:
        kept.keep("a", line("a"))
    with open_folder(tmp_path / "d") as kept:
        assert kept.is_done("a")
        assert not kept.is_done("b")
        kept.write_shard()
    assert keys(tmp_path / "d") == ["a"]


def test_run_killed_between_a_shard_and_its_note_writes_it_once(tmp_path):
    with open_folder(tmp_path / "d") as kept:
        kept.keep("a", line("a"))
        entries = list(kept._journal.pending())
        JsonLinesShards().write(tmp_path / "d" / "shards" / "000000.jsonl", entries)
    fill(tmp_path / "d", "b")
    assert keys(tmp_path / "d") == ["a", "b"]


def test_half_a_shard_is_no_shard(tmp_path):
    class FullDisk(JsonLinesShards):
        def write(self, path, entries):
            path.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with open_folder(tmp_path / "d", shard_format=FullDisk()) as kept:
        kept.keep("a", line("a"))
        with pytest.raises(OSError, match="No space left"):
            kept.write_shard()
    assert shards(tmp_path / "d") == []
    fill(tmp_path / "d", "b")
    assert keys(tmp_path / "d") == ["a", "b"]


def test_full_disk_under_the_journal_is_told_and_loses_nothing(tmp_path):
    def fill_disk(kept):
        for number in range(1000):
            kept.keep(f"{number}", line("b") * 20)

    with open_folder(tmp_path / "d") as kept:
        kept.keep("a", line("a"))
        kept._journal._run("PRAGMA max_page_count = 30")
        with pytest.raises(OSError, match="No space left") as caught:
            fill_disk(kept)
        assert caught.value.errno == errno.ENOSPC
        done = kept.done_count
        assert 1 < done < 1000
    with open_folder(tmp_path / "d") as kept:
        assert kept.done_count == done


def test_second_run_at_the_same_time_is_refused(tmp_path):
    with (
        open_folder(tmp_path / "d"),
        pytest.raises(ConfigurationError, match="another run writes to this answer folder"),
    ):
        open_folder(tmp_path / "d")


def test_another_question_is_refused_and_nothing_is_changed(tmp_path):
    fill(tmp_path / "d", "a")
    before = (tmp_path / "d" / "batch.json").read_text()
    for change, sentence in (
        ({"source": "/other"}, "source /photos, not /other"),
        ({"question": {"tasks": []}}, "question .*TASK_OD.*, not .*"),
        ({"shard_format": ParquetShards()}, "shard_format jsonl, not parquet"),
    ):
        with pytest.raises(ConfigurationError, match=f"was begun with {sentence}; repeat"):
            open_folder(tmp_path / "d", **change)
    assert (tmp_path / "d" / "batch.json").read_text() == before


def test_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ConfigurationError, match=r"holds other files and no batch\.json"):
        open_folder(tmp_path)
    with pytest.raises(ConfigurationError, match="is a file, not a folder"):
        open_folder(tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["mine.txt"]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "x": 1}'])
def test_manifest_that_is_none_is_told(tmp_path, text):
    (tmp_path / "batch.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"batch\.json: "):
        Manifest.read(tmp_path)


def test_journal_that_is_none_is_told(tmp_path):
    fill(tmp_path / "d", "a")
    (tmp_path / "d" / "journal.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(ConfigurationError, match="not a database"):
        open_folder(tmp_path / "d")


def test_another_model_is_refused(tmp_path):
    with open_folder(tmp_path / "d") as kept:
        kept.keep_model(Model("tiny", "f", "float32"))
        kept.keep_model(Model("tiny", "f", "float32"))
    with (
        open_folder(tmp_path / "d") as kept,
        pytest.raises(ConfigurationError, match=r"tiny f \(float32\) answered before"),
    ):
        kept.keep_model(Model("base", "g", "float32"))


def test_failures_are_in_a_file_of_their_own_and_may_be_reopened(tmp_path):
    with open_folder(tmp_path / "d") as kept:
        kept.keep_failure("broken", '{"key": "broken"}', again=False)
        kept.keep_failure("late", '{"key": "late"}', again=True)
        kept.keep_failure("half", '{"key": "half", "task": "ocr"}', again=False, task="ocr")
        kept.keep("half", line("half"))
        kept.write_shard()
        path = kept.path / "failures.jsonl"
        assert [json.loads(one)["key"] for one in path.read_text().splitlines()] == [
            "broken",
            "half",
            "late",
        ]
        assert (kept.failed_count, kept.done_count) == (3, 3)
        assert kept.reopen_failures(everything=False) == 1
        assert [kept.is_done(key) for key in ("broken", "late", "half")] == [True, False, True]
        assert kept.reopen_failures(everything=True) == 1
        # Of an image with some answers nothing is asked again: it is in a shard.
        assert [kept.is_done(key) for key in ("broken", "late", "half")] == [False, False, True]
        kept.write_shard()
        assert [json.loads(one)["key"] for one in path.read_text().splitlines()] == ["half"]


@pytest.mark.parametrize("shard_format", [JsonLinesShards(), ParquetShards()])
def test_record_comes_back_as_it_was(tmp_path, shard_format):
    # A name of a file that is no UTF-8, and a line separator that is none of JSON lines.
    item = Item("\udcff/a\u2028.png", Place(tmp_path / "a.png", 512, 9), {"n": {"x": [1]}})
    with open_folder(tmp_path / "d", shard_format=shard_format) as kept:
        kept.keep(item.key, Record.of(item, seen()).line())
        kept.write_shard()
    (record,) = read_records(tmp_path / "d")
    assert record == Record(item.key, seen(), {"n": {"x": [1]}}, item.place)
    assert record.result["OD"].regions[0].label == "cat"


def test_parquet_has_columns_to_query(tmp_path):
    import pyarrow.parquet as pq

    fill(tmp_path / "d", "a", "b", shard_format=ParquetShards())
    table = pq.read_table(tmp_path / "d" / "shards")
    first = table.to_pylist()[0]
    assert (first["key"], first["width_px"], first["model"]) == ("a", 200, "arno-tiny")
    objects, words = first["tasks"]
    assert (objects["task"], objects["regions"][0]["box"]) == ("OD", [1, 2, 3, 4])
    assert (words["answer_text"], words["finish_reason"]) == ("a cat", "LENGTH")


def test_line_that_is_no_record_is_named(tmp_path):
    fill(tmp_path / "d", "a")
    with (tmp_path / "d" / "shards" / "000000.jsonl").open("a") as file:
        file.write('{"key": "b", "results": 7}\n')
    with pytest.raises(
        InvalidFieldError, match=r"000000\.jsonl:2: not a record of an answer folder"
    ):
        list(read_records(tmp_path / "d"))


def test_folder_without_a_data_set_is_told(tmp_path):
    with pytest.raises(ConfigurationError, match="no answer folder; `arno batch` makes one"):
        list(read_records(tmp_path))


def test_journal_is_an_ordinary_database_once_the_run_has_ended(tmp_path):
    with open_folder(tmp_path / "d") as kept:
        kept.keep("a", line("a"))
    with sqlite3.connect(tmp_path / "d" / "journal.sqlite") as database:
        assert database.execute("SELECT key FROM pending").fetchall() == [(b"a",)]
    database.close()
