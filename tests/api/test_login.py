"""Tests of logging in, sessions, roles, users and their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import evolve

from cloudlb.api.attempts import ALLOWED, ALLOWED_IN_ALL, FORGOTTEN_AFTER
from cloudlb.api.sessions import FRESH, IDLE, MOST
from cloudlb.domain.passwords import hash_password
from cloudlb.domain.users import Account, Role
from tests.api.world import API_KEY, NOW, SECRET, ApiTestCase, Response, add_user, encode, sign

PASSWORD = "correct horse"


class LoginTestCase(ApiTestCase):
    """Tests with an administrator and a reader who have passwords."""

    kept = hash_password(PASSWORD)

    def setUp(self) -> None:
        """Give the users passwords."""
        super().setUp()
        self.stored(lambda txn: txn.accounts.update(evolve(self.account, password=self.kept)))
        reader = self.stored(lambda txn: add_user(txn, "reader", "reader-key", Role.READ_ONLY))
        self.reader: Account = evolve(reader, password=self.kept)
        self.stored(lambda txn: txn.accounts.update(self.reader))

    def request(self, parameters: Mapping[str, str], cookie: str = "", address: str = "127.0.0.9") -> Response:
        """Post parameters with a cookie."""
        body = encode({"response": "json", **parameters})
        head = [
            "POST /client/api HTTP/1.1",
            "Host: x",
            "Content-Type: application/x-www-form-urlencoded",
            f"Content-Length: {len(body)}",
        ]
        if cookie:
            head.append(f"Cookie: other=1; JSESSIONID={cookie}")
        self.address = address
        return self.send("\r\n".join((*head, "", "")).encode() + body)

    def try_login(self, username: str = "admin", password: str = PASSWORD, **more: str) -> Response:
        """Log in, or not."""
        return self.request({"command": "login", "username": username, "password": password}, **more)

    def login(self, username: str = "admin") -> Browser:
        """Log in."""
        response = self.try_login(username)
        self.assertEqual(200, response.status, response.content)
        cookie = response.headers["set-cookie"]
        name, _, value = cookie.partition(";")[0].partition("=")
        self.assertEqual("JSESSIONID", name)
        return Browser(self, value, response.json["loginresponse"]["sessionkey"])


class Browser:
    """Somebody who has logged in."""

    def __init__(self, case: LoginTestCase, cookie: str, key: str) -> None:
        self.case, self.cookie, self.key = case, cookie, key

    def send(self, command: str, **parameters: str) -> Response:
        """Call a command with cookie and key."""
        return self.case.request({"command": command, "sessionkey": self.key, **parameters}, self.cookie)

    def call(self, command: str, **parameters: str) -> Any:
        """Call a command that succeeds; what stands in its envelope."""
        response = self.send(command, **parameters)
        self.case.assertEqual(200, response.status, response.content)
        return response.json[f"{command.lower()}response"]

    def failed(self, code: int, command: str, **parameters: str) -> str:
        """Call a command that fails; the text of its error."""
        response = self.send(command, **parameters)
        self.case.assertEqual(code, response.status, response.content)
        ((_, body),) = response.json.items()
        text: str = body["errortext"]
        return text


class SessionTests(LoginTestCase):
    """Logging in and out."""

    def test_login(self) -> None:
        """The answer has what clients ask for, the cookie is for this site's requests alone."""
        response = self.try_login()
        body = response.json["loginresponse"]
        self.assertEqual(("admin", "1", "Root Admin"), (body["username"], body["type"], body["rolename"]))
        self.assertEqual(self.account.uuid, body["userid"])
        cookie = response.headers["set-cookie"]
        for part in ("HttpOnly", "SameSite=strict", "Path=/"):
            self.assertIn(part.lower(), cookie.lower())
        self.assertNotIn("secure", cookie.lower())
        self.assertNotIn(body["sessionkey"], cookie)

    def test_calls(self) -> None:
        """With cookie and key, calls need no signature; with one of them they do."""
        browser = self.login()
        self.assertEqual(2, browser.call("listUsers")["count"])
        browser.call("updateConfiguration", name="ping.interval", value="30")
        for broken in (Browser(self, browser.cookie, ""), Browser(self, "", browser.key)):
            broken.failed(401, "listUsers")
        other = self.login("reader")
        Browser(self, browser.cookie, other.key).failed(401, "listUsers")

    def test_a_wrong_signature_is_no_session(self) -> None:
        """A call that carries an API key is judged by its signature."""
        self.login().failed(401, "listUsers", apiKey=API_KEY, signature="x")

    def test_logout(self) -> None:
        """The session ends, and no other."""
        one, two = self.login(), self.login()
        response = one.send("logout")
        self.assertIn("jsessionid=;", response.headers["set-cookie"].lower())
        one.failed(401, "listUsers")
        two.call("listUsers")

    def test_login_again(self) -> None:
        """Another login in a session replaces it."""
        browser = self.login()
        fields = {"command": "login", "username": "admin", "password": PASSWORD, "sessionkey": browser.key}
        self.assertEqual(200, self.request(fields, browser.cookie).status)
        browser.failed(401, "listUsers")

    def test_idle(self) -> None:
        """A session lasts as long as it is used."""
        browser = self.login()
        for _ in range(3):
            self.clock.advance(IDLE)
            browser.call("listUsers")
        self.clock.advance(IDLE + 1)
        browser.failed(401, "listUsers")

    def test_changes_ask_who_it_is(self) -> None:
        """A while after the password was given, a session still looks and no longer changes anything."""
        browser = self.login()
        self.clock.advance(FRESH + 1)
        browser.call("listUsers")
        text = browser.failed(401, "updateConfiguration", name="ping.interval", value="30")
        self.assertIn("log in again", text)
        self.assertEqual([], [e for e in self.call("listEvents").get("event", ()) if "ping" in e["description"]])

    def test_what_ends_sessions(self) -> None:
        """Another password, a disabled and a deleted user."""
        reader = {"id": self.reader.uuid}
        for end in (
            lambda: self.call("updateUser", password="another one", **reader),
            lambda: self.call("disableUser", **reader),
            lambda: self.call("deleteUser", **reader),
        ):
            self.stored(lambda txn: txn.accounts.update(self.reader))
            browser = self.login("reader")
            browser.call("listUsers")
            end()
            browser.failed(401, "listUsers")

    def test_many(self) -> None:
        """There is an end to how many sessions are kept: the least used goes."""
        first, second = self.login(), self.login()
        first.call("listUsers")
        for _ in range(MOST - 1):
            self.context.sessions.begin(self.account)
        second.failed(401, "listUsers")
        first.call("listUsers")

    def test_never_in_a_url(self) -> None:
        """Passwords are posted."""
        response = self.get({"command": "login", "username": "admin", "password": PASSWORD, "response": "json"})
        self.assertEqual(405, response.status)

    def test_secrets(self) -> None:
        """No repr tells the key of a session."""
        browser = self.login()
        (session,) = self.context.sessions._sessions.values()
        for secret in (browser.cookie, browser.key, self.kept):
            self.assertNotIn(secret, repr(session))


