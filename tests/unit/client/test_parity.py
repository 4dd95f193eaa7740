"""The blocking and the asyncio client are one interface: the same methods, parameters and texts."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
from arno.client import AsyncClient, Client

METHODS = sorted(name for name in vars(AsyncClient) if not name.startswith("_"))


def said_blocking(text: str) -> str:
    """Return an annotation or a docstring of the asyncio client as the blocking one has it."""
    return text.replace("Async", "").replace("async with", "with").replace("await ", "")


def parameters(method: Callable[..., object]) -> list[tuple[str, object, object, str]]:
    return [
        (one.name, one.kind, one.default, said_blocking(str(one.annotation)))
        for one in inspect.signature(method).parameters.values()
    ]


def test_methods_are_the_same():
    assert sorted(name for name in vars(Client) if not name.startswith("_")) == METHODS


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_parameters_and_returns_are_the_same(name):
    asynchronous, blocking = getattr(AsyncClient, name), getattr(Client, name)
    assert parameters(blocking) == parameters(asynchronous)
    returned = inspect.signature(asynchronous).return_annotation
    assert inspect.signature(blocking).return_annotation == said_blocking(returned)


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_docstrings_are_the_same(name):
    text = inspect.getdoc(getattr(AsyncClient, name))
    assert text
    assert inspect.getdoc(getattr(Client, name)) == text


@pytest.mark.parametrize("name", METHODS)
def test_blocking_method_is_no_coroutine(name):
    method = getattr(Client, name)
    assert not inspect.iscoroutinefunction(method)
    assert not inspect.isasyncgenfunction(method)
