"""The OpenAPI document describes what is served."""

from __future__ import annotations

import json
import re

from arno.api.v1 import types_pb2
from arno.client import AsyncClient
from arno.web.app import make_app
from arno.web.openapi import openapi_document
from arno.web.settings import AppSettings
from starlette.routing import Route


def test_every_route_of_the_api_is_described_and_no_other():
    app = make_app(AppSettings(), lambda: AsyncClient("127.0.0.1:1"))
    served = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith("/v1/")
        for method in route.methods or ()
        if method != "HEAD"
    }
    described = {
        (path, method)
        for path, methods in openapi_document()["paths"].items()
        for method in methods
    }
    assert described == served


def test_every_reference_leads_to_a_schema():
    document = openapi_document()
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert named
    assert named <= document["components"]["schemas"].keys()


def test_schema_has_the_fields_of_the_message_as_json_names_them():
    schema = openapi_document()["components"]["schemas"]["TaskSpec"]
    assert schema["properties"].keys() == {
        field.json_name for field in types_pb2.TaskSpec.DESCRIPTOR.fields
    }
    assert all(one["description"] for one in schema["properties"].values())
    region = openapi_document()["components"]["schemas"]["Region"]
    assert "box, quadBox, polygons" in region["description"]
