# test-case-name: tests.wire.test_converter
"""Bodies of packets: values and back, what is kept, and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, get_args, get_origin

from attrs import fields, resolve_types
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire import (
    Answer,
    BodyError,
    CheckHealthCommand,
    Command,
    Fields,
    Opaque,
    PingAnswer,
    PingCommand,
    PingRoutingCommand,
    ReadyCommand,
    StartupRoutingCommand,
    fields_of,
    read_contents,
    vocabulary,
    write_contents,
)
from cloudlb.wire.converter import MAX_CONTAINERS, MAX_CONTENTS
from tests.wire.vectors import VECTORS

PING = "com.cloud.agent.api.PingCommand"

_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
_json = st.recursive(
    _scalars | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_objects = st.dictionaries(st.text(max_size=8), _json, max_size=4)


def _values(type_: Any) -> st.SearchStrategy[Any]:
    """Any value of an attribute's type."""
    if type_ is Any:
        return _json
    if get_origin(type_) is tuple:
        return st.lists(_values(get_args(type_)[0]), max_size=2).map(tuple)
    if get_origin(type_) is Mapping:
        return st.dictionaries(st.text(max_size=8), _values(get_args(type_)[1]), max_size=2)
    if choices := get_args(type_):
        return st.one_of([st.none() if choice is type(None) else _values(choice) for choice in choices])
    if issubclass(type_, Fields):
        return _contents(type_)
    return {
        str: st.text(max_size=8),
        bool: st.booleans(),
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }[type_]


