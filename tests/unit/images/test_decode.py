"""Every odd or hostile image that a client may send, and what becomes of it."""

from __future__ import annotations

import io
import struct
import tracemalloc
import warnings
from collections.abc import Callable

import pytest
from arno.errors import InvalidImageError, LimitExceededError
from arno.images.decode import ImageHeader, ImageLimits, decode_image, inspect_image
from PIL import Image
from support import images

LIMITS = ImageLimits(bytes_max=1_000_000, pixels_max=1_000_000)


def picture() -> Image.Image:
    """Four by two, red, with a blue corner at the top left."""
    made = Image.new("RGB", (4, 2), "red")
    made.putpixel((0, 0), (0, 0, 255))
    return made


def oriented(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[images.EXIF_ORIENTATION] = orientation
    return images.encoded(picture(), kind, exif=exif)


def webp_header(chunk: bytes, body: bytes) -> bytes:
    payload = b"WEBP" + chunk + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(payload)) + payload


SIZE = struct.pack("<HH", 60_000, 60_000)


def jpeg_bomb() -> bytes:
    whole = bytearray(images.jpeg())
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(whole)


def bmp_bomb() -> bytes:
    whole = bytearray(images.encoded(picture(), "BMP"))
    whole[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(whole)


def tiff_bomb() -> bytes:
    tags = ((256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 8), (279, 9))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4


BOMBS = {
    "PNG": images.png_bomb(),
    "GIF screen": b"GIF89a" + SIZE + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
    "GIF frame": b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0" + SIZE + b"\0\2\2D\1\0;",
    "WebP VP8X": webp_header(b"VP8X", b"\0\0\0\0" + b"\xff\x3f\0" * 2),
    "WebP VP8L": webp_header(b"VP8L", b"\x2f\xff\xff\xff\x0f" + b"\0" * 8),
    "WebP VP8": webp_header(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + b"\xff\x3f" * 2 + b"\0" * 8),
    "JPEG": jpeg_bomb(),
    "BMP": bmp_bomb(),
    "TIFF": tiff_bomb(),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("read", [inspect_image, decode_image])
def test_a_bomb_is_refused_by_its_header_before_anything_is_allocated(kind, read):
    tracemalloc.start()
    try:
        with pytest.raises(LimitExceededError) as caught:
            read(BOMBS[kind], LIMITS, field="image")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 5_000_000
    assert str(caught.value).startswith("image: the image has too many pixels")
    assert caught.value.metadata["limit"] == "1000000 pixels"
    assert "pixels" in caught.value.metadata["sent"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(b"", "0 bytes", id="nothing"),
        pytest.param(b"hello", "no known image type", id="text"),
        pytest.param(b"\0" * 100, "no known image type", id="zeros"),
        pytest.param(b"\0\0\0\x1cftypheic" + b"\0" * 20, "HEIC", id="HEIC"),
        pytest.param(b"\0\0\0\x1cftypavif" + b"\0" * 20, "AVIF", id="AVIF"),
        pytest.param(b"%PDF-1.7", "PDF", id="PDF"),
        pytest.param(b"<svg xmlns=''/>", "SVG", id="SVG"),
        pytest.param(b"8BPS\0\1", "Photoshop", id="Photoshop"),
        pytest.param(b"\xff\xd8\xff", "JPEG", id="only the start of a JPEG"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "PNG", id="only the start of a PNG"),
        pytest.param(b"GIF89a", "GIF", id="only the start of a GIF"),
        pytest.param(b"II*\0\xff\xff\xff\xff", "TIFF", id="a TIFF pointing nowhere"),
        pytest.param(b"BM", "BMP", id="only the start of a BMP"),
        pytest.param(b"RIFF\0\0\0\0WEBPVP8 ", "WebP", id="only the start of a WebP"),
    ],
)
def test_what_is_no_image_is_refused_with_what_it_seems_to_be(content, words):
    for read in (inspect_image, decode_image):
        with pytest.raises(InvalidImageError) as caught:
            read(content, LIMITS, field="tasks[0].image")
        assert words in str(caught.value)
        assert caught.value.field == "tasks[0].image"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_file_that_is_cut_off_is_refused_and_not_half_decoded(kind, kept):
    noise = Image.effect_noise((64, 64), 80).convert("RGB")
    whole = images.encoded(noise, kind)
    with pytest.raises(InvalidImageError, match="cannot be decoded"):
        decode_image(whole[: int(len(whole) * kept)], LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_accepted_type_is_known_by_content(kind):
    content = images.encoded(picture(), kind)
    expected = ImageHeader(4, 2, f"image/{kind.lower()}")
    assert inspect_image(content, LIMITS) == expected
    decoded = decode_image(content, LIMITS)
    assert decoded.header == expected
    assert (decoded.picture.mode, decoded.picture.size) == ("RGB", (4, 2))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_image_is_turned_as_a_viewer_turns_it_and_its_header_says_so(kind, orientation):
    content = oriented(kind, orientation)
    decoded = decode_image(content, LIMITS)
    corner = [(0, 0), (3, 0), (3, 1), (0, 1), (0, 0), (1, 0), (1, 3), (0, 3)][orientation - 1]
    size = (4, 2) if orientation < 5 else (2, 4)
    assert decoded.picture.size == size
    assert inspect_image(content, LIMITS) == decoded.header
    assert (decoded.header.width_px, decoded.header.height_px) == size
    if kind in {"PNG", "TIFF"}:  # the others blur the single pixel
        assert decoded.picture.getpixel(corner) == (0, 0, 255)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_means_nothing_is_ignored(orientation):
    assert inspect_image(oriented("PNG", orientation), LIMITS).width_px == 4


def test_broken_exif_does_not_break_the_picture():
    content = images.encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow tells of it, and Arno goes on
        assert decode_image(content, LIMITS).picture.size == (4, 2)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(mode):
    content = images.encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 0)).convert(mode), "PNG")
    assert decode_image(content, LIMITS).picture.getpixel((0, 0)) == (255, 255, 255)