class AttemptTests(LoginTestCase):
    """Wrong passwords."""

    def test_refused(self) -> None:
        """A wrong password, an unknown, a disabled and a user without a password get the same answer."""
        self.stored(lambda txn: add_user(txn, "none", "k"))
        disabled = self.stored(lambda txn: add_user(txn, "disabled", "l"))
        self.stored(lambda txn: txn.accounts.update(evolve(disabled, password=self.kept, disabled=True)))
        for username, password in (("admin", "wrong"), ("nobody", PASSWORD), ("none", ""), ("disabled", PASSWORD)):
            response = self.try_login(username, password)
            self.assertEqual(531, response.status)
            self.assertNotIn("set-cookie", response.headers)
            text = response.json["loginresponse"]["errortext"]
            self.assertEqual(f"Failed to authenticate user {username!r}; please provide valid credentials", text)

    def test_limit(self) -> None:
        """After some wrong passwords not even the right one is taken for a while, from that address for that user."""
        for _ in range(ALLOWED):
            self.assertEqual(531, self.try_login(password="wrong").status)
        self.assertEqual(429, self.try_login().status)
        self.assertEqual(200, self.try_login("reader").status)
        self.assertEqual(200, self.try_login(address="127.0.0.10").status)
        self.clock.advance(FORGOTTEN_AFTER)
        self.assertEqual(200, self.try_login().status)

    def test_a_right_one_starts_anew(self) -> None:
        """Who mistypes now and then never waits."""
        for _ in range(3):
            for _ in range(ALLOWED - 1):
                self.assertEqual(531, self.try_login(password="wrong").status)
            self.assertEqual(200, self.try_login().status)

    def test_many_users(self) -> None:
        """An address that tries one user after the other has to wait, too."""
        for number in range(ALLOWED_IN_ALL):
            self.assertEqual(531, self.try_login(f"user-{number}").status)
        self.assertEqual(429, self.try_login().status)
        self.assertEqual(200, self.try_login(address="127.0.0.10").status)


