"""Between a packet's body, which is JSON, and commands and answers.

Body: a JSON array with one object per command or answer; its only key is the class, its value the fields. See
:mod:`cloudlb.wire.vocabulary` for the names. Reading, a null is as good as no field; a key that comes twice counts as
it came last; unknown fields and unknown classes are kept as they came. Writing, what is None is left out and
everything else is written, since Java expects its empty collections and its primitives.

Whatever was read can be written again without loss, and what could not is refused: integers beyond 64 bits, and a
nesting so deep that the writer would give up on it. Numbers with a fraction are IEEE doubles, as in Java.

A stranger may send a body, and while it is read nobody else is served: every step takes time in proportion to the
bytes, and MAX_CONTAINERS refuses those that would take the longest. The worst 1 MiB costs some 50 ms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from inspect import isclass
from typing import Any, get_args, get_origin

import orjson
from attrs import fields
from cattrs import ClassValidationError, Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from cloudlb.wire.content import Answer, Command, Fields, Opaque
from cloudlb.wire.errors import BodyError
from cloudlb.wire.vocabulary import class_named, field_names, wire_name

Json = Mapping[str, Any]

MAX_CONTENTS = 1024
"""Elements of one body. CloudStack sends a few, seldom some hundreds; a message has room for a million that would keep
everyone else waiting for seconds."""
MAX_CONTAINERS = 2**14
"""Arrays and objects of one body, brackets in texts included. CloudStack sends some thousands where it reports on all
VMs of a host. Each costs as much as 20 bytes of text, and several times that in the garbage collector."""

_SMALL = 400
"""A body of fewer bytes has no room for brackets nested deeper than orjson writes (254), nor for too many."""
_KINDS = bytes(
    ord("0") if byte in b"0123456789" else byte if byte in b'"-' else ord(".") if byte in b".eE+" else ord(" ")
    for byte in range(256)
)
"""Of each byte what it may be in a number; quotes stay, and the rest is blank."""
_LONG = b"0" * 19
"""Integers of fewer digits have 64 bits. The greatest has 19 digits with a sign and 20 without."""
_LONG_NUMBER = re.compile(_LONG + b"(?:0|(?<=-" + _LONG + b"))0*+")
"""By _KINDS, the digits of what may be an integer beyond 64 bits; a prefix of plain zeros makes it fast to find."""
_MINUS, _FRACTION = b"-."
_LEAST_INTEGER, _GREATEST_INTEGER = b"9223372036854775808", b"18446744073709551615"


def read_contents(body: bytes) -> list[Command | Answer | Opaque]:
    """Read a packet's body.

    Raises:
        BodyError: it is not JSON, not in the form of a body, or a known class has a field of another type; the message
            names the class and the field, and never quotes a value.
    """
    return [read_content(element) for element in read_elements(body)]


def read_elements(body: bytes) -> list[Opaque]:
    """Read a packet's body without looking into its fields: all that an answer needs which only quotes the command.

    Raises:
        BodyError: it is not JSON, or not in the form of a body.
    """
    elements = _parse(body)
    if len(elements) > MAX_CONTENTS:
        raise BodyError(f"the body has {len(elements)} elements, over the limit of {MAX_CONTENTS}")
    return [_element(element) for element in elements]


def read_content(element: Opaque) -> Command | Answer | Opaque:
    """Read the fields of an element; one of an unknown class stays as it is.

    Raises:
        BodyError: a field is of another type; as in read_contents.
    """
    if (class_ := class_named(element.wire_name)) is None:
        return element
    try:
        read: Command | Answer = _converter.get_structure_hook(class_)(element.fields, class_)
    except ClassValidationError as error:
        raise BodyError(f"{element.wire_name}: {_explain(error)}") from None
    return read


def write_contents(contents: Iterable[Command | Answer | Opaque]) -> bytes:
    """Write a packet's body.

    Raises:
        KeyError: a class is not registered.
        TypeError: an attribute holds what JSON cannot express.
    """
    return orjson.dumps([{wire_name(content): fields_of(content)} for content in contents])


def fields_of(content: Command | Answer | Opaque) -> dict[str, Any]:
    """The fields of a command or an answer as they stand on the wire, by their wire names."""
    if isinstance(content, Opaque):
        return dict(content.fields)
    written: dict[str, Any] = _converter.get_unstructure_hook(type(content))(content)
    return written


def _parse(body: bytes) -> list[Any]:
    large = len(body) > _SMALL
    if large and (containers := body.count(b"[") + body.count(b"{")) > MAX_CONTAINERS:
        raise BodyError(f"the body has {containers} arrays and objects, over the limit of {MAX_CONTAINERS}")
    try:
        parsed = orjson.loads(body)
        if large:
            # Two levels to spare, for an answer that quotes the command.
            orjson.dumps([[parsed]])
    except orjson.JSONDecodeError as error:
        raise BodyError(f"the body is not JSON: {error}") from None
    except (orjson.JSONEncodeError, RecursionError):
        raise BodyError("the body is nested too deeply") from None
    if type(parsed) is not list:
        raise BodyError("the body is not a JSON array")
    if _LONG in body.translate(_KINDS):
        _check_integers(body)
    return parsed


def _check_integers(body: bytes) -> None:
    """Refuse integers beyond 64 bits, of which orjson would make doubles; inside a text they do no harm.

    The body is known to be a JSON array. To decode it by any decoder that tells would take ten times as long.
    """
    kinds = body.replace(rb"\\", b"  ").replace(rb"\"", b"  ").translate(_KINDS)
    quotes = counted = 0
    for match in _LONG_NUMBER.finditer(kinds):
        start, end = match.span()
        digits = body[start:end]
        negative = kinds[start - 1] == _MINUS
        greatest = _LEAST_INTEGER if negative else _GREATEST_INTEGER
        if len(digits) == len(greatest) and digits <= greatest:
            continue
        if _FRACTION in (kinds[start - 1 - negative], kinds[end]):
            continue
        quotes += kinds.count(b'"', counted, start)
        counted = start
        if quotes % 2 == 0:
            raise BodyError("the body has an integer beyond 64 bits")


def _element(element: Any) -> Opaque:
    if type(element) is not dict or len(element) != 1:
        raise BodyError("an element of the body is not an object with the class as its only key")
    [(name, content)] = element.items()
    if type(content) is not dict:
        # Quoted and cut: the name may be anything, and this reaches a log.
        raise BodyError(f"{name[:100]!r}: the fields are not an object")
    return Opaque(name, content)


def _explain(error: ClassValidationError) -> str:
    """Name the first field at fault, from the outermost object inwards."""
    fault: Exception = error
    path = ""
    while isinstance(fault, ClassValidationError):
        [(cause, note), *_] = fault.group_exceptions()[0]
        path += "." + field_names(fault.cl)[note.name]
        fault = cause
    return f"{path[1:]}: {fault}"


class _Unfit(ValueError):
    """A value of another JSON type than its field."""

    def __init__(self, expected: str, value: object) -> None:
        super().__init__(f"{expected} was expected, not {type(value).__name__}")


_converter = Converter()


def _exactly(class_: type, description: str) -> Callable[[Any, object], Any]:
    # Not isinstance: true is an int in Python.
    def read(value: Any, _: object) -> Any:
        if type(value) is class_:
            return value
        raise _Unfit(description, value)

    return read


def _read_integer(value: Any, _: object) -> int:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    raise _Unfit("an integer of 64 bits", value)


def _read_number(value: Any, _: object) -> float:
    if type(value) is float or type(value) is int:
        return value
    raise _Unfit("a number", value)


_converter.register_structure_hook(str, _exactly(str, "a text"))
_converter.register_structure_hook(bool, _exactly(bool, "true or false"))
_converter.register_structure_hook(int, _read_integer)
_converter.register_structure_hook(float, _read_number)


def _made_of(origin: object) -> Callable[[Any], bool]:
    return lambda type_: get_origin(type_) is origin


@_converter.register_structure_hook_factory(_made_of(tuple))
def _list_reader(type_: Any, converter: Converter) -> Callable[[Any, object], tuple[Any, ...]]:
    item = get_args(type_)[0]
    read_item = converter.get_structure_hook(item)

    def read(value: Any, _: object) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _Unfit("an array", value)
        return tuple([read_item(each, item) for each in value])

    return read


@_converter.register_structure_hook_factory(_made_of(Mapping))
def _object_reader(type_: Any, converter: Converter) -> Callable[[Any, object], Json]:
    item = get_args(type_)[1]
    read_object = _exactly(dict, "an object")
    if item is Any:
        return read_object
    read_item = converter.get_structure_hook(item)

    def read(value: Any, _: object) -> Json:
        return {key: read_item(each, item) for key, each in read_object(value, _).items()}

    return read


# Shallow: what stands inside came from JSON, and orjson takes only a dict.
_converter.register_unstructure_hook_func(lambda type_: type_ in (Json, Mapping[str, str]), dict)


def _has_fields(type_: Any) -> bool:
    return isclass(type_) and issubclass(type_, Fields)


@_converter.register_structure_hook_factory(_has_fields)
def _fields_reader(class_: type[Fields], converter: Converter) -> Callable[[Any, object], Fields]:
    names = field_names(class_)
    known = frozenset(names.values())
    overrides: dict[str, Any] = {attribute: override(rename=name) for attribute, name in names.items()}
    build = make_dict_structure_fn(class_, converter, extra=override(omit=True), **overrides)

    def read(given: Any, _: object) -> Fields:
        if type(given) is not dict:
            raise _Unfit("an object", given)
        if None in given.values():
            given = {name: each for name, each in given.items() if each is not None or name not in known}
        content = build(given, class_)
        if known.issuperset(given):
            return content
        # Nobody has seen the value yet; to evolve it would take as long as to read it.
        object.__setattr__(content, "extra", {name: each for name, each in given.items() if name not in known})
        return content

    return read


@_converter.register_unstructure_hook_factory(_has_fields)
def _fields_writer(class_: type[Fields], converter: Converter) -> Callable[[Fields], dict[str, Any]]:
    names = field_names(class_)
    overrides: dict[str, Any] = {
        attribute.name: override(rename=names[attribute.name], omit_if_default=attribute.default is None)
        for attribute in fields(class_)
        if attribute.name in names
    }
    build = make_dict_unstructure_fn(class_, converter, extra=override(omit=True), **overrides)

    def write(content: Fields) -> dict[str, Any]:
        written = build(content)
        return {**content.extra, **written} if content.extra else written

    return write
