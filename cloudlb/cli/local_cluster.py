"""A deployment of `cloudlb init` run as child processes on this machine, and what its API and its files say of it."""

from __future__ import annotations

import configparser
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import requests
from attrs import field, frozen
from cs import CloudStack

from agent.config import AgentConfig, load_agent_config
from cloudlb.cli.agents import agent_files
from cloudlb.cli.deployment_files import INI_FILE
from cloudlb.cli.processes import Daemon, check_free, stop_all, twistd, wait_until_listening
from cloudlb.config import ServerConfig, load_server_config
from cloudlb.domain.host_list import HostList

START_TIMEOUT = 30.0
"""Seconds that a server has to listen; a loaded machine compiles Python for some of them."""
API_TIMEOUT = 5
"""Seconds that a server has to answer a call before the next one is asked."""

T = TypeVar("T")


class NotADeployment(Exception):
    """The folder is not one that `cloudlb init` wrote; the message names what is missing or does not do."""


class NoServerAnswers(Exception):
    """None of the servers answers at its API."""


@frozen
class HostView:
    """A host as the API shows it."""

    name: str
    state: str
    server: str
    """The server it is on, or was on last; empty if there never was one."""

    def is_up_on(self, server: str) -> bool:
        """Whether its agent is connected there."""
        return self.state == "Up" and self.server == server


@frozen
class Inventory:
    """What stands in the folder."""

    folder: Path
    servers: Mapping[str, ServerConfig]
    """By name, which is the server's address."""
    server_files: Mapping[str, Path]
    """The mgmt.properties of each."""
    agents: Mapping[str, Path]
    """The properties files by the name of the host, in the order of their numbers."""
    api_key: str
    secret: str = field(repr=False)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the folder.

        Raises:
            NotADeployment: it is none.
            cloudlb.config.InvalidConfiguration, agent.config.InvalidConfiguration: a file of it does not do.
        """
        servers = {path: load_server_config(path) for path in sorted(folder.glob("servers/*/mgmt.properties"))}
        if not servers:
            raise NotADeployment(f"{folder} has no servers/*/mgmt.properties: make it with cloudlb init")
        api_key, secret = _read_ini(folder / INI_FILE)
        return cls(
            folder=folder,
            servers={server.name: server for server in servers.values()},
            server_files={server.name: path for path, server in servers.items()},
            agents={load_agent_config(path)[0].name: path for path in agent_files(folder)},
            api_key=api_key,
            secret=secret,
        )

    def agent(self, name: str) -> AgentConfig:
        """What an agent's properties file says now; the agent rewrites it when it gets another list."""
        return load_agent_config(self.agents[name])[0]

    def lists(self) -> dict[str, HostList]:
        """The list in each agent's properties file."""
        return {name: self.agent(name).hosts for name in self.agents}


def _read_ini(path: Path) -> tuple[str, str]:
    """The administrator's key and secret."""
    ini = configparser.ConfigParser(interpolation=None)
    try:
        with path.open(encoding="utf-8") as file:
            ini.read_file(file)
        return ini["cloudstack"]["key"], ini["cloudstack"]["secret"]
    except OSError as error:
        raise NotADeployment(f"{path}: {error.strerror}; cloudlb init makes it anew") from None
    except KeyError as error:
        raise NotADeployment(f"{path} has no {error.args[0]}; without the file, cloudlb init makes it anew") from None
    except (configparser.Error, UnicodeDecodeError):
        # Their words hold lines of the file, and so perhaps the secret.
        raise NotADeployment(f"{path} cannot be read as an ini file") from None


class Api:
    """The API of whichever server answers."""

    def __init__(self, inventory: Inventory) -> None:
        self._clients = [
            CloudStack(
                endpoint=f"{site_url(server)}client/api",
                # A certificate of its own is one that the machine trusts.
                verify=str(server.ca_certificate) if server.api_certificate is None else True,
                key=inventory.api_key,
                secret=inventory.secret,
                timeout=API_TIMEOUT,
            )
            for server in inventory.servers.values()
        ]

    def hosts(self) -> dict[str, HostView]:
        """Every host by its name."""
        rows: list[dict[str, Any]] = self._ask(lambda client: client.listHosts(fetch_list=True))
        return {row["name"]: HostView(row["name"], row["state"], row.get("managementservername") or "") for row in rows}

    def server_states(self) -> dict[str, str]:
        """The state of every server by its name."""
        rows: list[dict[str, Any]] = self._ask(
            lambda client: client.listManagementServers(fetch_list=True, agents=False)
        )
        return {row["name"]: row["state"] for row in rows}

    def setting(self, name: str) -> str:
        """The global value of a setting."""
        rows: list[dict[str, Any]] = self._ask(lambda client: client.listConfigurations(name=name, fetch_list=True))
        return str(rows[0]["value"])

    def change_setting(self, name: str, value: str) -> None:
        """Set a global value.

        Raises:
            cs.CloudStackApiException: it was refused.
        """
        self._ask(lambda client: client.updateConfiguration(name=name, value=value))

    def _ask(self, call: Callable[[CloudStack], T]) -> T:
        for client in list(self._clients):
            try:
                return call(client)
            except requests.RequestException:
                # Whoever does not answer is asked last from now on.
                self._clients.remove(client)
                self._clients.append(client)
        raise NoServerAnswers("no server answers at its API")


class LocalCluster:
    """The daemons of a deployment; as a context manager it ends them all on the way out."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.api = Api(inventory)
        self.logs = inventory.folder / "logs"
        self.servers = {
            name: self._daemon(f"server-{name}", "cloudlb-mgmt", path) for name, path in inventory.server_files.items()
        }
        self.agents = {name: self._daemon(name, "cloudlb-agent", path) for name, path in inventory.agents.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The agents first: each takes its leave of a server that is still there.
        try:
            stop_all(list(self.agents.values()))
        finally:
            stop_all(list(self.servers.values()))

    def start(self) -> None:
        """Start the servers, wait until they listen, and start the agents.

        Raises:
            PortInUse: somebody listens where a server is to.
            DaemonFailed: a server does not come up.
        """
        check_free(address for name in self.servers for address in self._addresses(name))
        for daemon in self.servers.values():
            daemon.start()
        self.wait_for_servers(self.servers)
        for daemon in self.agents.values():
            daemon.start()

    def wait_for_servers(self, names: Iterable[str]) -> None:
        """Wait until these servers listen for agents and at their API, and answer.

        Raises:
            DaemonFailed: one does not come up.
        """
        wait_until_listening([(self.servers[name], self._addresses(name)) for name in names], START_TIMEOUT)

    def ended(self) -> list[Daemon]:
        """Daemons that were started and have ended by themselves."""
        return [daemon for daemon in (*self.servers.values(), *self.agents.values()) if daemon.exit_status is not None]

    def _addresses(self, name: str) -> list[tuple[str, int]]:
        server = self.inventory.servers[name]
        return [(server.bind_address, server.port), (server.api_address, server.api_port)]

    def _daemon(self, name: str, plugin: str, config: Path) -> Daemon:
        return Daemon(name, twistd(plugin, "--config", str(config)), self.logs / f"{name}.log")


def site_url(server: ServerConfig) -> str:
    """Where a server has its dashboard, and the API below."""
    host = f"[{server.api_address}]" if ":" in server.api_address else server.api_address
    return f"{'https' if server.api_tls else 'http'}://{host}:{server.api_port}/"
