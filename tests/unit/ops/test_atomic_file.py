import errno

import pytest
from arno.ops.atomic_file import unfinished, write_atomically


def test_file_is_there_once_it_is_whole(tmp_path):
    path = tmp_path / "shard"
    with write_atomically(path) as written:
        written.write_bytes(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all"
    assert not unfinished(path).exists()


def test_block_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), write_atomically(path) as written:
        written.write_bytes("half")
    assert path.read_bytes() == b"before"
    assert not unfinished(path).exists()


def test_full_disk_is_told_with_the_name_of_the_file(tmp_path):
    path = tmp_path / "shard"
    with pytest.raises(OSError, match="shard") as caught, write_atomically(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(path)
