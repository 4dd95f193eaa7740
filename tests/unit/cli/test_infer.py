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