class RoleTests(LoginTestCase):
    """What each role may call."""

    def test_reader(self) -> None:
        """One who may only read sees all that changes nothing, and nothing else exists for that user."""
        browser = self.login("reader")
        named = {api["name"] for api in browser.call("listApis")["api"]}
        everything = {api["name"] for api in self.call("listApis")["api"]}
        self.assertLess(named, everything)
        for name in ("listHosts", "plan", "readyForShutdown", "updateUser", "logout", "queryAsyncJobResult"):
            self.assertIn(name, named)
        for name in everything - named:
            text = browser.failed(432, name, id="1", name="ping.interval", value="30", managementserverid="1")
            self.assertIn("Read-Only Admin", text)
        for name in named:
            self.assertTrue(name.startswith(("list", "get", "query", "log")) or name in _FOR_ALL, name)

    def test_reader_who_signs(self) -> None:
        """The same by keys."""
        fields = {"command": "updateConfiguration", "name": "ping.interval", "value": "30", "response": "json"}
        response = self.get(sign({**fields, "apiKey": "reader-key"}))
        self.assertEqual(432, response.status)

    def test_own_password(self) -> None:
        """Anybody changes the own password, who knows the present one; nobody else's, and no role."""
        browser = self.login("reader")
        own = {"id": self.reader.uuid}
        browser.failed(431, "updateUser", password="another one", **own)
        browser.failed(431, "updateUser", password="another one", currentpassword="wrong one", **own)
        browser.failed(432, "updateUser", password="another one", id=self.account.uuid)
        browser.failed(432, "updateUser", roleid="Root Admin", **own)
        browser.call("updateUser", password="another one", currentpassword=PASSWORD, **own)
        self.assertEqual(531, self.try_login("reader").status)
        self.assertEqual(200, self.try_login("reader", "another one").status)


_FOR_ALL = {"plan", "readyForShutdown", "updateUser"}


