"""Write the reference of the API from the comments of protos/arno/api; ``--check`` only compares.

One file is the page of the gRPC API. The other holds the comments by the names of messages and
fields: the descriptors of a running process have none, and the HTTP API shows them.

The protos are the source: each service, message, field and value has a comment there (buf lint).
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from generated_files import write_or_check
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc
from sources import ROOT

PAGE = ROOT / "docs" / "reference" / "grpc.md"
COMMENTS = ROOT / "services" / "arno" / "web" / "comments.json"
_HEAD = """# The gRPC API, field by field

Generated from `protos/arno/api/v1` by `make reference`; [the guide](../api.md) says how calls go
together.
"""
_KINDS = {
    value: name.removeprefix("TYPE_").lower() for name, value in FieldDescriptorProto.Type.items()
}
# Numbers of fields in descriptor.proto, of which paths to comments are made.
_SERVICES, _MESSAGES, _ENUMS, _NESTED = 6, 4, 5, 2


def generated() -> Mapping[Path, str]:
    """Return the files, by their paths."""
    files = _files()
    told = json.dumps(dict(sorted(comments(files))), indent=2, ensure_ascii=False)
    return {PAGE: page(files), COMMENTS: f"{told}\n"}


def page(files: Sequence[FileDescriptorProto]) -> str:
    """Return the page."""
    lines = [_HEAD]
    for file in files:
        told = _comments(file)
        for number, service in enumerate(file.service):
            lines += _service(service, told, (_SERVICES, number))
    for file in files:
        told = _comments(file)
        for number, message in enumerate(file.message_type):
            lines += _message(message, told, (_MESSAGES, number))
        for number, kind in enumerate(file.enum_type):
            lines += _enum(kind, told, (_ENUMS, number))
    return "\n".join(lines).rstrip() + "\n"


def comments(files: Sequence[FileDescriptorProto]) -> Iterator[tuple[str, str]]:
    """Yield the comment of each message, field (`Message.field`) and enum."""
    for file in files:
        told = _comments(file)
        for number, message in enumerate(file.message_type):
            path = (_MESSAGES, number)
            yield message.name, told.get(path, "")
            for index, field in enumerate(message.field):
                yield f"{message.name}.{field.name}", told.get((*path, _NESTED, index), "")
        for number, kind in enumerate(file.enum_type):
            yield kind.name, told.get((_ENUMS, number), "")


def _files() -> list[FileDescriptorProto]:
    folder = ROOT / "protos"
    names = sorted(str(path.relative_to(folder)) for path in folder.glob("arno/api/v1/*.proto"))
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "protos"
        flags = [f"-I{folder}", f"-I{Path(protoc.__file__).parent / '_proto'}"]
        words = ["protoc", *flags, "--include_source_info", f"--descriptor_set_out={out}", *names]
        if protoc.main(words):
            raise SystemExit(1)
        return list(FileDescriptorSet.FromString(out.read_bytes()).file)


Comments = dict[tuple[int, ...], str]


def _comments(file: FileDescriptorProto) -> Comments:
    return {
        tuple(place.path): " ".join(place.leading_comments.split())
        for place in file.source_code_info.location
        if place.leading_comments
    }


def _service(
    service: ServiceDescriptorProto, told: Comments, path: tuple[int, ...]
) -> Iterator[str]:
    yield f"## {service.name}\n"
    yield f"{_text(told, path)}\n"
    yield "| call | takes | answers | |"
    yield "| --- | --- | --- | --- |"
    for number, method in enumerate(service.method):
        takes = _streamed(method.client_streaming, method.input_type)
        answers = _streamed(method.server_streaming, method.output_type)
        yield f"| `{method.name}` | {takes} | {answers} | {_text(told, (*path, 2, number))} |"
    yield ""


def _message(message: DescriptorProto, told: Comments, path: tuple[int, ...]) -> Iterator[str]:
    yield f"## {message.name}\n"
    yield f"{_text(told, path)}\n"
    if message.field:
        yield "| field | type | number | |"
        yield "| --- | --- | --- | --- |"
    for number, field in enumerate(message.field):
        text = _text(told, (*path, 2, number))
        if field.HasField("oneof_index") and not field.proto3_optional:
            text = f"One of `{message.oneof_decl[field.oneof_index].name}`. {text}"
        yield f"| `{field.name}` | {_type(field, message)} | {field.number} | {text} |"
    yield ""


def _enum(kind: EnumDescriptorProto, told: Comments, path: tuple[int, ...]) -> Iterator[str]:
    yield f"## {kind.name}\n"
    yield f"{_text(told, path)}\n"
    yield "| value | number | |"
    yield "| --- | --- | --- |"
    for number, value in enumerate(kind.value):
        text = _text(told, (*path, _NESTED, number))
        yield f"| `{value.name}` | {value.number} | {text} |"
    yield ""


def _type(field: Any, message: DescriptorProto) -> str:
    for nested in message.nested_type:
        if nested.options.map_entry and field.type_name.endswith(f".{nested.name}"):
            key, value = (_type(part, nested).strip("`") for part in nested.field)
            return f"map of `{key}` to `{value}`"
    kind = _named(field.type_name) if field.type_name else f"`{_KINDS[field.type]}`"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"repeated {kind}"
    return f"optional {kind}" if field.proto3_optional else kind


def _named(name: str) -> str:
    own = name.removeprefix(".arno.api.v1.")
    return f"[{own}](#{own.lower()})" if own != name else f"`{name.lstrip('.')}`"


def _streamed(streams: bool, name: str) -> str:
    return f"{'stream of ' if streams else ''}{_named(name)}"


def _text(told: Comments, path: tuple[int, ...]) -> str:
    return told.get(path, "").replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, generated, "reference"))
