"""Parameters and answers of commands as attrs classes.

The class is the one description: reading a query, writing an answer and listApis all follow its fields. A field's name
is the parameter's or answer's name, lower-case as in CloudStack; its annotation is the type.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import UnionType
from typing import Any, NewType, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from attrs import NOTHING, Attribute, field, fields, frozen

from cloudlb.api.errors import ApiError, ErrorCode, invalid_parameter

A = TypeVar("A")

Key = NewType("Key", str)
"""The id of something: its uuid, or its number in the database."""
Date = NewType("Date", str)
Long = NewType("Long", int)

FIRST_RELEASE = "0.1.0"
LENGTH = 255
"""Characters that a parameter may have unless it says otherwise, as in CloudStack [BaseCmd, Parameter.length]."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WHOLE = re.compile(r"-?[0-9]{1,18}")


def required(description: str, *, related: str = "", length: int = LENGTH, secret: bool = False) -> Any:
    """Declare a parameter that every call must carry; see :func:`optional`."""
    return field(repr=not secret, metadata=_metadata(description, related, length))


def optional(
    description: str, *, related: str = "", length: int = LENGTH, secret: bool = False, extension: bool = False
) -> Any:
    """Declare a parameter that is None where a call does not carry it.

    Args:
        related: commands, comma-separated, whose answers carry ids for it.
        length: the most characters it may have.
        secret: it has no place in a repr.
        extension: CloudStack's command has no such parameter.
    """
    return field(default=None, repr=not secret, metadata=_metadata(description, related, length, extension))


def shown(description: str, *, secret: bool = False, extension: bool = False) -> Any:
    """Declare a field of an answer; None is left out of it.

    Args:
        secret: it has no place in a repr.
        extension: CloudStack's answer has no such field.
    """
    return field(default=None, repr=not secret, metadata={"description": description, "extension": extension})


def _metadata(description: str, related: str, length: int, extension: bool = False) -> Mapping[str, Any]:
    return {"description": description, "related": related, "length": length, "extension": extension}


def _truth(text: str) -> bool:
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return lowered == "true"


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _integer(text: str) -> int:
    number = _whole(text)
    if not -(2**31) <= number < 2**31:
        raise ValueError(f"{text!r} is more than an integer holds")
    return number


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _key(text: str) -> Key:
    if not text:
        raise ValueError("it is empty")
    return Key(text)


@frozen
class _Type:
    """A type as listApis names it, and how its text is read."""

    name: str
    read: Callable[[str], Any] = str


_TYPES: Mapping[Any, _Type] = {
    str: _Type("string"),
    Key: _Type("uuid", _key),
    bool: _Type("boolean", _truth),
    int: _Type("integer", _integer),
    Long: _Type("long", _whole),
    Date: _Type("date"),
    list: _Type("list", _items),
    dict: _Type("map"),
}


_Fields: TypeAlias = "tuple[tuple[Attribute[Any], _Type], ...]"
_typed: dict[type[Any], _Fields] = {}


def _typed_fields(described: type[Any]) -> _Fields:
    if described not in _typed:
        _typed[described] = _resolve(described)
    return _typed[described]


def _resolve(described: type[Any]) -> _Fields:
    hints = get_type_hints(described)

    def kind(hint: Any) -> _Type:
        if get_origin(hint) is UnionType or type(None) in get_args(hint):
            (hint,) = (part for part in get_args(hint) if part is not type(None))
        return _TYPES[get_origin(hint) or hint]

    return tuple((attribute, kind(hints[attribute.name])) for attribute in fields(described))


def read_arguments(described: type[A], parameters: Mapping[str, str], command: str) -> A:
    """Make the arguments of a command from the parameters of a query, whose names are lower-case.

    Parameters that the command does not have are ignored, as CloudStack does.

    Raises:
        ApiError: a required one is missing, or one has not its type; the text names it.
    """
    values: dict[str, Any] = {}
    for attribute, kind in _typed_fields(described):
        name = attribute.name
        text = parameters.get(name)
        if text is None:
            if attribute.default is NOTHING:
                raise ApiError(
                    ErrorCode.PARAMETER, f"Unable to execute API command {command} due to missing parameter {name}"
                )
            continue
        if len(text) > attribute.metadata["length"]:
            raise invalid_parameter(name, f"it is longer than {attribute.metadata['length']} characters")
        if _CONTROL.search(text):
            raise invalid_parameter(name, "it contains control characters")
        try:
            values[name] = kind.read(text)
        except ValueError as error:
            raise invalid_parameter(name, str(error)) from error
    return described(**values)


def as_answer(value: Any) -> dict[str, Any]:
    """Turn an object with :func:`shown` fields into what JSON or XML carries; ``class_`` is a field named ``class``."""
    return {
        attribute.name.rstrip("_"): content
        for attribute, _ in _typed_fields(type(value))
        if (content := getattr(value, attribute.name)) is not None
    }


def describe_parameters(described: type[Any]) -> list[dict[str, Any]]:
    """The ``params`` of listApis. Nothing is null: clients take each field for granted."""
    return [
        {
            "name": attribute.name,
            "description": marked(attribute.metadata["description"], attribute.metadata["extension"]),
            "type": kind.name,
            "length": attribute.metadata["length"],
            "required": attribute.default is NOTHING,
            "since": FIRST_RELEASE,
            "related": attribute.metadata["related"],
            "extension": attribute.metadata["extension"],
        }
        for attribute, kind in _typed_fields(described)
    ]


def describe_answer(described: type[Any]) -> list[dict[str, Any]]:
    """The ``response`` of listApis."""
    return [
        {
            "name": attribute.name.rstrip("_"),
            "description": marked(attribute.metadata["description"], attribute.metadata["extension"]),
            "type": kind.name,
            "extension": attribute.metadata["extension"],
        }
        for attribute, kind in _typed_fields(described)
    ]


def marked(description: str, extension: bool) -> str:
    """A description as people read it: clients that know of no extensions show nothing else."""
    return f"cloudlb's own: {description}" if extension else description


def date(seconds: float | None) -> Date | None:
    """A time as CloudStack writes it; None stays None."""
    return None if seconds is None else Date(datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S%z"))
