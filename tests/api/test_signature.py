"""Tests of who is believed to have signed a call."""

from __future__ import annotations

from datetime import UTC, datetime

from cs import CloudStack
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from cloudlb.api.commands import COMMANDS
from cloudlb.api.errors import ApiError
from cloudlb.api.signature import signatures, verify
from cloudlb.domain.users import Account, ApiKey, Role
from tests.api.world import API_KEY, NOW, SECRET, ApiTestCase, encode, sign

ACCOUNT = Account(id=1, uuid="u", username="admin", role=Role.ADMINISTRATOR, created=NOW, disabled=False, password=None)
KEY = ApiKey(uuid="k", account=ACCOUNT, name="", api_key=API_KEY, secret_key=SECRET, created=NOW, expires=None)

names = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGH[].", min_size=1, max_size=8).filter(
    lambda name: name.lower() not in ("signature", "signatureversion", "expires")
)
queries = st.dictionaries(names, st.text(max_size=20), min_size=1, max_size=6)


def expires(seconds: float) -> str:
    """A time in CloudStack's form."""
    return datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S%z")


class SignatureTests(SynchronousTestCase):
    """The signature as a function of parameters and secret."""

    @given(queries)
    @settings(max_examples=60)
    def test_what_the_common_client_signs(self, parameters: dict[str, str]) -> None:
        """Whatever cs signs is accepted."""
        signed = dict(parameters)
        CloudStack("http://x", key=API_KEY, secret=SECRET)._sign(signed)
        self.assertIs(ACCOUNT, verify(signed, KEY, NOW))

    @given(queries, st.data())
    @settings(max_examples=60)
    def test_changed_in_transit(self, parameters: dict[str, str], data: st.DataObject) -> None:
        """A parameter whose value is changed, in more than the case of letters, is noticed; so is an added one."""
        signed = sign(parameters)
        name = data.draw(st.sampled_from(sorted(parameters)))
        self.assertRaises(ApiError, verify, {**signed, name: signed[name] + "x"}, KEY, NOW)
        self.assertRaises(ApiError, verify, {**signed, "added": "1"}, KEY, NOW)

    def test_vector(self) -> None:
        """The signature of a query whose digest was computed by hand with openssl."""
        parameters = {"response": "json", "command": "listHosts", "name": "a b*c+d/é", "apiKey": "KEY"}
        # printf %s 'apikey=key&command=listhosts&name=a%20b*c%2bd%2f%c3%a9&response=json' | openssl dgst -sha1 -hmac S
        self.assertEqual(["CnKHOZYdJAFzo6uD8KE6b4ShBDM="], list(signatures(parameters, "S")))

    def test_tilde(self) -> None:
        """A value with ~ is signed as it stands by Python and Go, and escaped by Java: both are right."""
        plain, escaped = signatures({"name": "~a"}, SECRET)
        self.assertNotEqual(plain, escaped)
        for signature in (plain, escaped):
            self.assertIs(ACCOUNT, verify({"name": "~a", "signature": signature}, KEY, NOW))

    def test_expiry(self) -> None:
        """Version 3 needs a future time; without a version a call does not expire."""
        for when, valid in ((expires(1), True), (expires(0), False), (expires(-1), False), ("", False), ("x", False)):
            signed = sign({"signatureVersion": "3", "expires": when})
            if valid:
                self.assertIs(ACCOUNT, verify(signed, KEY, NOW))
            else:
                self.assertRaises(ApiError, verify, signed, KEY, NOW)
        self.assertRaises(ApiError, verify, sign({"signatureVersion": "3"}), KEY, NOW)
        self.assertIs(ACCOUNT, verify(sign({"expires": expires(-1)}), KEY, NOW))

    def test_other_time_zone(self) -> None:
        """The offset of ``expires`` counts."""
        moment = datetime.fromtimestamp(NOW, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        early = sign({"signatureVersion": "3", "expires": f"{moment}+0100"})
        late = sign({"signatureVersion": "3", "expires": f"{moment}-0100"})
        self.assertRaises(ApiError, verify, early, KEY, NOW)
        self.assertIs(ACCOUNT, verify(late, KEY, NOW))


class AuthenticationTests(ApiTestCase):
    """No command runs for whom did not sign."""

    def assert_unauthorized(self, parameters: dict[str, str]) -> None:
        """One answer for all who are not believed, with nothing in it to learn from."""
        response = self.get({**parameters, "response": "json"} if "signature" not in parameters else parameters)
        self.assertEqual(401, response.status)
        ((_, body),) = response.json.items()
        self.assertEqual(
            {
                "uuidList": [],
                "errorcode": 401,
                "cserrorcode": 9999,
                "errortext": "unable to verify user credentials and/or request signature",
            },
            body,
        )

    def test_who_is_refused(self) -> None:
        """No signature, no key, an unknown key, another's secret."""
        good = {"command": "listZones", "response": "json", "apiKey": API_KEY}
        self.assert_unauthorized({"command": "listZones"})
        self.assert_unauthorized(good)
        self.assert_unauthorized(sign({"command": "listZones", "response": "json"}))
        self.assert_unauthorized(sign({**good, "apiKey": "other"}))
        self.assert_unauthorized(sign(good, "other"))
        self.assert_unauthorized({**good, "signature": "é"})
        self.assertEqual(200, self.get(sign(good)).status)

    def test_every_command_needs_a_signature(self) -> None:
        """Also those that tell little, and those that do not exist; but for login and logout."""
        commands = [name for name, command in COMMANDS.items() if not command.public]
        self.assertEqual({"login", "logout"}, COMMANDS.keys() - commands)
        self.assertIn("listApis", commands)
        for command in [*commands, "noSuchThing", ""]:
            self.assert_unauthorized({"command": command, "apiKey": API_KEY})

    def test_a_parameter_twice(self) -> None:
        """It could be signed with one value and read with the other."""
        good = encode(sign({"command": "listZones", "response": "json", "apiKey": API_KEY}))
        for extra in (b"&command=listPods", b"&COMMAND=listPods", b"&apikey=x"):
            response = self.send(b"GET /client/api?" + good + extra + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(400, response.status, extra)

    def test_names_in_any_case(self) -> None:
        """Parameters' names are signed as sent and found in any case."""
        signed = sign({"Command": "listZones", "RESPONSE": "json", "apikey": API_KEY, "PageSize": "1", "page": "0"})
        response = self.get(signed)
        self.assertEqual(431, response.status, response.content)
        self.assertIn("page", response.json["listzonesresponse"]["errortext"])
