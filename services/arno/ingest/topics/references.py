"""Get the images that the values of a topic refer to: https, s3 and file, from listed places only.

References come from those who write to the topic, and are trusted with nothing: host, bucket
or folder must be listed, addresses of private networks are refused where they are not allowed, and
every redirect is a reference of its own.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp

from arno import __version__
from arno.errors import ImageUnreachableError, LimitExceededError
from arno.ingest.settings import References
from arno.ops.public_addresses import PublicResolver, require_public_literal

_REFERENCE_BYTES_MAX: Final = 4096
_REDIRECTS_MAX: Final = 3
_PIECE_BYTES: Final = 256 * 1024
_PAUSE_S_MIN: Final = 0.5
_PAUSE_S_MAX: Final = 10.0
_FINAL_STATUSES: Final = frozenset({400, 401, 403, 404, 405, 410, 414, 451})


class _MomentaryError(Exception):
    """The image may be had later."""


class Fetcher:
    """Gets the images of one route. Lives in one asyncio loop."""

    def __init__(
        self,
        places: References,
        *,
        image_bytes_max: int,
        attempts_max: int,
        on_retry: Callable[[str], None],
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take the places; connections are made at the first reference.

        Args:
            places: Where references may lead.
            image_bytes_max: Largest image.
            attempts_max: Attempts to get it.
            on_retry: Called with the reason before an attempt is repeated.
            pause: Waits a number of seconds.
        """
        self._places = places
        self._image_bytes_max = image_bytes_max
        self._attempts_max = attempts_max
        self._on_retry = on_retry
        self._pause = pause
        self._session: aiohttp.ClientSession | None = None
        self.slots = asyncio.Semaphore(places.in_flight)
        """Taken by its user for as long as an image is in memory."""

    async def fetch(self, value: bytes) -> bytes:
        """Return the image that a record's value refers to.

        Raises:
            ImageUnreachableError: It leads nowhere, or not to a listed place; or every attempt
                failed.
            LimitExceededError: The reference is too long, or the image too large.
        """
        reference = _text_of(value)
        pause_s = _PAUSE_S_MIN
        for attempt in range(1, self._attempts_max + 1):
            try:
                return await self._once(reference)
            except _MomentaryError as error:
                if attempt == self._attempts_max:
                    raise _unreachable(str(error), reference) from error
                self._on_retry(ImageUnreachableError.reason)
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
        raise AssertionError("attempts_max is at least 1")

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _once(self, reference: str) -> bytes:
        scheme, _, rest = reference.partition("://")
        match scheme.lower():
            case "https" | "http" if rest:
                return await self._download(reference)
            case "s3" if rest:
                return await self._download(self._address_of(reference, rest), listed=True)
            case "file" if rest:
                return await self._read(unquote(urlsplit(reference).path), reference)
            case _ if reference.startswith("/"):
                return await self._read(reference, reference)
        raise _unreachable("not a reference to an image", reference, allowed=self._allowed())

    def _address_of(self, reference: str, rest: str) -> str:
        bucket, _, key = rest.partition("/")
        base = self._places.buckets.get(bucket)
        if base is None:
            problem = f"the bucket {bucket!r} is not listed"
            raise _unreachable(
                problem, reference, allowed=", ".join(self._places.buckets) or "none"
            )
        # Steps up would leave the bucket for another one of the same host.
        if not key or any(step in {"", ".", ".."} for step in key.split("/")):
            raise _unreachable("the key is no path", reference)
        return f"{base.rstrip('/')}/{quote(key)}"

    async def _download(self, url: str, *, listed: bool = False) -> bytes:
        for _ in range(_REDIRECTS_MAX + 1):
            if not listed:
                self._check_listed(url)
            try:
                if not self._places.allow_private:
                    require_public_literal(url)
                async with self._connected().get(url, allow_redirects=False) as answer:
                    location = answer.headers.get("Location", "")
                    if not (300 <= answer.status < 400 and location):
                        return await self._content(answer, url)
            except TimeoutError as error:
                raise _MomentaryError("no answer in time") from error
            except PermissionError as error:
                raise _unreachable(error.strerror or "refused", url) from error
            except (aiohttp.InvalidURL, ValueError) as error:
                raise _unreachable("not an address", url) from error
            except (aiohttp.ClientError, OSError) as error:
                if isinstance(private := getattr(error, "os_error", None), PermissionError):
                    raise _unreachable(private.strerror or "refused", url) from error
                raise _MomentaryError(str(error) or type(error).__name__) from error
            # Where it leads is listed, or it is not followed.
            url, listed = urljoin(url, location), False
        raise _unreachable(f"more than {_REDIRECTS_MAX} redirects", url)

    def _check_listed(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            host, port, secret = parts.hostname or "", parts.port, parts.username or parts.password
        except ValueError as error:
            raise _unreachable("not an address", url) from error
        if secret:
            raise _unreachable("an address must hold no user and no password", url)
        if parts.scheme != "https" and not (parts.scheme == "http" and self._places.http):
            raise _unreachable(f"{parts.scheme}:// is not allowed", url, allowed=self._allowed())
        names = {host, f"{host}:{port}"} if port else {host}
        # A port that is not the scheme's own must be listed with it.
        names -= {host} if port not in {None, 443, 80} else set()
        if not any(_matches(name, listed) for name in names for listed in self._places.hosts):
            raise _unreachable(f"the host {host!r} is not listed", url, allowed=self._allowed())

    async def _content(self, answer: aiohttp.ClientResponse, url: str) -> bytes:
        if answer.status in _FINAL_STATUSES:
            raise _unreachable(f"status {answer.status}", url)
        if answer.status != 200:
            raise _MomentaryError(f"status {answer.status}")
        limit = self._image_bytes_max
        if (answer.content_length or 0) > limit:
            raise _too_large(limit, answer.content_length or 0)
        pieces: list[bytes] = []
        size = 0
        async for piece in answer.content.iter_chunked(_PIECE_BYTES):
            size += len(piece)
            if size > limit:
                raise _too_large(limit, size)
            pieces.append(piece)
        return b"".join(pieces)

    async def _read(self, path: str, reference: str) -> bytes:
        return await asyncio.to_thread(self._read_file, path, reference)

    def _read_file(self, path: str, reference: str) -> bytes:
        """Read a regular file below a listed folder; links must not lead out of it."""
        try:
            real = Path(path).resolve(strict=True)
            folders = [folder.resolve() for folder in self._places.folders]
            if not any(real.is_relative_to(folder) for folder in folders):
                raise _unreachable("not in a listed folder", reference, allowed=self._allowed())
            # What was a file when it was checked may be a link, or a pipe that hangs, by now.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with open(real, "rb", opener=lambda path, _: os.open(path, flags)) as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise _unreachable("not a file", reference)
                if found.st_size > self._image_bytes_max:
                    raise _too_large(self._image_bytes_max, found.st_size)
                return file.read(self._image_bytes_max)
        except IsADirectoryError as error:
            raise _unreachable("not a file", reference) from error
        except (FileNotFoundError, NotADirectoryError, ValueError) as error:
            raise _unreachable("no such file", reference) from error
        except PermissionError as error:
            raise _unreachable("the file may not be read", reference) from error
        except OSError as error:
            raise _MomentaryError(error.strerror or str(error)) from error

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = None if self._places.allow_private else PublicResolver()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False),
                timeout=aiohttp.ClientTimeout(total=self._places.timeout_s),
                # A compressed answer could be a thousand times as large as what was received.
                headers={"User-Agent": f"arno/{__version__}", "Accept-Encoding": "identity"},
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _allowed(self) -> str:
        places = self._places
        schemes = ("https", "http") if places.http else ("https",)
        return ", ".join(
            [
                *(f"{scheme}://{host}" for host in places.hosts for scheme in schemes),
                *(f"s3://{bucket}" for bucket in places.buckets),
                *map(str, places.folders),
            ]
        )