def _contents(class_: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a class, with unknown fields."""
    resolve_types(class_)
    known = set(vocabulary.field_names(class_).values())
    attributes = {a.name: _values(a.type) for a in fields(class_) if a.name != "extra"}
    return st.builds(class_, extra=_objects.map(lambda o: {k: v for k, v in o.items() if k not in known}), **attributes)


_any_content = st.deferred(lambda: st.one_of([_contents(class_) for class_ in vocabulary._classes.values()]))


def _body(name: str, /, **given: Any) -> bytes:
    return json.dumps([{name: given}]).encode()


class VectorTests(SynchronousTestCase):
    """The packets written by hand."""

    def test_read(self) -> None:
        """Each body is read into its values."""
        for vector in VECTORS:
            self.assertEqual(read_contents(vector.body.encode()), vector.contents, vector.name)

    def test_write(self) -> None:
        """The values are written to a body that is equal as JSON."""
        for vector in VECTORS:
            self.assertEqual(json.loads(write_contents(vector.contents)), json.loads(vector.body), vector.name)


class RoundTripTests(SynchronousTestCase):
    """Nothing is lost between reading and writing."""

    @settings(max_examples=200, deadline=None)
    @given(_any_content)
    def test_values(self, content: Command | Answer) -> None:
        """Any value of any class comes back as it was, its unknown fields too."""
        self.assertEqual(read_contents(write_contents([content])), [content])

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=20).filter(lambda name: vocabulary.class_named(name) is None), _objects)
    def test_unknown_class(self, name: str, given_fields: dict[str, Any]) -> None:
        """An unknown class survives untouched, the order of its keys included."""
        [content] = read_contents(_body(name, **given_fields))
        self.assertEqual(content, Opaque(name, given_fields))
        [[(name_again, fields_again)]] = [element.items() for element in json.loads(write_contents([content]))]
        self.assertEqual(name_again, name)
        self.assertEqual(list(fields_again.items()), list(given_fields.items()))

    def test_unknown_field_inside(self) -> None:
        """Unknown fields of a value inside a command survive as well."""
        body = _body(
            "com.cloud.agent.api.PingRoutingCommand",
            _hostVmStateReport={"vm": {"state": "PowerOn", "since": [1, None]}},
        )
        [ping] = read_contents(body)
        assert isinstance(ping, PingRoutingCommand)
        assert ping.host_vm_state_report is not None
        self.assertEqual(ping.host_vm_state_report["vm"].extra, {"since": [1, None]})
        self.assertEqual(fields_of(ping)["_hostVmStateReport"], {"vm": {"state": "PowerOn", "since": [1, None]}})

    def test_integers_of_64_bits(self) -> None:
        """Numbers that a double would round keep their last digit, in unknown fields too."""
        body = _body(PING, hostId=2**63 - 1, least=-(2**63), most=2**64 - 1)
        [ping] = read_contents(body)
        assert isinstance(ping, PingCommand)
        self.assertEqual(ping.host_id, 2**63 - 1)
        self.assertEqual(ping.extra, {"least": -(2**63), "most": 2**64 - 1})
        self.assertEqual(read_contents(write_contents([ping])), [ping])

    def test_digits_in_a_text(self) -> None:
        """A long row of digits inside a text is no number."""
        [ping] = read_contents(_body(PING, hostType="9" * 40))
        self.assertEqual(ping, PingCommand(host_type="9" * 40))

    def test_long_numbers_that_are_no_great_integers(self) -> None:
        """Fractions and exponents of many digits are doubles, whatever is quoted and escaped around them."""
        digits = "9" * 25
        for number in (f"0.{digits}", f"{digits}.5", f"-{digits}.5", f"{digits}e2", f"{digits}E-2", f"1e-{digits}"):
            body = '[{"a.B":{"\\"":"-1,","c\\\\":2,"\\\\\\"1":[]}}]'.replace("1", digits).replace("2", number)
            [read] = read_contents(body.encode())
            assert isinstance(read, Opaque)
            self.assertEqual(read.fields["c\\"], float(number))

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(
            st.text('"\\1-.e', max_size=3)
            | st.integers(10**17, 10**21)
            | st.integers(-(10**20), -(10**17))
            | st.sampled_from(["9" * 20, "-" + "9" * 19, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 1e25, 0.1]),
            max_size=6,
        )
    )
    def test_integers_among_texts(self, values: list[str | int | float]) -> None:
        """Only integers count, only those beyond 64 bits are refused, and everything else comes back."""
        body = _body("a.B", values=values)
        great = any(type(value) is int and not -(2**63) <= value < 2**64 for value in values)
        try:
            contents = read_contents(body)
        except BodyError:
            self.assertTrue(great)
        else:
            self.assertFalse(great)
            self.assertEqual(contents, [Opaque("a.B", {"values": values})])


class WritingTests(SynchronousTestCase):
    """What stands on the wire."""

    def test_unset_is_left_out(self) -> None:
        """None is no field; empty collections and primitives are there."""
        self.assertEqual(fields_of(ReadyCommand()), {"contextMap": {}, "wait": 0, "bypassHostMaintenance": False})
        self.assertEqual(
            fields_of(PingAnswer()),
            {
                "sendStartup": False,
                "avoidMsList": [],
                "reconcileCommands": [],
                "result": True,
                "contextMap": {},
                "wait": 0,
                "bypassHostMaintenance": False,
            },
        )

    def test_set_to_the_empty_list(self) -> None:
        """An empty list where a list may be unset is written."""
        self.assertEqual(fields_of(ReadyCommand(avoid_ms_host_list=()))["avoidMsHostList"], [])

    def test_any_mapping(self) -> None:
        """Attributes take every kind of mapping."""
        command = StartupRoutingCommand(host_details=MappingProxyType({"a": "b"}), group_details=MappingProxyType({}))
        [read] = read_contents(write_contents([command]))
        self.assertEqual(read, command)

    def test_ping_is_echoed(self) -> None:
        """An answer quotes all of its ping, what we do not know included."""
        [ping] = read_contents(_body(PING, hostType="Routing", hostId=7, later={"x": [1]}))
        assert isinstance(ping, PingCommand)
        answer = PingAnswer(command=fields_of(ping))
        written = json.loads(write_contents([answer]))[0]["com.cloud.agent.api.PingAnswer"]
        self.assertEqual(written["_command"], fields_of(ping))
        self.assertEqual(written["_command"]["later"], {"x": [1]})
        self.assertEqual(read_contents(write_contents([answer])), [answer])

    def test_not_json(self) -> None:
        """A value of ours that JSON cannot express is our error, not the peer's."""
        with self.assertRaises(TypeError):
            write_contents([Answer(details="\ud800")])


class ReadingTests(SynchronousTestCase):
    """Lenience where Java is lenient."""

    def test_null_is_unset(self) -> None:
        """A null is as good as no field, whatever the field's type."""
        read = read_contents(
            _body(
                "com.cloud.agent.api.ReadyCommand",
                hostId=None,
                msHostList=None,
                contextMap=None,
                wait=None,
                bypassHostMaintenance=None,
            )
        )
        self.assertEqual(read, [ReadyCommand()])

    def test_null_inside(self) -> None:
        """The same inside a value; a null that we do not know is kept."""
        [ping] = read_contents(
            _body("com.cloud.agent.api.PingRoutingCommand", _hostVmStateReport={"vm": {"state": None, "x": None}})
        )
        self.assertEqual(fields_of(_as_command(ping))["_hostVmStateReport"], {"vm": {"x": None}})

    def test_defaults(self) -> None:
        """Fields that a peer left out have the values that they have in CloudStack."""
        self.assertEqual(read_contents(_body(PING)), [PingCommand()])
        self.assertEqual(read_contents(_body("com.cloud.agent.api.Answer")), [Answer(result=True)])

    def test_last_key_wins(self) -> None:
        """A key that comes twice counts as it came last."""
        self.assertEqual(read_contents(b'[{"%s":{"hostId":1,"hostId":2}}]' % PING.encode()), [PingCommand(host_id=2)])

    def test_nothing(self) -> None:
        """A body without elements is a body."""
        self.assertEqual(read_contents(b"[]"), [])

    def test_escapes(self) -> None:
        """Java's escapes of HTML characters and of control characters are text."""
        [answer] = read_contents(b'[{"com.cloud.agent.api.Answer":{"details":"\\u003ca\\u003e\\u0000\\u2028"}}]')
        self.assertEqual(answer, Answer(details="<a>\0\u2028"))


class RefusalTests(SynchronousTestCase):
    """What no body is, with an error that names the place and quotes no value."""

    def _refused(self, body: bytes, reason: str) -> None:
        error = self.assertRaises(BodyError, read_contents, body)
        self.assertIn(reason, str(error))
        self.assertNotIn("S3CRET", str(error))

    def test_not_a_body(self) -> None:
        """What is not an array of objects with one key each is refused."""
        for body in (b"", b"\xff", b"[", b"{]", b"[1,]", b"\xef\xbb\xbf[]", b"[NaN]", b"[Infinity]", b"[1e999]"):
            self._refused(body, "the body is not JSON")
        for body in (b"{}", b"null", b'"S3CRET"', b"1"):
            self._refused(body, "the body is not a JSON array")
        for body in (b"[1]", b"[null]", b"[{}]", b'[{"a":{},"S3CRET":{}}]', b"[[]]"):
            self._refused(body, "an element of the body is not an object with the class as its only key")
        for body in (b'[{"a.B":null}]', b'[{"a.B":["S3CRET"]}]'):
            self._refused(body, "'a.B': the fields are not an object")

    def test_lone_surrogate(self) -> None:
        """Half a character is refused, since no writer could write it."""
        self._refused(b'[{"a.B":{"c":"\\ud800"}}]', "the body is not JSON")

    def test_name_is_quoted_and_cut(self) -> None:
        """A class's name that is not one cannot forge or flood a log."""
        error = self.assertRaises(BodyError, read_contents, _body("\n" * 5000).replace(b"{}", b"1"))
        self.assertNotIn("\n", str(error))
        self.assertLess(len(str(error)), 300)

    def test_unfit_fields(self) -> None:
        """A field of another type is named with its class, also inside another value."""
        routing = "com.cloud.agent.api.PingRoutingCommand"
        stats = "com.cloud.agent.api.GetHostStatsAnswer"
        for name, unfit, field, expected in (
            (PING, {"hostId": "S3CRET"}, "hostId", "an integer of 64 bits was expected, not str"),
            (PING, {"hostId": True}, "hostId", "an integer of 64 bits was expected, not bool"),
            (PING, {"hostId": 7.0}, "hostId", "an integer of 64 bits was expected, not float"),
            (PING, {"hostId": 2**63}, "hostId", "an integer of 64 bits was expected, not int"),
            (PING, {"hostType": 1}, "hostType", "a text was expected, not int"),
            (PING, {"outOfBand": 0}, "outOfBand", "true or false was expected, not int"),
            (PING, {"commandInfos": {"S3CRET": 1}}, "commandInfos", "an array was expected, not dict"),
            (PING, {"commandInfos": "S3CRET"}, "commandInfos", "an array was expected, not str"),
            (PING, {"commandInfos": [1]}, "commandInfos", "an object was expected, not int"),
            (PING, {"contextMap": []}, "contextMap", "an object was expected, not list"),
            (PING, {"contextMap": {"a": 1}}, "contextMap", "a text was expected, not int"),
            (routing, {"_gatewayAccessible": "true"}, "_gatewayAccessible", "true or false was expected, not str"),
            (routing, {"_hostVmStateReport": {"a": {"state": []}}}, "_hostVmStateReport.state", "a text was expected"),
            (routing, {"_hostVmStateReport": {"a": 1}}, "_hostVmStateReport", "an object was expected, not int"),
            (stats, {"hostStats": {"averageLoad": "1"}}, "hostStats.averageLoad", "a number was expected, not str"),
            ("com.cloud.agent.api.StartupRoutingCommand", {"id": "x"}, "id", "an integer of 64 bits was expected"),
        ):  # fmt: skip
            self._refused(_body(name, **unfit), f"{name}: {field}: {expected}")

    def test_first_of_several(self) -> None:
        """One unfit element refuses the body, whatever stands beside it."""
        self._refused(
            b'[{"com.cloud.agent.api.CheckHealthCommand":{}},{"%s":{"wait":"S3CRET"}}]' % PING.encode(),
            f"{PING}: wait: ",
        )

    def test_great_integers(self) -> None:
        """Integers beyond 64 bits are refused, since they would come out rounded."""
        for number in (2**64, -(2**63) - 1, 10**30, -(10**30), 10**300):
            self._refused(b'[{"a.B":{"c":[%s]}}]' % str(number).encode(), "the body has an integer beyond 64 bits")
        self._refused(b'[{"a.B":{"c":%s}}]' % (b"9" * 10000), "the body")
        self._refused(b"9" * 30, "the body is not a JSON array")

    def test_cost_of_great_bodies(self) -> None:
        """A stranger's body costs time in proportion to its bytes: no shape of 256 KiB takes a tenth of a second."""
        size = 2**18
        for item in (b"1,", b"0.1,", b'"",', b'"ab",', b'"\\\\",', b"18446744073709551615,", b"12345678901234567890.5,",
                     b'"-18446744073709551616",', b"[],", b'{"a":1},', b"[" * 200 + b"]" * 200 + b","):  # fmt: skip
            body = b'[{"%s":{"a":1000000000000000000,"b":[%s1]}}]' % (PING.encode(), item * (size // len(item)))
            began = time.process_time()
            self._values_or_refusal(body)
            # Reading twice and writing once, with a wide margin; a decoder in Python takes 0.2 s for all.
            self.assertLess(time.process_time() - began, 0.15, item[:20])
        began = time.process_time()
        self._values_or_refusal(b'[{"a.B":{"c":"%s"}}]' % (b"9" * size))
        self._refused(b'[{"a.B":{"c":%s}}]' % (b"9" * size), "the body")
        self._values_or_refusal(b'[{"a.B":{"c":0.%s}}]' % (b"9" * size))
        self.assertLess(time.process_time() - began, 0.15)

    def test_many_containers(self) -> None:
        """As many arrays and objects as the limit allows are read, and no more."""
        body = b'[{"%s":{"c":[%s1]}}]'
        room = MAX_CONTAINERS - 4
        self.assertEqual(len(read_contents(body % (PING.encode(), b"[]," * room))), 1)
        for item in (b"[],", b"{},"):
            self._refused(body % (PING.encode(), item * (room + 1)), "the body has 16385 arrays and objects, over the")

    def test_many_elements(self) -> None:
        """As many elements as the limit allows are read, and no more."""
        element = b'{"%s":{}}' % PING.encode()
        self.assertEqual(len(read_contents(b"[" + b",".join([element] * MAX_CONTENTS) + b"]")), MAX_CONTENTS)
        self._refused(
            b"[" + b",".join([element] * (MAX_CONTENTS + 1)) + b"]",
            f"the body has {MAX_CONTENTS + 1} elements, over the limit",
        )

    def test_nesting(self) -> None:
        """What is nested too deeply to be written again is refused; what is read can be quoted in an answer."""
        for depth in (253, 1000, 1030, 16_000, 200_000):
            for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
                error = self.assertRaises(
                    BodyError, read_contents, b'[{"a.B":{"c":' + opening * depth + b"1" + closing * depth + b"}}]"
                )
                self.assertRegex(str(error), "the body (is|has 200003)")
        ping = b'[{"%s":{"c":' % PING.encode() + b"[" * 249 + b"]" * 249 + b"}}]"
        [read] = read_contents(ping)
        self.assertIn(b"[" * 249, write_contents([PingAnswer(command=fields_of(read))]))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=60))
    def test_bytes(self, body: bytes) -> None:
        """Whatever the bytes, there are values or a BodyError."""
        self._values_or_refusal(body)

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(VECTORS), st.data())
    def test_damage(self, vector: Any, data: st.DataObject) -> None:
        """The same with bodies that were sound before some bytes of them changed."""
        body = bytearray(vector.body.encode())
        start = data.draw(st.integers(0, len(body)))
        body[start : start + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
        self._values_or_refusal(bytes(body))

    @settings(max_examples=200, deadline=None)
    @given(st.data())
    def test_any_type_in_any_field(self, data: st.DataObject) -> None:
        """The same with JSON of any type in the fields that we know."""
        name = data.draw(st.sampled_from(sorted(vocabulary._classes)))
        class_ = vocabulary.class_named(name)
        assert class_ is not None
        keys = st.sampled_from(sorted(vocabulary.field_names(class_).values()))
        self._values_or_refusal(_body(name, **data.draw(st.dictionaries(keys, _json, max_size=3))))

    def _values_or_refusal(self, body: bytes) -> None:
        try:
            contents = read_contents(body)
        except BodyError as error:
            self.assertTrue(str(error))
        else:
            self.assertEqual(read_contents(write_contents(contents)), contents)


def _as_command(content: object) -> Command:
    assert isinstance(content, Command)
    return content


class EqualityTests(SynchronousTestCase):
    """Values compare by what they hold."""

    def test_classes_differ(self) -> None:
        """A command is not equal to one of another class with the same fields."""
        self.assertNotEqual(CheckHealthCommand(), Command())
        self.assertNotEqual(PingRoutingCommand(), PingCommand())
        self.assertEqual(CheckHealthCommand(), CheckHealthCommand(context_map={}))
