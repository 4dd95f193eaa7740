"""What a data set on the disk keeps, and what a kill may cost."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from arno.dataset import Dataset, DatasetWriter, Manifest
from arno.dataset.folder import read_manifest
from arno.dataset.shards import Shard, ShardFormat, shard_paths, write_shard
from arno.errors import ConfigurationError, InvalidFieldError
from support.annotated import full_record, record

FORMATS = pytest.mark.parametrize("form", [*ShardFormat])


def manifest(form: ShardFormat = ShardFormat.JSONL, **facts) -> Manifest:
    return Manifest(format=form, shard_records=3, steps=({"step": "test"},), **facts)


@FORMATS
def test_records_come_back_equal_in_order_and_by_number(tmp_path, form):
    written = [full_record(position) for position in range(8)]
    with DatasetWriter(tmp_path, manifest(form)) as writer:
        for one in written:
            writer.write(one)
    read = Dataset(tmp_path)
    assert list(read) == written
    assert len(read) == 8
    assert [read[number] for number in (7, 0, 3)] == [written[7], written[0], written[3]]
    assert [len(Shard(path)) for path in shard_paths(tmp_path)] == [3, 3, 2]
    with pytest.raises(IndexError):
        read[8]


@FORMATS
def test_row_groups_beyond_the_first_are_read(tmp_path, form):
    records = [record(position) for position in range(300)]
    path = tmp_path / f"part-000000.{form}"
    write_shard(path, records)
    shard = Shard(path)
    assert list(shard) == records
    assert shard[299] == records[299]


@FORMATS
def test_killed_writer_goes_on_behind_its_last_record(tmp_path, form):
    records = [full_record(position) for position in range(5)]
    killed = DatasetWriter(tmp_path, manifest(form))
    for one in records:
        killed.write(one)
    killed.release()  # as the end of its process does
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"image_id": "cut o')
    (tmp_path / f"part-000009.{form}.tmp").write_bytes(b"half")
    with pytest.raises(InvalidFieldError, match="not complete"):
        Dataset(tmp_path)

    with DatasetWriter(tmp_path, manifest(form)) as writer:
        assert writer.next_position == 5
        assert writer.record_count == 5
        writer.write(full_record(5))
    assert [one.position for one in Dataset(tmp_path)] == [0, 1, 2, 3, 4, 5]
    assert {path.name for path in tmp_path.iterdir()} == {
        "dataset.json",
        f"part-000000.{form}",
        f"part-000001.{form}",
    }


def test_record_that_a_kill_left_in_journal_and_shard_is_kept_once(tmp_path):
    killed = DatasetWriter(tmp_path, manifest())
    for position in range(3):
        killed.write(record(position))
    killed.release()
    shard = shard_paths(tmp_path)[0]
    (tmp_path / "journal.jsonl").write_bytes(shard.read_bytes())
    with DatasetWriter(tmp_path, manifest()) as writer:
        assert writer.record_count == 3
    assert [one.position for one in Dataset(tmp_path)] == [0, 1, 2]


def test_full_disk_leaves_what_was_written_and_no_half_shard(tmp_path, monkeypatch):
    writer = DatasetWriter(tmp_path, manifest())
    writer.write(record(0))
    writer.write(record(1))

    def full(self: Path, *_args, **_options) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        writer.write(record(2))
    monkeypatch.undo()
    writer.release()
    assert shard_paths(tmp_path) == []
    assert not list(tmp_path.glob("*.tmp"))
    with DatasetWriter(tmp_path, manifest()) as again:
        assert again.next_position == 3
    assert len(Dataset(tmp_path)) == 3


def test_second_writer_of_a_folder_is_refused(tmp_path):
    with (
        DatasetWriter(tmp_path, manifest()),
        pytest.raises(ConfigurationError, match="another process"),
    ):
        DatasetWriter(tmp_path, manifest())


def test_folder_of_another_data_set_is_refused(tmp_path):
    with DatasetWriter(tmp_path, manifest()) as writer:
        writer.write(record(0))
    other = Manifest(format=ShardFormat.JSONL, shard_records=3, steps=({"step": "other"},))
    with pytest.raises(ConfigurationError, match="made in another way"):
        DatasetWriter(tmp_path, other)
    DatasetWriter(tmp_path, manifest()).release()  # the lock of the refused one is free again


def test_error_in_the_block_leaves_the_data_set_incomplete(tmp_path):
    def fail() -> None:
        with DatasetWriter(tmp_path, manifest()) as writer:
            writer.write(record(0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not read_manifest(tmp_path).complete


def test_position_must_rise(tmp_path):
    with DatasetWriter(tmp_path, manifest()) as writer:
        writer.write(record(4))
        with pytest.raises(ValueError, match="position 4 is before 5"):
            writer.write(record(4))


def test_broken_line_is_named_and_the_others_can_be_read(tmp_path):
    with DatasetWriter(tmp_path, manifest()) as writer:
        writer.write(record(0))
        writer.write(record(1))
    (shard,) = shard_paths(tmp_path)
    first, second = shard.read_text().splitlines(keepends=True)
    shard.write_text(first + second.replace('"width_px":200', '"width_px":"wide"'))
    read = Dataset(tmp_path)
    assert read[0] == record(0)
    with pytest.raises(InvalidFieldError, match=r"part-000000.jsonl:2: width_px"):
        read[1]


def test_cut_off_parquet_is_refused_by_name(tmp_path):
    with DatasetWriter(tmp_path, manifest(ShardFormat.PARQUET)) as writer:
        writer.write(record(0))
    (shard,) = shard_paths(tmp_path)
    shard.write_bytes(shard.read_bytes()[:-9])
    with pytest.raises(InvalidFieldError, match=r"part-000000.parquet: cannot be read"):
        Dataset(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "no data set"), ("{", "dataset.json"), ('{"version": 9}', "another version")],
)
def test_folder_that_is_no_data_set_is_refused(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InvalidFieldError, match=problem):
        Dataset(tmp_path)


def test_counts_stand_in_the_last_step(tmp_path):
    with DatasetWriter(tmp_path, manifest()) as writer:
        writer.write(record(0))
        writer.close(step_counts={"images": 1})
    assert read_manifest(tmp_path).steps == ({"step": "test", "counts": {"images": 1}},)
    DatasetWriter(tmp_path, manifest()).release()  # counts do not make it another data set
