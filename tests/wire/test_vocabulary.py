# test-case-name: tests.wire.test_vocabulary
"""The vocabulary: one name per class, one field per attribute, open to classes of other packages."""

from __future__ import annotations

from typing import get_args

from attrs import fields, resolve_types
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.wire import (
    Answer,
    CheckHealthCommand,
    Command,
    CommandInfo,
    ConsoleAccessAuthenticationAnswer,
    ConsoleAccessAuthenticationCommand,
    Opaque,
    PingAnswer,
    PingCommand,
    PingRoutingCommand,
    ReadyCommand,
    SetupCertificateCommand,
    SetupKeyStoreCommand,
    StartupStorageCommand,
    StoragePoolInfo,
    TransferAgentCommand,
    command_names,
    read_contents,
    register,
    rename,
    unsupported,
    vocabulary,
    wire_name,
    write_contents,
)
from cloudlb.wire.content import frozen


@frozen(kw_only=True)
class LightCommand(Command):
    """A command of another package."""

    lamp_id: int = 0
    colour: str | None = None


@frozen(kw_only=True)
class DimCommand(LightCommand):
    """A command that inherits fields."""

    percent: float = 100.0


register(LightCommand, "org.example.LightCommand", colour="_color")
register(DimCommand, "org.example.DimCommand", percent="dimTo")


class NameTests(SynchronousTestCase):
    """Names of classes and fields."""

    def test_class_names(self) -> None:
        """Classes have the names of CloudStack's; an opaque value has its own."""
        self.assertEqual(wire_name(CheckHealthCommand()), "com.cloud.agent.api.CheckHealthCommand")
        self.assertEqual(wire_name(Answer()), "com.cloud.agent.api.Answer")
        self.assertEqual(wire_name(SetupKeyStoreCommand()), "org.apache.cloudstack.ca.SetupKeyStoreCommand")
        self.assertEqual(wire_name(Opaque("x.Y", {})), "x.Y")

    def test_names_lead_back(self) -> None:
        """Each registered name leads to the class that bears it."""
        for name, class_ in vocabulary._classes.items():
            self.assertEqual(wire_name(class_()), name)
            self.assertIs(vocabulary.class_named(name), class_)

    def test_commands(self) -> None:
        """Commands alone, in order."""
        names = command_names()
        self.assertIn("com.cloud.agent.api.CheckHealthCommand", names)
        self.assertEqual([], [name for name in names if name.endswith("Answer")])
        self.assertEqual(sorted(names), names)

    def test_fields_are_camel_case(self) -> None:
        """An attribute's field is its name in camelCase unless it was renamed."""
        names = vocabulary.field_names(TransferAgentCommand)
        self.assertEqual(names["is_connection_transfer"], "isConnectionTransfer")
        self.assertEqual(names["event"], "event")
        names = vocabulary.field_names(PingRoutingCommand)
        self.assertEqual(names["host_vm_state_report"], "_hostVmStateReport")
        self.assertEqual(names["host_health_check_result"], "hostHealthCheckResult")

    def test_renames_are_inherited(self) -> None:
        """A subclass has its base's irregular fields beside its own."""
        self.assertEqual(vocabulary.field_names(StartupStorageCommand)["host_id"], "id")
        names = vocabulary.field_names(DimCommand)
        self.assertEqual((names["colour"], names["percent"], names["lamp_id"]), ("_color", "dimTo", "lampId"))

    def test_fields_do_not_collide(self) -> None:
        """No class has two attributes with one field, and ``extra`` has none."""
        for class_ in vocabulary._classes.values():
            names = vocabulary.field_names(class_)
            self.assertEqual(len(set(names.values())), len(names), class_)
            self.assertEqual(names.keys(), {a.name for a in fields(class_)} - {"extra"})

    def test_only_unset_is_none(self) -> None:
        """What may be None is None unless set: the writer leaves it out then, and an absent field reads as None."""
        for class_ in vocabulary._classes.values():
            resolve_types(class_)
            for attribute in fields(class_):
                self.assertEqual(type(None) in get_args(attribute.type), attribute.default is None, attribute)


class RegisterTests(SynchronousTestCase):
    """Classes of other packages."""

    def test_round_trip(self) -> None:
        """A registered class is read and written like ours."""
        command = DimCommand(lamp_id=3, colour="red", percent=12.5)
        body = write_contents([command])
        self.assertIn(b'"_color":"red"', body)
        self.assertIn(b'"dimTo":12.5', body)
        self.assertEqual(read_contents(body), [command])

    def test_taken_name(self) -> None:
        """A second class under one name is an error that names the first."""
        with self.assertRaisesRegex(ValueError, r"org\.example\.LightCommand is registered already, for LightCommand"):
            register(ReadyCommand, "org.example.LightCommand")

    def test_taken_class(self) -> None:
        """A second name for one class is an error, since writing could use but one."""
        with self.assertRaisesRegex(ValueError, r"LightCommand is registered already, as org\.example\.LightCommand"):
            register(LightCommand, "org.example.OtherCommand")
        self.assertIsNone(vocabulary.class_named("org.example.OtherCommand"))

    def test_unknown_attribute(self) -> None:
        """A rename of an attribute that does not exist is an error, and registers nothing."""

        @frozen(kw_only=True)
        class Mistyped(Command):
            lamp: int = 0

        with self.assertRaisesRegex(ValueError, "Mistyped has no attribute lmap"):
            register(Mistyped, "org.example.Mistyped", lmap="_lamp")
        self.assertIsNone(vocabulary.class_named("org.example.Mistyped"))

    def test_unknown_attribute_of_a_part(self) -> None:
        """The same holds for a class that stands inside others."""
        with self.assertRaisesRegex(ValueError, "StoragePoolInfo has no attribute size"):
            rename(StoragePoolInfo, size="bytes")

    def test_unregistered(self) -> None:
        """A class that is not registered has no name on the wire."""

        @frozen(kw_only=True)
        class Stray(Command):
            pass

        with self.assertRaises(KeyError):
            wire_name(Stray())


class SecretTests(SynchronousTestCase):
    """Secrets do not reach a log by way of a repr."""

    def test_repr(self) -> None:
        """Passwords, keys, tickets, and whatever we do not know stay out."""
        for content in (
            SetupKeyStoreCommand(keystore_password="S3CRET", access_details={"password": "S3CRET"}),
            SetupCertificateCommand(private_key="S3CRET"),
            ConsoleAccessAuthenticationCommand(sid="S3CRET", ticket="S3CRET", session_uuid="S3CRET"),
            ConsoleAccessAuthenticationAnswer(tunnel_session="S3CRET"),
            StartupStorageCommand(pool_info=StoragePoolInfo(details={"secret": "S3CRET"})),
            PingAnswer(extra={"password": "S3CRET"}),
            PingCommand(command_infos=(CommandInfo(command="S3CRET", answer="S3CRET"),)),
            Opaque("com.cloud.agent.api.StartCommand", {"vncPassword": "S3CRET"}),
        ):
            self.assertNotIn("S3CRET", repr(content))


class UnsupportedTests(SynchronousTestCase):
    """The answer to what nobody knows."""

    def test_text(self) -> None:
        """It fails in CloudStack's words, with the class as it came."""
        answer = unsupported(Opaque("com.cloud.agent.api.StartCommand", {}))
        self.assertIs(answer.result, False)
        self.assertEqual(
            answer.details,
            "Unsupported command issued: com.cloud.agent.api.StartCommand.  "
            "Are you sure you got the right type of server?",
        )
