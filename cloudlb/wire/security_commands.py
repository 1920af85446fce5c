"""Commands about certificates and console sessions. Their secrets are not in the repr."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field

from cloudlb.wire.commands import AgentControlCommand
from cloudlb.wire.content import NOTHING, Command, frozen


@frozen(kw_only=True)
class NetworkElementCommand(Command):
    """A command that may go to a system VM through its host [NetworkElementCommand]."""

    access_details: Mapping[str, str] = field(default=NOTHING, repr=False)
    """How to reach the system VM, such as ``router.ip``; may hold credentials."""


@frozen(kw_only=True)
class SetupKeyStoreCommand(NetworkElementCommand):
    """Make a key and a certificate request [SetupKeyStoreCommand]."""

    validity_days: int = 0
    keystore_password: str | None = field(default=None, repr=False)
    handle_by_agent: bool = True
    """Whether the agent itself is meant, not a system VM."""


@frozen(kw_only=True)
class SetupCertificateCommand(NetworkElementCommand):
    """Install the certificate that was made for the request [SetupCertificateCommand]."""

    certificate: str | None = None
    """PEM."""
    private_key: str = field(default="", repr=False)
    """PEM; empty where the host keeps its own key."""
    ca_certificates: str | None = None
    """PEM, one after the other."""
    handle_by_agent: bool = True
    """Whether the agent itself is meant, not a system VM."""


@frozen(kw_only=True)
class ConsoleAccessAuthenticationCommand(AgentControlCommand):
    """A console proxy asks whether a viewer may see a VM's console [ConsoleAccessAuthenticationCommand]."""

    host: str | None = None
    port: str | None = None
    vm_id: str | None = None
    sid: str | None = field(default=None, repr=False)
    """The password of the VM's console."""
    ticket: str | None = field(default=None, repr=False)
    session_uuid: str | None = field(default=None, repr=False)
    client_address: str | None = None
    is_reauthenticating: bool = False
