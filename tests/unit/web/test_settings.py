"""The web process listens on loopback, or where it was asked to."""

from __future__ import annotations

import pytest
from arno.web.settings import WebSettings
from pydantic import ValidationError


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:8080", "localhost:80"])
def test_loopback_needs_no_word(listen):
    assert WebSettings(web_listen=listen).web_listen == listen


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "[::]:8080", "10.0.0.1:80", "a.example:80"])
def test_other_addresses_are_refused_unless_asked_for(listen):
    with pytest.raises(ValidationError, match="--web-public"):
        WebSettings(web_listen=listen)
    assert WebSettings(web_listen=listen, web_public=True).web_listen == listen


@pytest.mark.parametrize("listen", ["8080", "localhost", "localhost:x", "localhost:70000"])
def test_address_needs_a_port(listen):
    with pytest.raises(ValidationError, match="HOST:PORT"):
        WebSettings(web_listen=listen)
