"""Making a deployment: a folder with everything that a cluster's daemons need to start.

    DIR/cloudlb.sqlite              the database, unless another is named
    DIR/ca/                         the certificate authority
    DIR/servers/ADDRESS/            mgmt.properties, ca.crt, server.crt, server.key
    DIR/agents/N/                   agent.properties, ca.crt, agent.crt, agent.key
    DIR/cloudstack.ini              endpoint, key and secret of the administrator

A server's or agent's folder can be copied to its machine as it is. Whatever is there already stays as it is, to the
byte: making a deployment again adds what is missing. cloudlb.cli.deployment_files has the files of the daemons.
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from attrs import field, frozen
from sqlalchemy.exc import SQLAlchemyError
from twisted.internet.defer import Deferred

from cloudlb.agents.live_settings import TOPIC
from cloudlb.cli.deployment_files import INI_FILE, PASSWORD_FILE, DeploymentFiles
from cloudlb.config import InvalidConfiguration, ServerConfig, load_server_config
from cloudlb.domain.addresses import InvalidAddress, normalize_address
from cloudlb.domain.passwords import hash_password
from cloudlb.domain.ports import StoreUnavailable, Transaction
from cloudlb.domain.settings import HOST, LB_ALGORITHM, LB_CHECK_INTERVAL, InvalidSetting, check_value
from cloudlb.domain.users import Account, ApiKey, Role
from cloudlb.net.pki import CERTIFICATE_FILE, CertificateAuthority, PkiError
from cloudlb.storage.backend import UnsupportedDatabase
from cloudlb.storage.database import Database
from cloudlb.storage.engine import find_backend
from cloudlb.storage.executor import InlineExecutor
from cloudlb.storage.migrate import SchemaMismatch, upgrade
from cloudlb.storage.sqlite import SqliteFile

T = TypeVar("T")

DATABASE_FILE = "cloudlb.sqlite"
ADMINISTRATOR = "admin"
PORT = 8250
API_PORT = 8080
MAX_AGENTS = 100_000
_OWN_NAMES = {
    "ca",
    "servers",
    "agents",
    INI_FILE,
    PASSWORD_FILE,
    DATABASE_FILE,
    f"{DATABASE_FILE}-wal",
    f"{DATABASE_FILE}-shm",
}


class DeploymentError(Exception):
    """The deployment cannot be made; the message says why. What was found wrong beforehand changed nothing."""


@frozen(kw_only=True)
class Request:
    """What an operator asks for. None is: as the deployment has it, or else the default."""

    folder: Path
    servers: tuple[str, ...]
    agents: int
    database_url: str | None = field(default=None, repr=False)
    port: int | None = None
    api_port: int | None = None
    algorithm: str | None = None
    check_interval: int | None = None


@frozen(kw_only=True)
class Deployment:
    """What there is now."""

    folder: Path
    servers: tuple[str, ...]
    """Addresses, the ones asked for first."""
    agents: int
    """Agents 1 to this number were asked for."""
    new_servers: tuple[str, ...]
    new_agents: int
    kept_settings: Mapping[str, str] = field(factory=dict)
    """Settings that were asked for with another value than the one in force, which was kept."""

    @property
    def password_file(self) -> Path:
        """The administrator's first password; the administrator may have removed it."""
        return self.folder / PASSWORD_FILE

    def server_file(self, address: str) -> Path:
        """A server's mgmt.properties."""
        return self.folder / "servers" / address / "mgmt.properties"

    def agent_file(self, number: int) -> Path:
        """An agent's agent.properties."""
        return self.folder / "agents" / str(number) / "agent.properties"


@frozen(kw_only=True)
class _Plan:
    """A request that was found good, and what was there before."""

    folder: Path
    servers: tuple[str, ...]
    new_servers: tuple[str, ...]
    agents: int
    url: str = field(repr=False)
    """For us to open."""
    written_url: str = field(repr=False)
    """For mgmt.properties."""
    port: int
    api_port: int
    settings: Mapping[str, str]
    """Algorithm and interval as far as they were asked for."""
    needs_new_database: bool
    """A database of others that has an administrator belongs to a deployment with another CA."""


