"""Tests of reading parameters and describing them."""

from __future__ import annotations

from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.api.errors import ApiError
from cloudlb.api.schema import (
    Key,
    Long,
    as_answer,
    date,
    describe_answer,
    describe_parameters,
    optional,
    read_arguments,
    required,
    shown,
)


@frozen(kw_only=True)
class Arguments:
    """One of each kind."""

    id: Key = required("an id", related="listHosts")
    text: str | None = optional("a text", length=8)
    number: int | None = optional("a number")
    truth: bool | None = optional("a truth")
    items: list[str] | None = optional("a list")
    password: str | None = optional("a password", secret=True)


@frozen(kw_only=True)
class Answer:
    """An answer."""

    name: str | None = shown("a name")
    size: Long | None = shown("a size")
    ok: bool | None = shown("a truth")


def read(**parameters: str) -> Arguments:
    """Read the arguments of a command that is called "test"."""
    return read_arguments(Arguments, parameters, "test")


class ReadTests(SynchronousTestCase):
    """From texts to typed arguments."""

    def test_types(self) -> None:
        """Each parameter has its type; what is not given is None; what is not known is ignored."""
        self.assertEqual(
            Arguments(id=Key("7"), text="", number=-3, truth=True),
            read(id="7", text="", number="-3", truth="TRUE", other="x"),
        )
        self.assertEqual(Arguments(id=Key("7")), read(id="7"))

    def test_lists(self) -> None:
        """Items are divided by commas; empty ones are none."""
        for text, items in (("a", ["a"]), (" a , b,,", ["a", "b"]), ("", [])):
            self.assertEqual(items, read(id="7", items=text).items)

    def test_secrets(self) -> None:
        """A secret is read, and not shown."""
        arguments = read(id="7", password="hidden")
        self.assertEqual("hidden", arguments.password)
        self.assertNotIn("hidden", repr(arguments))

    def test_errors_name_the_parameter(self) -> None:
        """Missing, empty, of another type, too long, with control characters."""
        for bad, name in (
            ({}, "id"),
            ({"id": ""}, "id"),
            ({"id": "1", "number": "1.5"}, "number"),
            ({"id": "1", "number": ""}, "number"),
            ({"id": "1", "number": "9" * 19}, "number"),
            ({"id": "1", "number": str(2**31)}, "number"),
            ({"id": "1", "number": "\N{ARABIC-INDIC DIGIT THREE}"}, "number"),
            ({"id": "1", "truth": "yes"}, "truth"),
            ({"id": "1", "text": "123456789"}, "text"),
            ({"id": "1", "text": "a\nb"}, "text"),
            ({"id": "1", "text": "\0"}, "text"),
        ):
            error = self.assertRaises(ApiError, read, **bad)
            self.assertEqual(431, error.code)
            self.assertRegex(error.text, rf"parameter {name}\b")

    @given(st.dictionaries(st.sampled_from(["id", "text", "number", "truth", "?"]), st.text(max_size=12)))
    def test_any_text(self, parameters: dict[str, str]) -> None:
        """Any texts are read, or refused with an ApiError."""
        try:
            arguments = read(**parameters)
        except ApiError:
            return
        self.assertEqual(parameters["id"], arguments.id)


class DescribeTests(SynchronousTestCase):
    """What listApis says, and answers."""

    def test_parameters(self) -> None:
        """Clients take every field for granted."""
        described = {parameter["name"]: parameter for parameter in describe_parameters(Arguments)}
        self.assertEqual(
            {
                "name": "id",
                "description": "an id",
                "type": "uuid",
                "length": 255,
                "required": True,
                "since": "0.1.0",
                "related": "listHosts",
                "extension": False,
            },
            described["id"],
        )
        self.assertEqual(("string", 8, False), tuple(described["text"][key] for key in ("type", "length", "required")))
        self.assertEqual(["integer", "boolean"], [described[name]["type"] for name in ("number", "truth")])

    def test_answer(self) -> None:
        """None is left out, False and 0 are not."""
        self.assertEqual({"size": 0, "ok": False}, as_answer(Answer(size=Long(0), ok=False)))
        self.assertEqual(["string", "long", "boolean"], [field["type"] for field in describe_answer(Answer)])

    def test_field_named_as_python_forbids(self) -> None:
        """A trailing underscore is Python's need alone."""

        @frozen
        class Classed:
            class_: str | None = shown("a class")

        self.assertEqual({"class": "x"}, as_answer(Classed("x")))
        self.assertEqual(["class"], [field["name"] for field in describe_answer(Classed)])

    def test_date(self) -> None:
        """CloudStack's form, in UTC; no time is no date."""
        self.assertEqual("2026-11-21T07:00:00+0000", date(1795244400.9))
        self.assertIsNone(date(None))
