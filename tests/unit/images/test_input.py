import io

import numpy as np
import pytest
from arno.errors import InvalidImageError, LimitExceededError
from arno.images.decode import ImageLimits, decode_image
from arno.images.input import encode_image
from PIL import Image

LIMITS = ImageLimits(bytes_max=1 << 20, pixels_max=1 << 20)


def opened(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def test_bytes_are_sent_as_they_are():
    assert encode_image(b"whatever it is") == b"whatever it is"


def test_file_is_sent_as_it_is(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8 a photo")
    assert encode_image(path) == encode_image(str(path)) == b"\xff\xd8 a photo"


def test_file_above_a_limit_is_refused_unread(tmp_path):
    path = tmp_path / "photo.jpg"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(LimitExceededError, match="image: too large; allowed: 9 bytes; sent: 32212"):
        encode_image(path, bytes_max=9)
    with pytest.raises(LimitExceededError):
        encode_image(b"0123456789", bytes_max=9)
    assert encode_image(b"012345678", bytes_max=9) == b"012345678"


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidImageError, match=r"No such file.*nothing\.png"):
        encode_image(tmp_path / "nothing.png")


def test_small_picture_arrives_exactly():
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    arrived = opened(encode_image(Image.fromarray(pixels)))
    assert arrived.format == "PNG"
    assert (np.asarray(arrived) == pixels).all()


def test_large_picture_is_sent_as_jpeg():
    assert opened(encode_image(Image.new("RGB", (1200, 1000)))).format == "JPEG"


def test_transparent_parts_stay_transparent_in_a_large_picture():
    arrived = opened(encode_image(Image.new("RGBA", (1200, 1000))))
    assert arrived.getpixel((0, 0)) == (0, 0, 0, 0)


def test_picture_wider_than_jpeg_can_be_is_sent():
    assert opened(encode_image(Image.new("RGB", (70_000, 20)))).size == (70_000, 20)


def test_grey_of_16_bits_keeps_its_range():
    wide = Image.fromarray(np.full((4, 5), 0x8080, np.uint16))
    assert decode_image(encode_image(wide), LIMITS).picture.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16L", "I;16B"])
def test_every_kind_of_grey_of_16_bits_is_sent(mode):
    order = ">u2" if mode == "I;16B" else "<u2"
    pixels = np.full((4, 5), 0x8080, np.int32 if mode == "I" else order)
    wide = Image.frombytes(mode, (5, 4), pixels.tobytes())
    assert decode_image(encode_image(wide), LIMITS).picture.getpixel((0, 0)) == (128, 128, 128)


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA"])
def test_transparent_parts_are_seen_as_white_whatever_the_mode(mode):
    clear = Image.new(mode, (4, 5))
    assert decode_image(encode_image(clear), LIMITS).picture.getpixel((0, 0)) == (255, 255, 255)


def test_picture_without_pixels_is_refused():
    with pytest.raises(InvalidImageError, match="no pixels; sent: 0 x 7"):
        encode_image(Image.new("RGB", (0, 7)))


def test_name_that_no_file_can_have_is_refused():
    with pytest.raises(InvalidImageError, match="cannot read the file"):
        encode_image("a\0b.png")


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3), (6, 8, 4)])
def test_array_is_sent_as_picture(shape):
    assert opened(encode_image(np.zeros(shape, np.uint8))).size == (8, 6)


def test_array_of_another_kind_is_refused_with_what_is_allowed():
    with pytest.raises(InvalidImageError, match=r"allowed: \[H, W\].*sent: \(3, 6, 8\)"):
        encode_image(np.zeros((3, 6, 8), np.float32))


@pytest.mark.parametrize("kind", [np.float32, np.uint16, np.int32])
def test_numbers_without_a_known_range_are_refused(kind):
    with pytest.raises(InvalidImageError, match="of uint8"):
        encode_image(np.ones((6, 8), kind))


def test_something_else_is_refused_by_its_type():
    with pytest.raises(InvalidImageError, match="sent: dict"):
        encode_image({})