def deploy(request: Request, progress: Callable[[str], None] = lambda line: None) -> Deployment:
    """Make a deployment, or add to it what is missing.

    Args:
        request: what there is to be.
        progress: told what is being done, line by line.

    Raises:
        DeploymentError: the message names what is wrong.
    """
    try:
        plan = _plan(request)
        backend = find_backend(plan.url)
        if isinstance(backend, SqliteFile) and backend.file.parent == plan.folder:
            plan.folder.mkdir(parents=True, exist_ok=True)
        progress(f"database {backend.name}")
        upgrade(plan.url)
        populated = _populate(plan)
        files = DeploymentFiles(
            folder=plan.folder,
            authority=populated.authority,
            port=plan.port,
            api_port=plan.api_port,
            database_url=plan.written_url,
        )
        for address in plan.servers:
            progress(f"server {address}")
            files.write_server(address)
        new_agents = files.write_agents(plan.agents, populated.hosts, progress)
        files.write_ini(plan.servers[0], populated.key)
        if populated.password is not None:
            files.write_password(populated.password)
    except (
        InvalidAddress,
        InvalidConfiguration,
        InvalidSetting,
        PkiError,
        SchemaMismatch,
        UnsupportedDatabase,
    ) as error:
        raise DeploymentError(str(error)) from error
    except StoreUnavailable as error:
        raise DeploymentError(str(error)) from error
    except SQLAlchemyError as error:
        raise DeploymentError(f"the database cannot be used: {getattr(error, 'orig', None) or error}") from error
    except OSError as error:
        raise DeploymentError(f"{error.filename or plan.folder}: {error.strerror}") from error
    return Deployment(
        folder=plan.folder,
        servers=plan.servers,
        agents=plan.agents,
        new_servers=plan.new_servers,
        new_agents=new_agents,
        kept_settings=populated.kept,
    )


def _plan(request: Request) -> _Plan:
    folder = request.folder.absolute()
    is_new = not (folder / "ca" / CERTIFICATE_FILE).exists()
    # What an interrupted run left is gone on with; anything else is none of our business.
    if is_new and (foreign := _foreign_entries(folder)):
        raise DeploymentError(f"{folder} is not empty and no deployment: it holds {foreign[0]!r}")
    asked = _addresses(request.servers)
    found = _found_servers(folder)
    if not asked and not found:
        raise DeploymentError(f"{folder}: a new deployment needs at least one --server")
    if not 0 <= request.agents <= MAX_AGENTS:
        raise DeploymentError(f"{request.agents} agents are not between 0 and {MAX_AGENTS}")
    first = next(iter(found.values()), None)
    url, written = _database(request, folder, first)
    find_backend(url)
    port = _port("--port", request.port, PORT, first.port if first else None)
    api_port = _port("--api-port", request.api_port, API_PORT, first.api_port if first else None)
    new_servers = tuple(address for address in asked if address not in found)
    if new_servers and port == api_port:
        raise DeploymentError(f"--port and --api-port are both {port}: a server needs two")
    return _Plan(
        folder=folder,
        servers=tuple(dict.fromkeys((*asked, *found))),
        new_servers=new_servers,
        agents=request.agents,
        url=url,
        written_url=written,
        port=port,
        api_port=api_port,
        settings=_settings(request),
        needs_new_database=is_new and request.database_url is not None,
    )


def _foreign_entries(folder: Path) -> list[str]:
    if not folder.exists():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.name not in _OWN_NAMES)


def _addresses(texts: tuple[str, ...]) -> tuple[str, ...]:
    addresses: list[str] = []
    for text in texts:
        address = normalize_address(text)
        if address in addresses:
            raise DeploymentError(f"server {address} is named twice")
        addresses.append(address)
    return tuple(addresses)


def _found_servers(folder: Path) -> dict[str, ServerConfig]:
    # By folder, which is the address that the server was made for, whatever has been edited since.
    paths = sorted(folder.glob("servers/*/mgmt.properties"))
    return {path.parent.name: load_server_config(path) for path in paths}


def _port(option: str, asked: int | None, default: int, found: int | None) -> int:
    """The port of the deployment: agents have one for all servers."""
    if asked is None:
        return default if found is None else found
    if not 1 <= asked <= 65535:
        raise DeploymentError(f"{option}: {asked} is not between 1 and 65535")
    if found is not None and asked != found:
        raise DeploymentError(f"{option}: the servers of this deployment have {found}, and none gets {asked}")
    return asked


