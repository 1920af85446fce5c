"""mgmt.properties."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.config import InvalidConfiguration, load_server_config

_LEAST = {
    "name": "127.0.0.1",
    "address": "127.0.0.1",
    "db.url": "sqlite:///../../cloudlb.sqlite",
    "tls.ca": "ca.crt",
    "tls.certificate": "server.crt",
    "tls.key": "server.key",
}


class ServerConfigs(SynchronousTestCase):
    """load_server_config."""

    def setUp(self) -> None:
        """Name the file."""
        self.folder = Path(self.mktemp()).absolute()
        self.path = self.folder / "servers" / "one" / "mgmt.properties"
        self.path.parent.mkdir(parents=True)

    def write(self, **changes: str | None) -> None:
        """Write the least that a server needs, changed: dots are written as underscores, None leaves a key out."""
        keys = {name.replace("_", "."): value for name, value in changes.items()}
        lines = [f"{key}={value}" for key, value in {**_LEAST, **keys}.items() if value is not None]
        self.path.write_text("\n".join(["# a comment", *lines]), encoding="utf-8")

    def refusal(self) -> str:
        """Why the file is refused; the message begins with its path."""
        with self.assertRaises(InvalidConfiguration) as caught:
            load_server_config(self.path)
        start = f"{self.path}: "
        self.assertTrue(str(caught.exception).startswith(start), caught.exception)
        return str(caught.exception).removeprefix(start)

    def test_least(self) -> None:
        """Everything else has a default; paths are relative to the file, wherever the server is started."""
        self.write()
        config = load_server_config(self.path)
        self.assertEqual(config.database_url, f"sqlite:///{self.folder / 'cloudlb.sqlite'}")
        self.assertEqual(config.private_key, self.path.parent / "server.key")
        self.assertEqual((config.bind_address, config.port), ("127.0.0.1", 8250))
        self.assertEqual((config.api_address, config.api_port), ("127.0.0.1", 8080))

    def test_everything(self) -> None:
        """What is given counts, in its own spelling or normalized."""
        self.write(
            address="[0::1]",
            bind_address="127.0.0.9",
            port="0",
            tls_key="/etc/key",
            agent_max_message="8192",
            db_url="sqlite:////var/lib/cloudlb.sqlite",
        )
        config = load_server_config(self.path)
        self.assertEqual((config.address, config.bind_address, config.api_address), ("::1", "127.0.0.9", "127.0.0.9"))
        self.assertEqual((config.port, config.max_message), (0, 8192))
        self.assertEqual(config.private_key, Path("/etc/key"))
        self.assertEqual(config.database_url, "sqlite:////var/lib/cloudlb.sqlite")

    def test_ca_folder(self) -> None:
        """Beside the file, and none where it is left out or left empty."""
        for value, folder in ((None, None), ("", None), ("../ca", self.path.parent.absolute() / "../ca")):
            self.write(ca_folder=value)
            self.assertEqual(folder, load_server_config(self.path).ca_folder)

    def test_missing(self) -> None:
        """Each of the keys without a default is missed by name, left out or left empty."""
        for key in _LEAST:
            for value in (None, "", " "):
                self.write(**{key.replace(".", "_"): value})
                self.assertIn(key, self.refusal(), (key, value))

    def test_bad_values(self) -> None:
        """A value that does not fit is refused with its key."""
        for key, value in (
            ("port", "x"),
            ("port", "65536"),
            ("port", "-1"),
            ("port", "8_250"),
            ("port", ""),
            ("agent.max.message", "8191"),
            ("agent.startup.timeout", "0"),
            ("address", "127.0.0.300"),
        ):
            self.write(**{key.replace(".", "_"): value})
            self.assertTrue(self.refusal().startswith(f"{key}={value}: "), (key, value))

    def test_unknown_key(self) -> None:
        """A mistyped key is not ignored."""
        self.write(prot="8250")
        self.assertTrue(self.refusal().startswith("unknown key 'prot'; known are address, "))

    def test_unreadable(self) -> None:
        """A file that is missing, or is no text, is named."""
        self.assertIn("cannot be read", self.refusal())
        self.path.write_bytes(b"name=\\u12")
        self.assertIn("cannot be read", self.refusal())

    def test_password_is_not_shown(self) -> None:
        """The URL of the database stays out of what is logged."""
        self.write(db_url="postgresql://user:hidden@db/cloud")
        config = load_server_config(self.path)
        self.assertEqual(config.database_url, "postgresql://user:hidden@db/cloud")
        self.assertNotIn("hidden", repr(config))

    def test_https(self) -> None:
        """The API is served by HTTPS where other machines can reach it, unless told otherwise."""
        for api_address, told, expected in (
            ("127.0.0.9", None, False),
            ("::1", None, False),
            ("localhost", None, False),
            ("127.0.0.9", "true", True),
            ("10.0.0.7", None, True),
            ("0.0.0.0", None, True),  # noqa: S104 - only a value
            ("10.0.0.7", "false", False),
        ):
            self.write(api_address=api_address, api_tls=told)
            self.assertEqual(expected, load_server_config(self.path).api_tls, (api_address, told))
        self.write(api_tls="yes")
        self.assertIn("api.tls=yes: neither true nor false", self.refusal())
        self.write(api_tls_certificate="site.crt")
        self.assertIn("api.tls.key", self.refusal())
