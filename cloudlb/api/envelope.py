"""How results and errors are written: one top-level key, in JSON or in XML."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

import orjson
from attrs import frozen

from cloudlb._version import __version__
from cloudlb.api.errors import ApiError

UNKNOWN_COMMAND = "errorresponse"
"""The key of errors of calls that name no command of ours."""
_CS_ERROR_CODE = 9999
"""CloudStack's second code, which says nothing [CSExceptionErrorCode]."""
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_NOT_A_NAME = re.compile(r"[^\w.-]", re.ASCII)
_BEGINS_A_NAME = re.compile(r"[A-Za-z_]")


@frozen
class Json:
    """A part of a body that was written before."""

    content: bytes


@frozen
class Written:
    """The body of an HTTP response and its type."""

    content: bytes
    content_type: str


def error_body(error: ApiError) -> Mapping[str, Any]:
    """What stands in the envelope of an error."""
    return {
        "uuidList": [],
        "errorcode": int(error.code),
        "cserrorcode": _CS_ERROR_CODE,
        "errortext": error.text,
    }


def write(envelope: str, body: Mapping[str, Any], response: str) -> Written:
    """Write an answer.

    Args:
        envelope: the top-level key.
        body: what stands under it.
        response: the query's parameter of this name; all but "json" is XML, which is CloudStack's default.
    """
    if response.lower() == "json":
        return Written(orjson.dumps({envelope: body}, default=_fragment), "application/json; charset=UTF-8")
    root = ET.Element(envelope, {"cloud-stack-version": __version__})
    _fill(root, body)
    return Written(ET.tostring(root, encoding="UTF-8", xml_declaration=True), "text/xml; charset=UTF-8")


def _fragment(part: object) -> orjson.Fragment:
    if not isinstance(part, Json):
        raise TypeError(f"{type(part)} is no JSON")
    return orjson.Fragment(part.content)


def _fill(parent: ET.Element, content: Mapping[str, Any]) -> None:
    for name, value in content.items():
        content_of = orjson.loads(value.content) if isinstance(value, Json) else value
        for item in content_of if isinstance(content_of, list) else [content_of]:
            element = ET.SubElement(parent, _element_name(name))
            if isinstance(item, Mapping):
                _fill(element, item)
            else:
                text = str(item).lower() if isinstance(item, bool) else str(item)
                # Names come from agents; what XML cannot hold must not make the whole answer unreadable.
                element.text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _element_name(name: str) -> str:
    """A key as the name of an element; keys come from agents, too."""
    fitting = _NOT_A_NAME.sub("_", name)
    return fitting if _BEGINS_A_NAME.match(fitting) else f"_{fitting}"
