import errno

import pytest
from arno.cli.infer import _Target
from arno.errors import ConfigurationError
from PIL import Image


@pytest.mark.parametrize("kind", ["jpg", "webp", "gif"])
def test_picture_wider_than_a_format_can_be_is_told_in_a_sentence(tmp_path, kind):
    Image.new("1", (70_000, 2)).save(tmp_path / "wide.png")
    target = _Target.of(tmp_path / f"seen.{kind}", 1)
    with pytest.raises(ConfigurationError, match=rf"--draw .*seen\.{kind}: "):
        target.save(tmp_path / "wide.png", [])


def test_picture_that_fills_the_disk_is_no_fault_of_the_command_and_leaves_no_part(
    tmp_path, monkeypatch
):
    def full(self, path):
        path.write_bytes(b"a part")
        raise OSError(errno.ENOSPC, "No space left on device")

    Image.new("RGB", (9, 9)).save(tmp_path / "a.bmp")
    monkeypatch.setattr(Image.Image, "save", full)
    target = _Target.of(tmp_path / "seen.png", 1)
    with pytest.raises(OSError, match=r"No space left on device: '.*seen\.png'"):
        target.save(tmp_path / "a.bmp", [])
    assert not (tmp_path / "seen.png").exists()