def _database(request: Request, folder: Path, found: ServerConfig | None) -> tuple[str, str]:
    """The URL to open, and how mgmt.properties writes it."""
    own = folder / DATABASE_FILE
    if request.database_url is not None:
        url, backend = request.database_url, find_backend(request.database_url)
        if isinstance(backend, SqliteFile):
            url = f"sqlite:///{backend.file.absolute()}"
        if found is not None and url != found.database_url:
            raise DeploymentError(f"{folder} has another database than the one that --db names")
    elif found is not None:
        url = found.database_url
    else:
        url = f"sqlite:///{own}"
    # Relative where it can be: the folder may be moved.
    return url, f"sqlite:///../../{DATABASE_FILE}" if url == f"sqlite:///{own.resolve()}" else url


def _settings(request: Request) -> dict[str, str]:
    asked = {LB_ALGORITHM: request.algorithm, LB_CHECK_INTERVAL: request.check_interval}
    return {name: check_value(name, str(value)) for name, value in asked.items() if value is not None}


@frozen(kw_only=True)
class _Populated:
    key: ApiKey
    """The administrator's."""
    password: str | None = field(repr=False)
    """The administrator's, if it is new."""
    authority: CertificateAuthority
    hosts: tuple[str, ...]
    """The addresses of ``host``."""
    kept: Mapping[str, str]


def _populate(plan: _Plan) -> _Populated:
    """Fill a new database, in one transaction, and make the CA; in another, only add new servers to ``host``."""

    def work(txn: Transaction) -> _Populated:
        account, password = txn.accounts.by_username(ADMINISTRATOR), None
        if account is None:
            zone = txn.topology.add_zone("zone-1")
            pod = txn.topology.add_pod("pod-1", zone.id)
            txn.topology.add_cluster("cluster-1", pod.id, hypervisor="KVM", arch="x86_64")
            password = secrets.token_urlsafe(15)
            account = txn.accounts.add(
                username=ADMINISTRATOR, role=Role.ADMINISTRATOR, password=hash_password(password), now=time.time()
            )
            for name, value in {HOST: ",".join(plan.servers), **plan.settings}.items():
                txn.settings.set(name, value, None)
        elif plan.needs_new_database:
            raise DeploymentError("the database that --db names belongs to another deployment, with another CA")
        current = txn.settings.load()
        if missing := tuple(address for address in plan.new_servers if address not in current.servers):
            txn.settings.set(HOST, check_value(HOST, ",".join((*current.servers, *missing))), None)
            # Servers that run take it up at once.
            txn.bus.publish(TOPIC, {"name": HOST, "cluster_id": None}, time.time())
        kept = {name: current.value(name) for name, value in plan.settings.items() if current.value(name) != value}
        # Before the commit: to the next run, a database with an administrator and no CA beside it is another
        # deployment's. And not before the refusal: a CA would make that database this deployment's.
        authority = _authority(plan.folder)
        key = _key(txn, account)
        return _Populated(
            key=key, password=password, authority=authority, hosts=(*current.servers, *missing), kept=kept
        )

    database = Database(plan.url, writer=InlineExecutor(), reader=InlineExecutor())

    async def populate() -> _Populated:
        await database.start()
        try:
            return await database.run(work)
        finally:
            await database.stop()

    return _now(Deferred.fromCoroutine(populate()))


def _key(txn: Transaction, account: Account) -> ApiKey:
    """A pair of the administrator's: that of an earlier run, unless it was deleted."""
    for key in txn.accounts.all_keys():
        if key.account.id == account.id and key.expires is None:
            return key
    return txn.accounts.add_key(
        account.id,
        name="cloudlb init",
        api_key=secrets.token_urlsafe(48),
        secret_key=secrets.token_urlsafe(48),
        expires=None,
        now=time.time(),
    )


def _now(deferred: Deferred[T]) -> T:
    """The result of work that has run inline."""
    results: list[T] = []
    errors: list[BaseException] = []
    deferred.addCallbacks(results.append, lambda failure: errors.append(failure.value))
    if errors:
        raise errors[0]
    (result,) = results
    return result


def _authority(folder: Path) -> CertificateAuthority:
    ca = folder / "ca"
    if (ca / CERTIFICATE_FILE).exists():
        return CertificateAuthority.load(ca)
    return CertificateAuthority.create(ca, f"cloudlb {uuid.uuid4()}")
