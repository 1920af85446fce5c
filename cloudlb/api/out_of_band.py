"""Hosts' BMCs, which are asked for the power state when a host's agent is mute."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from attrs import frozen

from cloudlb.api.command import Body, Call, Command, ended, single
from cloudlb.api.errors import invalid_parameter
from cloudlb.api.hosts import find_host
from cloudlb.api.schema import Key, as_answer, optional, required, shown
from cloudlb.domain.addresses import InvalidAddress, is_ip_address, normalize_address
from cloudlb.domain.models import Host, OutOfBand
from cloudlb.domain.ports import Transaction

DRIVER = "redfish"
OBJECT = "outofbandmanagement"
_PORTS = {"https": 443, "http": 80}
_DISABLE = "disableOutOfBandManagementForHost"


@frozen(kw_only=True)
class OutOfBandAnswer:
    """A host's BMC. CloudStack shows the first character of the password, too."""

    hostid: str | None = shown("the ID of the host")
    powerstate: str | None = shown(
        "the out-of-band management interface powerState of the host: Unknown, since it is asked for in investigations "
        "only, or Disabled"
    )
    enabled: bool | None = shown("true if out-of-band management is enabled for the host")
    driver: str | None = shown("the out-of-band management driver for the host")
    address: str | None = shown("the URL of the out-of-band management interface")
    port: str | None = shown("the out-of-band management interface port")
    username: str | None = shown("the out-of-band management interface username")


@frozen(kw_only=True)
class Configure:
    """Which host, and where its BMC is."""

    hostid: Key = required("the ID of the host", related="listHosts")
    driver: str = required("the host management interface driver: redfish")
    address: str = required(
        "the host management interface IP address or name; or a URL, to name the one machine of several "
        "(https://10.0.0.7/redfish/v1/Systems/2) or to have no TLS (http://10.0.0.7)"
    )
    port: str | None = optional("the host management interface port; 443 with TLS and 80 without unless given")
    username: str = required("the host management interface user")
    password: str = required("the host management interface password", secret=True)


async def _configure(call: Call, arguments: Configure) -> Body:
    if arguments.driver.lower() != DRIVER:
        raise invalid_parameter("driver", f"{arguments.driver!r} is not {DRIVER}")
    url = _service(arguments.address, arguments.port)
    if ":" in arguments.username:
        # The rest would be taken for the password [RFC 7617, 2].
        raise invalid_parameter("username", "it has a colon")
    bmc = OutOfBand(address=url, username=arguments.username, password=arguments.password)

    def work(txn: Transaction) -> Body:
        host = find_host(txn, arguments.hostid, "hostid")
        txn.hosts.set_out_of_band(host.id, bmc)
        _note(call, txn, host, "HOST.OOBM.CONFIGURE", f"The BMC of host {host.facts.name} is at {url}")
        return single(OBJECT, _shown(host, bmc))

    return await call.store.run(work)


@frozen(kw_only=True)
class WhichHost:
    """Which host."""

    hostid: Key = required("the ID of the host", related="listHosts")


async def _disable(call: Call, arguments: WhichHost) -> Body:
    now = call.context.clock.seconds()

    def work(txn: Transaction) -> Body:
        host = find_host(txn, arguments.hostid, "hostid")
        txn.hosts.set_out_of_band(host.id, None)
        _note(call, txn, host, "HOST.OOBM.DISABLE", f"The BMC of host {host.facts.name} is forgotten")
        result = {OBJECT: as_answer(OutOfBandAnswer(hostid=host.uuid, powerstate="Disabled", enabled=False))}
        return ended(call, txn, _DISABLE, result, host_id=host.id, now=now)

    return await call.store.run(work)


def _note(call: Call, txn: Transaction, host: Host, event_type: str, description: str) -> None:
    txn.events.add(
        event_type,
        description,
        now=call.context.clock.seconds(),
        account_id=call.account.id,
        server_id=call.context.membership.own.id,
        host_id=host.id,
    )


def _shown(host: Host, bmc: OutOfBand) -> OutOfBandAnswer:
    parts = urlsplit(bmc.address)
    return OutOfBandAnswer(
        hostid=host.uuid,
        powerstate="Unknown",
        enabled=True,
        driver=DRIVER,
        address=bmc.address,
        port=str(parts.port or _PORTS[parts.scheme]),
        username=bmc.username,
    )


def _service(address: str, port: str | None) -> str:
    """The URL of a BMC."""
    parts = _parts(address if "://" in address else f"https://{_bracketed(address.strip())}")
    if port is not None and not (port.isdecimal() and port.isascii() and 0 < int(port) < 65536):
        raise invalid_parameter("port", f"{port!r} is not between 1 and 65535")
    wanted = int(port) if port is not None else None
    if None not in (wanted, parts.port) and wanted != parts.port:
        raise invalid_parameter("port", f"{port} is not the port of the address")
    number = wanted or parts.port or _PORTS[parts.scheme]
    suffix = "" if number == _PORTS[parts.scheme] else f":{number}"
    return f"{parts.scheme}://{_bracketed(parts.hostname or '')}{suffix}{parts.path}"


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
        host = normalize_address(parts.hostname or "")
    except (ValueError, InvalidAddress) as error:
        raise invalid_parameter("address", str(error)) from error
    if parts.scheme not in _PORTS:
        raise invalid_parameter("address", f"{parts.scheme}: is neither https: nor http:")
    if "@" in parts.netloc:
        raise invalid_parameter("address", "user name and password have parameters of their own")
    if parts.query or parts.fragment or not parts.path.isascii() or " " in parts.path:
        raise invalid_parameter("address", "it is no URL of a Redfish service or of a machine of one")
    return parts._replace(netloc=_bracketed(host) + (f":{parts.port}" if parts.port else ""))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and is_ip_address(host) else host


COMMANDS = (
    Command(
        name="configureOutOfBandManagement",
        description="Configures a host's out-of-band management interface; it is in use from then on.",
        arguments=Configure,
        answer=OutOfBandAnswer,
        run=_configure,
    ),
    Command(
        name=_DISABLE,
        description="Disables out-of-band management for a host, and forgets its BMC.",
        arguments=WhichHost,
        answer=OutOfBandAnswer,
        run=_disable,
        is_async=True,
    ),
)
