"""Get the images of Label Studio's tasks: out of the task, from listed folders and hosts alone.

==================================== ==============================================================
In a task's data                     Comes from
==================================== ==============================================================
``data:image/png;base64,...``        the task itself
``/data/local-files/?d=PATH``        a listed folder, or else Label Studio
``/data/upload/1/a.jpg`` and others  Label Studio, with its token
``s3://``, ``gs://``, ``azure-blob`` Label Studio's ``/tasks/ID/presign/``, and where that leads
``https://HOST/...``                 the host, if it is listed
==================================== ==============================================================

Redirects are followed by hand, and each is judged as a new address. The token goes to Label Studio
alone.
"""

from __future__ import annotations

import asyncio
import base64
from typing import Final
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp

from arno import __version__
from arno.errors import ImageNotFetchedError, InvalidFieldError, LimitExceededError
from arno.ops.public_addresses import PublicResolver, require_public_literal
from arno.vocabulary.inputs import quoted
from arno.web.image_files import ImageFiles
from arno.web.label_studio.access import LabelStudio
from arno.web.request_reader import decode_image
from arno.web.settings import AppSettings

_LOCAL_FILES: Final = "/data/local-files/"
_CLOUDS: Final = ("s3:", "gs:", "azure-blob:")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_HOPS_MAX: Final = 4
_ALLOWS: Final = "web_image_private"


class TaskImages:
    """Gets images. Lives in one asyncio loop."""

    def __init__(self, settings: AppSettings, studio: LabelStudio) -> None:
        """Take the limits, and the Label Studio that has uploads."""
        self._settings = settings
        self._studio = studio
        self._files = ImageFiles(
            settings.web_image_folders,
            bytes_max=settings.web_image_bytes_max,
            setting="web_image_folders",
        )
        resolver = None if settings.web_image_private else PublicResolver(setting=_ALLOWS)
        self._listed = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False),
            headers={"User-Agent": f"arno/{__version__}"},
        )

    async def get(self, field: str, value: object, *, task_id: object) -> bytes:
        """Return the file of an image.

        Args:
            field: Where the value stands, for messages.
            value: What a task's data has for the image.
            task_id: The task.

        Raises:
            InvalidFieldError: It is none of what the table above lists, or from a host that is not.
            LimitExceededError: It is too large.
            ImageNotFetchedError: Its host did not give it.
        """
        if not isinstance(value, str) or not value:
            raise InvalidFieldError(
                field=field, problem="must be the address of an image", sent=quoted(str(value))
            )
        if value.startswith("data:"):
            return decode_image(field, value)
        if value.startswith(_LOCAL_FILES):
            path = parse_qs(urlsplit(value).query).get("d", [""])[-1]
            if self._files.find(path) is not None:
                return await asyncio.to_thread(self._files.read, path)
        try:
            async with asyncio.timeout(self._settings.web_fetch_timeout_s):
                return await self._fetch(field, self._address(field, value, task_id))
        except TimeoutError as late:
            limit = f"{self._settings.web_fetch_timeout_s:g} s (web_fetch_timeout_s)"
            raise _not_fetched(field, value, f"no answer within {limit}") from late
        except (aiohttp.ClientError, OSError) as error:
            raise _not_fetched(field, value, str(error) or type(error).__name__) from error
        except ValueError as error:  # an address that has no parts, such as http://[
            raise InvalidFieldError(
                field=field, problem="no address of an image", sent=quoted(value)
            ) from error

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        await self._listed.close()

    def _address(self, field: str, value: str, task_id: object) -> str:
        """Return the address of an image that another process has."""
        if value.startswith(("http://", "https://")):
            return value
        path = value if value.startswith("/") else f"/data/{value}"
        if value.startswith(_CLOUDS):
            coded = base64.urlsafe_b64encode(value.encode()).decode()
            path = f"/tasks/{task_id}/presign/?fileuri={coded}"
        elif not value.startswith(("/", "upload/")):
            limit = "a data URL, http(s)://, s3://, gs://, azure-blob:// or a path of Label Studio"
            problem = "no address of an image"
            raise InvalidFieldError(field=field, problem=problem, limit=limit, sent=quoted(value))
        if not self._studio.url:
            problem = "only Label Studio has it, and web_label_studio_url does not say where it is"
            raise InvalidFieldError(field=field, problem=problem, sent=quoted(value))
        return self._studio.url + path

    async def _fetch(self, field: str, address: str) -> bytes:
        first = address
        for _ in range(_HOPS_MAX):
            session, headers = await self._way_to(field, address)
            async with session.get(address, headers=headers, allow_redirects=False) as answer:
                if answer.status in _REDIRECTS:
                    address = urljoin(address, answer.headers.get("Location", ""))
                    continue
                if answer.status != 200:
                    raise _not_fetched(field, address, f"status {answer.status}")
                return await self._read(field, answer)
        raise _not_fetched(field, first, f"more than {_HOPS_MAX - 1} redirects")

    async def _way_to(
        self, field: str, address: str
    ) -> tuple[aiohttp.ClientSession, dict[str, str]]:
        """Return what may connect to an address.

        Raises:
            InvalidFieldError: Its host is not listed.
            OSError: It is private.
        """
        if self._studio.has(address):
            return self._studio.session, await self._studio.headers()
        parts = urlsplit(address)
        listed = self._settings.web_image_hosts
        if parts.scheme not in {"http", "https"} or not {
            (parts.hostname or "").lower(),
            parts.netloc.lower(),
        } & set(listed):
            problem = "its host is not listed (web_image_hosts)"
            limit = ", ".join(listed) or "none"
            raise InvalidFieldError(field=field, problem=problem, limit=limit, sent=quoted(address))
        if not self._settings.web_image_private:
            require_public_literal(address, setting=_ALLOWS)
        return self._listed, {}

    async def _read(self, field: str, answer: aiohttp.ClientResponse) -> bytes:
        limit = self._settings.web_image_bytes_max
        body = bytearray()
        async for part in answer.content.iter_chunked(1 << 16):
            body += part
            if len(body) > limit:
                raise LimitExceededError(
                    field=field,
                    problem="too large (web_image_bytes_max)",
                    limit=f"{limit} bytes",
                    sent=f"more than {limit} bytes",
                )
        return bytes(body)


def _not_fetched(field: str, address: str, why: str) -> ImageNotFetchedError:
    shown = quoted(address.partition("?")[0])  # a signed address is a secret
    return ImageNotFetchedError(f"{field}: {shown} was not fetched: {why}", field=field, why=why)
