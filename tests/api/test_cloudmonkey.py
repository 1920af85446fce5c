"""What CloudMonkey makes of listApis; it ends with a panic where something is missing, null or of another type."""

from __future__ import annotations

from typing import Any, TypeVar

from attrs import frozen

from tests.api.world import API_KEY, ApiTestCase, sign

T = TypeVar("T")

EXTENSIONS = {"listInvestigations", "plan", "rebalanceAgents", "restoreHost", "sendCommand"}
"""Some of the commands that CloudStack does not have."""
CLOUDSTACKS = {"createZone", "listHosts", "listHostsMetrics", "login", "prepareForMaintenance", "updateConfiguration"}
"""Some that it has."""


@frozen
class Synced:
    """A command as CloudMonkey's cache has it."""

    verb: str
    noun: str
    is_async: bool
    required: tuple[str, ...]


def sync(response: dict[str, Any]) -> dict[str, Synced]:
    """Read an answer of listApis as `cmk sync` does [config/cache.go, UpdateCache]."""
    assert response["count"] == len(response["api"])
    return {_of(api["name"], str).lower(): _command(_of(api, dict)) for api in _of(response["api"], list)}


def _command(api: dict[str, Any]) -> Synced:
    name = _of(api["name"], str)
    _of(api["description"], str)
    verb = name[: next((place for place, char in enumerate(name) if not char.islower()), len(name))]
    required = []
    for parameter in _of(api["params"], list):
        if parameter.get("related") is not None:
            _of(parameter["related"], str)
        for key in ("type", "description"):
            _of(parameter[key], str)
        if _of(parameter["required"], bool):
            required.append(_of(parameter["name"], str))
    for field in _of(api["response"], list):
        _of(field["name"], str)
    return Synced(verb, name[len(verb) :].lower(), _of(api["isasync"], bool), tuple(sorted(required)))


def _of(value: Any, kind: type[T]) -> T:
    """The value, which must have that type: what a type assertion of Go insists on."""
    assert type(value) is kind, (value, kind)
    return value


class SyncTests(ApiTestCase):
    """`cmk sync`, and the help that it shows afterwards."""

    def test_every_command(self) -> None:
        """All are taken over, with what a call needs."""
        synced = sync(self.call("listApis", listall="true"))
        self.assertEqual(Synced("list", "hosts", False, ()), synced["listhosts"])
        self.assertEqual(Synced("prepare", "hostformaintenance", True, ("id",)), synced["preparehostformaintenance"])
        self.assertEqual(Synced("update", "configuration", False, ("name",)), synced["updateconfiguration"])
        self.assertEqual(("plan", ""), (synced["plan"].verb, synced["plan"].noun))

    def test_as_it_calls(self) -> None:
        """A GET without expires, whose answer has one key that ends in "response"."""
        parameters = {"command": "listApis", "listall": "true", "response": "json", "apiKey": API_KEY}
        answer = self.get(sign(parameters)).json
        (key,) = answer
        self.assertTrue(key.endswith("response"))
        sync(answer[key])

    def test_insists(self) -> None:
        """What it would panic about is found."""
        good = self.call("listApis", name="plan")["api"][0]
        for broken in (
            {**good, "isasync": "false"},
            {**good, "description": None},
            {**good, "params": None},
            {**good, "params": [{**good["params"][0], "required": None}]},
            {name: value for name, value in good.items() if name != "response"},
        ):
            with self.assertRaises((AssertionError, KeyError)):
                sync({"count": 1, "api": [broken]})


class ExtensionTests(ApiTestCase):
    """What CloudStack does not have is marked, for programs and for people."""

    def test_commands(self) -> None:
        """By a field, and by the beginning of the description."""
        apis = self.call("listApis")["api"]
        marked = {api["name"] for api in apis if api["extension"]}
        self.assertLessEqual(EXTENSIONS, marked)
        self.assertFalse(marked & CLOUDSTACKS)
        self.assertEqual(marked, {api["name"] for api in apis if api["description"].startswith("cloudlb's own: ")})

    def test_parameters_and_fields(self) -> None:
        """The same for parameters and for fields of answers."""
        apis = {api["name"]: api for api in self.call("listApis")["api"]}
        forced = {
            name: [parameter["extension"] for parameter in apis[name]["params"] if parameter["name"] == "forced"]
            for name in ("prepareForMaintenance", "prepareForShutdown", "updateConfiguration", "deleteHost")
        }
        self.assertEqual(
            {
                "prepareForMaintenance": [False],
                "prepareForShutdown": [True],
                "updateConfiguration": [True],
                "deleteHost": [False],
            },
            forced,
        )
        described = {field["name"]: field for field in apis["listAlerts"]["response"]}
        self.assertEqual(
            {
                "name": "hostid",
                "description": "cloudlb's own: the ID of the host",
                "type": "string",
                "extension": True,
            },
            described["hostid"],
        )
        self.assertFalse(described["sent"]["extension"])

    def test_method(self) -> None:
        """What changes nothing is asked for by GET, all else by POST."""
        methods = {api["name"]: api["httprequesttype"] for api in self.call("listApis")["api"]}
        self.assertEqual(("GET", "POST"), (methods["queryAsyncJobResult"], methods["deleteHost"]))
