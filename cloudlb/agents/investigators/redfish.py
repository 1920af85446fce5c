"""The host's BMC is asked, over Redfish, whether the machine has power [DSP0266].

It is asked with Basic authentication, which every Redfish service takes, so that no session is left behind. TLS
certificates are verified against the management server's trust store: who plays the BMC would learn its password, and
could have a host declared Down whose VMs run. A BMC with a certificate of its own goes into that store, or gets an
``http`` address on a network that is trusted as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from cloudlb.agents.investigation import Case, Investigator, Means
from cloudlb.domain.models import OutOfBand
from cloudlb.domain.records import Verdict
from cloudlb.net.json_client import JsonClient, NoJson

SYSTEMS = "/redfish/v1/Systems"


class RedfishInvestigator(Investigator):
    """Down is whose power is off. With power on, the machine may run or not."""

    def __init__(self, means: Means, client: JsonClient) -> None:
        self._store = means.store
        self._client = client

    async def investigate(self, case: Case) -> tuple[Verdict, str]:
        """See :class:`Investigator`."""
        bmc = await self._store.read(lambda txn: txn.hosts.out_of_band(case.host.id))
        if bmc is None:
            return Verdict.UNKNOWN, "the host has no BMC configured"
        try:
            system = await self._system(bmc)
        except NoJson as error:
            return Verdict.UNKNOWN, f"the BMC at {bmc.address}: {error}"
        state = system.get("PowerState")
        if state == "Off":
            return Verdict.DOWN, f"its power is off, says the BMC at {bmc.address}"
        if not isinstance(state, str):
            return Verdict.UNKNOWN, f"the BMC at {bmc.address}: it does not say what the power state is"
        return Verdict.UNKNOWN, f"its power state is {state}, says the BMC at {bmc.address}"

    async def _system(self, bmc: OutOfBand) -> Mapping[str, Any]:
        """The machine: what the address names, or the one machine that the BMC has."""
        if urlsplit(bmc.address).path not in ("", "/"):
            return await self._client.get(bmc.address, bmc.username, bmc.password)
        url = urljoin(bmc.address, SYSTEMS)
        collection = await self._client.get(url, bmc.username, bmc.password)
        members = collection.get("Members")
        if not isinstance(members, list) or len(members) != 1:
            count = len(members) if isinstance(members, list) else 0
            raise NoJson(f"it has {count} systems; the address must name the host's, as in {url}/1")
        path = members[0].get("@odata.id") if isinstance(members[0], dict) else None
        # A path, which leads to the BMC itself whatever it is.
        if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
            raise NoJson("its only system has no path")
        return await self._client.get(urljoin(bmc.address, path), bmc.username, bmc.password)
