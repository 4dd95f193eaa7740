"""Keys are made, kept as digests, compared, rotated and revoked; the file is replaced whole."""

from __future__ import annotations

import hmac
import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from arno.errors import ConfigurationError, UnauthenticatedError
from arno.gateway.access.api_key import new_key, read_key
from arno.gateway.access.key_file import (
    KeyEntry,
    KeyFile,
    TenantLimits,
    change_key_file,
    read_key_file,
)
from arno.gateway.access.key_ring import KeyRing
from arno.gateway.calls import Caller
from support.clock import ManualClock

NOW_AT = datetime(2030, 1, 1, tzinfo=UTC)


def entry(key, tenant="acme", **fields):
    return KeyEntry(id=key.id, tenant=tenant, sha256=key.sha256, created_at=NOW_AT, **fields)


def write(path, *entries, **tenants):
    change_key_file(path, lambda _: KeyFile(tenants=tenants, keys=entries))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.json"


@pytest.fixture
def clock():
    return ManualClock(wall_ms=round(NOW_AT.timestamp() * 1000))


@pytest.fixture
def ring(path, clock):
    return lambda: KeyRing(path, check_interval_s=1, clock=clock)


def test_two_keys_are_never_alike():
    keys = [new_key() for _ in range(200)]
    assert len({key.id for key in keys}) == len({key.text for key in keys}) == 200
    assert all(read_key(key.text) == key for key in keys)


def test_key_never_shows_in_its_representation():
    key = new_key()
    assert key.text not in repr(key)
    assert key.text[14:] not in f"{key}"


@pytest.mark.parametrize("text", ["", "arno_", "password", "arno_short_x", "arno_" + "a" * 52])
def test_text_that_is_no_key_is_not_even_hashed(text):
    assert read_key(text) is None


def test_file_holds_digests_and_no_key(path):
    key = new_key()
    write(path, entry(key))
    assert key.text not in path.read_text()
    assert key.sha256 in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_key_is_known_by_its_whole_text_alone(path, ring):
    key, other = new_key(), new_key()
    write(path, entry(key))
    assert ring().authenticate(key.text) == Caller("acme", key.id)
    forged = key.text[:14] + other.text[14:]
    for text in (other.text, forged, key.text[:-1], key.text + "x", key.sha256):
        with pytest.raises(UnauthenticatedError, match="not known") as caught:
            ring().authenticate(text)
        assert caught.value.metadata == {"problem": "unknown"}


@pytest.mark.parametrize("problem", ["revoked", "expired"])
def test_key_counts_until_it_ends(path, ring, problem):
    key = new_key()
    field = {"revoked": "revoked_at", "expired": "expires_at"}[problem]
    write(path, entry(key, **{field: NOW_AT + timedelta(seconds=1)}))
    assert ring().authenticate(key.text).tenant == "acme"
    write(path, entry(key, **{field: NOW_AT}))
    with pytest.raises(UnauthenticatedError) as caught:
        ring().authenticate(key.text)
    assert caught.value.metadata["problem"] == problem


def test_changed_file_counts_within_the_interval(path, ring, clock):
    old, new = new_key(), new_key()
    write(path, entry(old))
    keys = ring()
    caller = keys.authenticate(old.text)
    write(path, entry(new), acme=TenantLimits(jobs_in_flight=3))
    assert keys.authenticate(old.text) == caller
    clock.advance(1)
    assert keys.authenticate(new.text).tenant == "acme"
    assert keys.limits("acme").jobs_in_flight == 3
    with pytest.raises(UnauthenticatedError):
        keys.recheck(caller)


@pytest.mark.parametrize("replaced", ["digest", "tenant"])
def test_call_ends_where_another_key_takes_the_id_of_its_own(path, ring, clock, replaced):
    key = new_key()
    write(path, entry(key))
    keys = ring()
    caller = keys.authenticate(key.text)
    keys.recheck(caller)
    other = {"digest": {"sha256": new_key().sha256}, "tenant": {"tenant": "globex"}}[replaced]
    write(path, entry(key).model_copy(update=other))
    clock.advance(1)
    with pytest.raises(UnauthenticatedError, match="not known any more"):
        keys.recheck(caller)


@pytest.mark.parametrize("spoil", ["half", "remove"])
def test_file_that_breaks_later_takes_nobodys_access(path, ring, clock, caplog, spoil):
    key = new_key()
    write(path, entry(key))
    keys = ring()
    text = path.read_text()
    path.unlink()
    if spoil == "half":
        path.write_text(text[: len(text) // 2])
    clock.advance(1)
    assert keys.authenticate(key.text).tenant == "acme"
    assert not keys.ok
    assert "stay in force" in caplog.text
    path.write_text(text)
    clock.advance(1)
    keys.authenticate(key.text)
    assert keys.ok


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"version": 2}', "version"),
        ('{"kees": []}', "kees: Extra inputs"),
        ('{"tenants": {"a b": {}}}', "tenants.a b"),
        ('{"tenants": {"a": {"jobs_in_flight": 0}}}', "jobs_in_flight"),
        ('{"keys": [{"id": "x"}]}', "keys.0.id"),
    ],
)
def test_file_that_cannot_be_used_is_told_by_its_fault(path, text, said):
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"keys file .*{said}"):
        read_key_file(path)


def test_fault_never_repeats_a_key_written_where_its_digest_belongs(path):
    key = new_key()
    broken = json.loads(entry(key).model_dump_json()) | {"sha256": key.text}
    path.write_text(json.dumps({"keys": [broken]}))
    with pytest.raises(ConfigurationError) as caught:
        read_key_file(path)
    assert key.text not in str(caught.value)
    assert caught.value.__cause__ is None


def test_two_keys_with_one_id_are_refused(path):
    key = new_key()
    one = json.loads(entry(key).model_dump_json())
    path.write_text(json.dumps({"keys": [one, one]}))
    with pytest.raises(ConfigurationError, match=key.id):
        read_key_file(path)


def test_file_that_is_not_there_stops_the_start(ring):
    with pytest.raises(ConfigurationError, match="No such file"):
        ring()


def test_changes_at_once_are_all_kept(path):
    def add(_):
        change_key_file(path, lambda file: KeyFile(keys=(*file.keys, entry(new_key()))))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert len(read_key_file(path).keys) == 40
    assert [one.name for one in path.parent.iterdir()] == ["keys.json"]


def test_change_keeps_who_may_read_the_file(path):
    write(path, entry(new_key()))
    path.chmod(0o640)
    write(path, entry(new_key()))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_change_that_fails_leaves_the_file_as_it_was(path):
    write(path, entry(new_key()))
    before = path.read_bytes()

    def fail(_):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        change_key_file(path, fail)
    assert path.read_bytes() == before


def test_digests_are_compared_in_constant_time(path, ring, monkeypatch):
    key, other = new_key(), new_key()
    write(path, entry(key))
    compared = []

    def compare(left, right):
        compared.append((left, right))
        return left == right

    monkeypatch.setattr(hmac, "compare_digest", compare)
    # Its id is right, which everybody may know, and its secret is not.
    forged = read_key(key.text[:14] + other.text[14:])
    assert forged is not None
    with pytest.raises(UnauthenticatedError):
        ring().authenticate(forged.text)
    assert compared == [(forged.sha256, key.sha256)]