def test_half_transparent_parts_are_mixed_with_white():
    content = images.encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)), "PNG")
    assert decode_image(content, LIMITS).picture.getpixel((0, 0)) == (127, 127, 127)


def test_a_palette_with_transparency_is_put_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((1, 0), 1)
    decoded = decode_image(images.encoded(palette, "PNG", transparency=b"\0\xff"), LIMITS).picture
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (0, 255, 0)]


def test_16_bit_grey_keeps_its_range():
    wide = Image.new("I;16", (3, 1))
    for x, value in enumerate((0, 32768, 65535)):
        wide.putpixel((x, 0), value)
    decoded = decode_image(images.encoded(wide, "PNG"), LIMITS).picture
    assert [decoded.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_the_colours_of_print_become_those_of_a_screen():
    decoded = decode_image(images.cmyk_jpeg(), LIMITS).picture
    red, green, blue = decoded.getpixel((10, 10))
    assert (decoded.mode, red > 200, green < 100, blue > 180) == ("RGB", True, True, True)


def test_of_an_animation_the_first_frame_counts():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "TIFF"):
        content = images.encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        red, _, blue = decode_image(content, LIMITS).picture.getpixel((4, 4))
        assert (red > 200, blue < 50) == (True, True), kind


def test_floating_point_pixels_are_refused():
    with pytest.raises(InvalidImageError, match="no known range"):
        decode_image(images.encoded(Image.new("F", (2, 2)), "TIFF"), LIMITS)


def test_a_file_with_too_many_bytes_is_refused_with_both_numbers():
    with pytest.raises(LimitExceededError, match="10 bytes; sent: 11 bytes"):
        inspect_image(b"x" * 11, ImageLimits(bytes_max=10, pixels_max=1))


