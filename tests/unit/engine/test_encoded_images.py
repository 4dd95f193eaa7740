import torch
from arno.engine.encoding.image_encoding import EncodedCache, ImageEncoding
from arno.engine.interface import PreparedImage
from arno.vocabulary import ImageSize

ROW_BYTES = 16


def features() -> torch.Tensor:
    return torch.zeros(1, 4)


def test_the_least_recently_used_goes_first():
    cache = EncodedCache(2 * ROW_BYTES)
    cache.put("a", features())
    cache.put("b", features())
    assert cache.get("a") is not None
    cache.put("c", features())
    assert [cache.get(name) is not None for name in "abc"] == [True, False, True]


def test_it_never_holds_more_than_its_bytes():
    cache = EncodedCache(3 * ROW_BYTES)
    for index in range(20):
        cache.put(str(index), features())
        assert cache.size_bytes <= 3 * ROW_BYTES


def test_what_is_larger_than_all_of_it_is_not_kept_and_drops_nothing():
    cache = EncodedCache(ROW_BYTES)
    cache.put("small", features())
    cache.put("large", torch.zeros(2, 4))
    assert cache.get("small") is not None
    assert cache.get("large") is None


def test_the_same_image_is_counted_once():
    cache = EncodedCache(10 * ROW_BYTES)
    cache.put("a", features())
    cache.put("a", features())
    assert cache.size_bytes == ROW_BYTES


def test_an_image_in_use_is_found_though_there_is_no_memory_to_keep_it():
    cache = EncodedCache(0)
    held = features()
    cache.put("a", held)
    assert "a" in cache
    assert cache.get("a") is held
    del held
    assert "a" not in cache
    assert cache.get("a") is None


def test_clearing_forgets_what_is_not_in_use():
    cache = EncodedCache(10 * ROW_BYTES)
    held = features()
    cache.put("held", held)
    cache.put("free", features())
    cache.clear()
    assert cache.size_bytes == 0
    assert cache.get("held") is held
    assert cache.get("free") is None


def test_an_image_that_comes_with_its_encoding_needs_no_cache():
    def encoder(_):
        raise AssertionError("nothing is to be encoded")

    held = features()
    image = PreparedImage("a", None, ImageSize(8, 8), "image/png", 0.0, held)
    encoding = ImageEncoding(encoder, encoder, cache_bytes=0)
    encoded = encoding.encode([image, image])
    assert encoded.features == {"a": held}
    assert (encoded.fresh, encoded.faults) == (frozenset(), {})