class UserTests(LoginTestCase):
    """Users."""

    def test_create(self) -> None:
        """A new user can log in, and is one of its role."""
        made = self.call("createUser", username="guest", password="long enough", roleid="Read-Only Admin")["user"]
        self.assertEqual(("guest", "enabled", 4), (made["username"], made["state"], made["accounttype"]))
        self.assertEqual(200, self.try_login("guest", "long enough").status)
        self.assertEqual("guest", self.call("listUsers", id=made["id"])["user"][0]["username"])
        (event,) = self.call("listEvents", type="USER.CREATE")["event"]
        self.assertEqual("admin", event["username"])

    def test_bad(self) -> None:
        """Errors name the parameter, and nothing is made."""
        good = {"username": "guest", "password": "long enough", "roleid": "Root Admin"}
        for name, value in (("username", "admin"), ("username", " "), ("password", "short"), ("roleid", "root")):
            self.assertIn(name, self.refused("createUser", **{**good, name: value}))
        self.assertEqual(2, self.call("listUsers")["count"])

    def test_the_last_administrator(self) -> None:
        """Somebody is left who can do everything."""
        for command, more in (("deleteUser", {}), ("disableUser", {}), ("updateUser", {"roleid": "Read-Only Admin"})):
            self.assertIn("only administrator", self.refused(command, id=self.account.uuid, **more))
        self.call("updateUser", id=self.reader.uuid, roleid="Root Admin")
        self.call("disableUser", id=self.account.uuid)
        response = self.get(sign({"command": "listUsers", "apiKey": API_KEY, "response": "json"}))
        self.assertEqual(401, response.status)

    def test_enable(self) -> None:
        """A disabled user comes back with the same password."""
        self.call("disableUser", id=self.reader.uuid)
        self.assertEqual("disabled", self.call("listUsers", username="reader")["user"][0]["state"])
        self.call("enableUser", id=self.reader.uuid)
        self.login("reader")

    def test_roles(self) -> None:
        """Their ids are the same everywhere."""
        roles = self.call("listRoles")["role"]
        self.assertEqual({role.uuid for role in Role}, {role["id"] for role in roles})


class KeyTests(LoginTestCase):
    """API keys."""

    def issue(self, **parameters: str) -> Any:
        """Issue a pair for the reader."""
        return self.call("registerUserKeys", id=self.reader.uuid, **parameters)["userkeys"]

    def status(self, key: Any) -> int:
        """What a call gets that is signed with a pair."""
        call = {"command": "listUsers", "apiKey": key["apikey"], "response": "json"}
        return self.get(sign(call, key["secretkey"])).status

    def test_issue_and_revoke(self) -> None:
        """A second pair works beside the first until it is revoked; its secret is told once."""
        key = self.issue(name="backup")
        self.assertEqual(200, self.status(key))
        self.assertEqual(200, self.status({"apikey": "reader-key", "secretkey": SECRET}))
        listed = self.call("listUserKeys", userid=self.reader.uuid)["userkeys"]
        self.assertEqual(["", "backup"], [row["name"] for row in listed])
        self.assertNotIn(key["secretkey"], str(listed))
        self.call("deleteUserKeys", keypairid=key["id"])
        self.assertEqual(401, self.status(key))
        self.assertEqual(200, self.status({"apikey": "reader-key", "secretkey": SECRET}))
        self.assertIn("keypairid", self.refused("deleteUserKeys", keypairid=key["id"]))
        events = [event["type"] for event in self.call("listEvents")["event"]]
        self.assertEqual(["DELETE.USER.KEY", "REGISTER.USER.KEY"], events[:2])

    def test_expiry(self) -> None:
        """A pair works until the end of its last day."""
        self.assertIn("enddate", self.refused("registerUserKeys", id=self.reader.uuid, enddate="2020-01-01"))
        key = self.issue(enddate="2026-09-21")
        self.clock.advance(1_790_035_199.0 - NOW)
        self.assertEqual(200, self.status(key))
        self.clock.advance(1.0)
        self.assertEqual(401, self.status(key))

    def test_the_last_day(self) -> None:
        """Who means never and says so by the last day that there is, gets what can be listed."""
        for day in ("9999-12-31", "9999-12-31T23:59:59-2300"):
            self.assertEqual("9999-12-31T23:59:59+0000", self.issue(enddate=day)["enddate"])
        self.assertEqual(4, self.call("listUserKeys")["count"])

    def test_whose(self) -> None:
        """CloudStack's clients ask who they are."""
        self.assertEqual("reader", self.call("getUser", userapikey="reader-key")["user"]["username"])
        self.refused("getUser", userapikey="none")
