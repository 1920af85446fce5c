"""The files of a deployment's daemons and of its administrator. A file that is there already is never touched."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

from attrs import field, frozen

from cloudlb.domain.addresses import is_loopback
from cloudlb.domain.users import ApiKey
from cloudlb.net.atomic_file import write_atomically
from cloudlb.net.pki import CertificateAuthority, KeyPair
from cloudlb.net.properties_text import properties_text
from cloudlb.resource.loading import SIMULATOR

INI_FILE = "cloudstack.ini"
PASSWORD_FILE = "admin-password"  # noqa: S105 - a name
"""The first password of the administrator, for the dashboard."""
_PUBLIC, _PRIVATE = 0o644, 0o600


@frozen(kw_only=True)
class DeploymentFiles:
    """What the files of one deployment have in common. Errors are OSError and PkiError."""

    folder: Path
    authority: CertificateAuthority
    port: int
    api_port: int
    database_url: str = field(repr=False)
    """As mgmt.properties writes it."""

    def write_server(self, address: str) -> None:
        """Write what is missing of a server."""
        folder = self.folder / "servers" / address
        self._write_identity(folder, "server", lambda: self.authority.issue_server(address, [address]))
        _write_properties(
            folder / "mgmt.properties",
            f"Management server {address}.",
            {
                "name": address,
                "address": address,
                "port": str(self.port),
                "api.port": str(self.api_port),
                "db.url": self.database_url,
                "ca.folder": "../../ca",
                "tls.ca": "ca.crt",
                "tls.certificate": "server.crt",
                "tls.key": "server.key",
            },
        )

    def write_agents(self, agents: int, hosts: tuple[str, ...], progress: Callable[[str], None]) -> int:
        """Write what is missing of agents 1 to this number, and count those that were not there."""
        new = 0
        for number in range(1, agents + 1):
            new += self._write_agent(number, hosts)
            if number % 100 == 0 or number == agents:
                progress(f"agents 1 to {number}")
        return new

    def write_ini(self, address: str, key: ApiKey) -> None:
        """Write cloudstack.ini with the API of the server at this address."""
        path = self.folder / INI_FILE
        if path.exists():
            return
        scheme, *verify = ["http"] if is_loopback(address) else ["https", f"verify = {self.authority.path.absolute()}"]
        host = f"[{address}]" if ":" in address else address
        lines = (
            "[cloudstack]",
            f"endpoint = {scheme}://{host}:{self.api_port}/client/api",
            *verify,
            f"key = {key.api_key}",
            f"secret = {key.secret_key}",
        )
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode(), _PRIVATE)

    def write_password(self, password: str) -> None:
        """Write the administrator's first password."""
        write_atomically(self.folder / PASSWORD_FILE, f"{password}\n".encode(), _PRIVATE)

    def _write_agent(self, number: int, hosts: tuple[str, ...]) -> bool:
        folder = self.folder / "agents" / str(number)
        guid = self._guid(number)
        self._write_identity(folder, "agent", lambda: self.authority.issue_agent(guid))
        return _write_properties(
            folder / "agent.properties",
            f"Agent {number}.",
            {
                "guid": guid,
                "name": f"agent-{number}",
                "host": ",".join(hosts),
                "port": str(self.port),
                "zone": "1",
                "pod": "1",
                "cluster": "1",
                "resource": SIMULATOR,
                "tls.ca": "ca.crt",
                "tls.certificate": "agent.crt",
                "tls.key": "agent.key",
            },
        )

    def _guid(self, number: int) -> str:
        """An agent's GUID follows from its CA and its number, so that a lost file comes back as it was."""
        namespace = uuid.UUID(bytes=sha256(self.authority.path.read_bytes()).digest()[:16])
        return str(uuid.uuid5(namespace, f"agent-{number}"))

    def _write_identity(self, folder: Path, name: str, issue: Callable[[], KeyPair]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        certificate, key, ca = folder / f"{name}.crt", folder / f"{name}.key", folder / "ca.crt"
        if not ca.exists():
            write_atomically(ca, self.authority.path.read_bytes(), _PUBLIC)
        if not (certificate.exists() and key.exists()):
            issue().write(certificate, key)


def _write_properties(path: Path, comment: str, properties: Mapping[str, str]) -> bool:
    """Write a properties file that is not there; say whether it was written."""
    if path.exists():
        return False
    # A database's URL may hold a password.
    write_atomically(path, properties_text(comment, properties).encode("ascii"), _PRIVATE)
    return True