def test_an_image_of_exactly_the_limit_passes():
    assert decode_image(images.png(10, 10), ImageLimits(1000, 100)).picture.size == (10, 10)
    with pytest.raises(LimitExceededError, match="10 x 11 = 110 pixels"):
        inspect_image(images.png(10, 11), ImageLimits(1000, 100))


def test_inspecting_decodes_nothing(monkeypatch):
    content = io.BytesIO(images.png()).getvalue()
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("decoded"))
    assert inspect_image(content, LIMITS).mime_type == "image/png"


def test_jpeg_may_have_as_many_scans_as_its_size_leaves_room_for() -> None:
    limits = ImageLimits(bytes_max=1_000_000, pixels_max=100 * 100, scans_max=20)
    assert inspect_image(images.scan_bomb(100, 20), limits).width_px == 100
    # A quarter of the pixels: four times the scans.
    assert decode_image(images.scan_bomb(50, 80), limits).picture.size == (50, 50)


@pytest.mark.parametrize("read", [inspect_image, decode_image], ids=["header", "decode"])
def test_scan_bomb_is_refused_by_its_header(read: Callable[..., object]) -> None:
    limits = ImageLimits(bytes_max=1_000_000, pixels_max=100 * 100, scans_max=20)
    with pytest.raises(LimitExceededError, match="20 scans of 100 x 100 pixels; sent: 21 scans"):
        read(images.scan_bomb(100, 21), limits)


@pytest.mark.parametrize("count", [63, 64, 65, 300])
def test_every_scan_is_counted_however_many_there_are(count: int) -> None:
    limits = ImageLimits(bytes_max=1_000_000, pixels_max=100 * 100, scans_max=1)
    with pytest.raises(LimitExceededError, match=f"sent: {count} scans"):
        inspect_image(images.scan_bomb(100, count), limits)


@pytest.mark.parametrize("before", [1024 * 1024 - 1, 1024 * 1024, 2 * 1024 * 1024 - 1])
def test_marker_of_a_scan_counts_once_wherever_a_piece_of_the_search_ends(before: int) -> None:
    limits = ImageLimits(bytes_max=4_000_000, pixels_max=100 * 100, scans_max=20)
    bomb = images.scan_bomb(100, 20)
    content = bomb.ljust(before, b"\0") + b"\xff\xda"
    with pytest.raises(LimitExceededError, match="sent: 21 scans"):
        inspect_image(content, limits)


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw"])
def test_strips_of_a_tiff_are_no_scans_of_the_whole(compression: str) -> None:
    picture = Image.effect_noise((600, 600), 80).convert("RGB")
    content = images.encoded(picture, "TIFF", compression=compression, strip_size=600 * 3 * 8)
    limits = ImageLimits(bytes_max=10_000_000, pixels_max=600 * 600, scans_max=2)
    assert decode_image(content, limits).picture.size == (600, 600)


def _noise(mode: str) -> Image.Image:
    bands = [Image.effect_noise((1500, 1400), 90) for _ in range(4)]
    if mode == "P":
        palette = Image.merge("RGB", bands[:3]).quantize(64)
        palette.info["transparency"] = 3
        return palette
    if mode == "I;16":
        wide = bands[0].convert("I").point(lambda value: value * 250 + 7)
        return wide.convert("I;16")
    return Image.merge(mode, bands[: len(mode)])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "I;16"])
def test_conversion_in_bands_gives_the_same_pixels_as_in_one_piece(mode: str) -> None:
    picture = _noise(mode)
    options = {"transparency": 3} if mode == "P" else {}
    content = images.encoded(picture, "PNG", compress_level=1, **options)
    limits = ImageLimits(bytes_max=100_000_000, pixels_max=10_000_000)
    found = decode_image(content, limits).picture
    if mode == "I;16":
        whole = picture.convert("I").point(lambda value: value * (1 / 257) + 0.5).convert("L")
    else:
        colours = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        whole = Image.alpha_composite(white, colours)
    assert found.tobytes() == whole.convert("RGB").tobytes()
