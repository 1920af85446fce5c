"""Tests of what the web server takes for its certificate."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from cloudlb.net.https_server import HttpsContext
from cloudlb.net.pki import CertificateAuthority
from cloudlb.net.tls import TlsConfigurationError


class HttpsContextTests(SynchronousTestCase):
    """HttpsContext."""

    def setUp(self) -> None:
        """Make two certificates."""
        self.folder = Path(self.mktemp())
        authority = CertificateAuthority.create(self.folder / "ca", "test")
        for name in ("one", "two"):
            authority.issue_server(name, [name]).write(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def test_good(self) -> None:
        """A certificate and its key."""
        context = HttpsContext(self.folder / "one.crt", self.folder / "one.key")
        self.assertIs(context.getContext(), context.getContext())

    def test_bad(self) -> None:
        """What does not do is named."""
        (self.folder / "empty").touch()
        for certificate, key, named in (
            ("one.crt", "two.key", "two.key"),
            ("none.crt", "one.key", "none.crt"),
            ("one.crt", "none.key", "none.key"),
            ("empty", "one.key", "empty"),
            ("one.key", "one.key", "one.key"),
        ):
            with self.assertRaisesRegex(TlsConfigurationError, named):
                HttpsContext(self.folder / certificate, self.folder / key)