def _text_of(value: bytes) -> str:
    if len(value) > _REFERENCE_BYTES_MAX:
        raise LimitExceededError(
            field="value",
            problem="the reference is too long",
            limit=f"{_REFERENCE_BYTES_MAX} bytes",
            sent=f"{len(value)} bytes",
        )
    try:
        text = value.decode().strip()
    except UnicodeDecodeError as error:
        raise _unreachable("the reference is no UTF-8", "") from error
    if not text or not text.isprintable():
        raise _unreachable("not a reference to an image", text)
    return text


def _matches(name: str, listed: str) -> bool:
    return name.endswith(listed[1:]) if listed.startswith("*.") else name == listed


def _unreachable(
    problem: str, reference: str, *, allowed: str | None = None
) -> ImageUnreachableError:
    # The query of an address may hold a signature, which belongs in no log.
    sent = without_query(reference)
    return ImageUnreachableError(field="value", problem=problem, limit=allowed, sent=sent)


def without_query(reference: str) -> str:
    """Return a reference without what may be a secret in it."""
    address, mark, _ = reference.partition("?")
    scheme, slashes, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}{mark and '?...'}"


def _too_large(limit: int, sent: int) -> LimitExceededError:
    return LimitExceededError(
        field="value",
        problem="the image is too large",
        limit=f"{limit} bytes",
        sent=f"{sent} bytes",
    )
