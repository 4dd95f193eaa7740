"""Decide by its headers whether a request is taken, and bound what its body may be.

A page of another origin must not make a browser use this server. Three checks stand against that:
the name in `Host` (a foreign name may have been bound to this address), `Sec-Fetch-Site`, and
`Origin`. No request is ever authenticated by a cookie.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arno.errors import (
    ArnoError,
    CrossSiteError,
    DeadlineExceededError,
    LimitExceededError,
    OverloadedError,
)
from arno.web.problems import error_response
from arno.web.settings import WebSettings

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN_SITES: Final = frozenset({"same-origin", "none"})

SECURITY_HEADERS: Final = {
    # Scripts and styles are files of this server; no text of a label can become either.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware around everything that is served. Lives in one asyncio loop."""

    def __init__(self, app: ASGIApp, settings: WebSettings) -> None:
        """Take what is guarded, and the limits."""
        self._app = app
        self._settings = settings
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or pass the request on with its body bounded."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sending = _with_headers(send)
        body = _Body(self, receive, self._settings)
        try:
            self._check_host(headers)
            if scope["method"] not in _SAFE_METHODS:
                _check_site(headers)
            body.announce(headers.get("content-length", ""))
        except ArnoError as error:
            body.release()
            await error_response(scope["path"], error)(scope, receive, sending)
            return
        try:
            await self._app(scope, body.receive, sending)
        finally:
            body.release()

    def hold(self, size_bytes: int) -> None:
        """Count bytes of bodies in hand.

        Raises:
            OverloadedError: They would be more than `web_bodies_bytes_max`.
        """
        wanted = self._held_bytes + size_bytes
        limit = self._settings.web_bodies_bytes_max
        if wanted > limit:
            raise OverloadedError(
                f"bodies in hand would be {wanted} bytes; allowed: {limit} (web_bodies_bytes_max)",
                budget="bytes of bodies in hand",
                limit=str(limit),
                wanted=str(wanted),
            )
        self._held_bytes = wanted

    def let_go(self, size_bytes: int) -> None:
        """Count them no longer."""
        self._held_bytes -= size_bytes

    def _check_host(self, headers: Headers) -> None:
        host = _without_port(headers.get("host", "")).lower()
        known = host == "localhost" or host.endswith(".localhost")
        if known or host in self._settings.web_hosts or _is_address(host):
            return
        raise CrossSiteError(
            f"host: {host!r} is no name of this server; name it in web_hosts (--web-hosts)",
            field="host",
            sent=host,
        )


class _Body:
    """The body of one request: bounded in size and in time, counted while it is in hand."""

    def __init__(self, guard: Guard, receive: Receive, settings: WebSettings) -> None:
        self._guard = guard
        self._receive = receive
        self._limit_bytes = settings.web_body_bytes_max
        self._timeout_s = settings.web_receive_timeout_s
        self._deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        self._held_bytes = 0
        self._received_bytes = 0
        self._complete = False

    def announce(self, length: str) -> None:
        """Refuse a body by its length, before any of it is read."""
        if length.isdecimal():
            self._check(int(length))
            self._grow_to(int(length))

    async def receive(self) -> Message:
        """Return the next part; once the body is complete, wait for the caller to hang up."""
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline_s):
                message = await self._receive()
        except TimeoutError as late:
            limit = f"{self._timeout_s:g} s"
            sentence = f"body: not received within {limit} (web_receive_timeout_s)"
            raise DeadlineExceededError(sentence, field="body", limit=limit) from late
        if message["type"] == "http.request":
            self._received_bytes += len(message.get("body", b""))
            self._check(self._received_bytes)
            self._grow_to(self._received_bytes)
            self._complete = not message.get("more_body", False)
        return message

    def release(self) -> None:
        """Count its bytes no longer."""
        self._guard.let_go(self._held_bytes)
        self._held_bytes = 0

    def _grow_to(self, size_bytes: int) -> None:
        if size_bytes > self._held_bytes:
            self._guard.hold(size_bytes - self._held_bytes)
            self._held_bytes = size_bytes

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise LimitExceededError(
                field="body",
                problem="too large (web_body_bytes_max)",
                limit=f"{self._limit_bytes} bytes",
                sent=f"{size_bytes} bytes or more",
            )


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers[name] = value
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending


def _check_site(headers: Headers) -> None:
    """Refuse what a page of another origin sends.

    Raises:
        CrossSiteError: It is such a request. Programs send neither of the two headers.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in _OWN_SITES:
        sentence = f"sec-fetch-site: a page of another origin may not do this; sent: {site}"
        raise CrossSiteError(sentence, field="sec-fetch-site", sent=site)
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        sentence = f"origin: a page of another origin may not do this; sent: {origin}"
        raise CrossSiteError(sentence, field="origin", sent=origin)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(host: str) -> bool:
    # No name can be bound to these by others, so a page that was loaded from them is ours.
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
